import { describe, expect, it } from "vitest";
import { checkFile } from "./house-rules.mjs";

/** A folder of some machine; in parts, so that this file names none either. */
const folder = ["", "work", ""].join("/");

const breaches: [string, string, string][] = [
  ["file size", "src/a.ts", "x\n".repeat(601)],
  ["file size", "src/a.test.ts", "x\n".repeat(801)],
  ["file names", "src/aB.ts", ""],
  ["limits are listed", "src/a.ts", "/** Too many. */\nconst MAX_ROWS = 3;"],
  ["limits are listed", "src/a.c", "#define ROWS_MAX 3"],
  ["scripts are type-checked", "tools/a.mjs", "const x = 1;"],
  ["seeds", "src/a.test.ts", "fc.assert(p, { numRuns: 5, seed });\nfc.assert(p, { numRuns: 5 });"],
  ["no silent skip", "src/a.test.ts", '    if (!has("xz")) return;'],
  ["no silent skip", "src/a.test.ts", "    if (!isRoot) return context.skip();"],
  ["no randomness of its own", "tests/a/b.mjs", "// @ts-check\nconst x = Math.random();"],
  ["one private apt", "tests/a/fetch", "apt-get -q download x"],
  ["one private apt", "tests/a.ts", 'run("x", ["-o", "Dir::State::lists=y"]);'],
  ["no any in scripts", "tools/a.mjs", "// @ts-check\n/** @param {any} x */"],
  ["no any in scripts", "tools/a.mjs", "// @ts-check\n/** @type {Map<string, any>} */"],
  ["no any", "src/a.ts", "const x: any = 1;"],
  ["no any", "src/a.ts", "return y as any;"],
  ["no any", "src/a.ts", "new Map<any, number>();"],
  ["no silenced compiler", "src/a.ts", "// @ts-ignore"],
  ["no blanket disable", "src/a.ts", "// biome-ignore-all lint: why"],
  ["no blanket disable", "src/a.ts", "// biome-ignore lint/x"],
  ["no unfinished work", "README.md", "TODO write this"],
  ["no sync comments", "src/a.ts", "// Keep in sync with b.ts"],
  ["no machine paths", "docs/a.md", `see ${folder}shared/x`],
  ["no machine paths", "bench/a.mjs", '// @ts-check\nconst x = "/home/me/x";'],
  ["no enum, namespace or parameter property", "src/a.ts", "export enum A {}"],
  ["no enum, namespace or parameter property", "src/a.ts", "constructor(readonly a: number) {}"],
  ["imports end in .js", "src/a.ts", 'import { b } from "./b";'],
];

const fine: [string, string][] = [
  ["src/a.ts", "x\n".repeat(600)],
  ["src/a.gen.ts", "x\n".repeat(5000)],
  ["src/a.test.ts", "fc.assert(p, { numRuns: 5, seed });\nfc.assert(p, { seed });"],
  ["src/a.ts", "// many of them, if any"],
  ["src/a.ts", "/** @nolimit a width */\nconst MAX_ROWS = 3;"],
  ["src/a.ts", "/** @limit guest | rows | rows | the rest is lost */\nconst MAX_ROWS = 3;"],
  ["src/a.ts", "const CLIMATE_MAXIM = Math.max(1, 2);"],
  ["src/a.ts", "// biome-ignore lint/x: the header names it so"],
  ["src/a.ts", 'import { b } from "./b.js";'],
  ["src/engine/core/a.ts", 'import { b } from "./b";'],
  ["src/host.fixture.ts", ""],
  ["docs/a.md", `the network${folder} folder of https://example.org/x`],
];

describe("house rules", () => {
  it.each(breaches)("%s: noticed in %s", (rule, path, text) => {
    const problems = checkFile(path, text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`[${rule}]`);
    expect(problems[0]).toMatch(new RegExp(`^${path}:\\d+: `));
  });

  it.each(fine)("nothing is wrong in %s: %.40s", (path, text) => {
    expect(checkFile(path, text)).toEqual([]);
  });
});

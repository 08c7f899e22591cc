import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { evaluate, limitsOf } from "./limits.mjs";

const root = mkdtempSync(join(tmpdir(), "kvm-xen-limits-"));
afterAll(() => rmSync(root, { recursive: true }));
mkdirSync(join(root, "src"));
writeFileSync(join(root, "src/index.ts"), 'export * from "./sizes.js";\n');
writeFileSync(
  join(root, "src/sizes.ts"),
  "export const PAGE = 4096;\nexport const At = { A: 8, B: 0x10 };\n",
);
writeFileSync(
  join(root, "src/a.ts"),
  'import { At, PAGE } from "./index.js";\nconst PAGES: u32 = 16;\n',
);

const declared = (text: string) => limitsOf("src/a.ts", text)[0];

describe("limits", () => {
  it.each([
    ["/** @limit guest | rows | rows | lost */\nexport const MAX_ROWS = 5;", "MAX_ROWS", "5"],
    [
      "/**\n * Text.\n * @limit guest | rows |\n *   rows | lost\n */\nconst MAX: u32 = 1 << 3;",
      "MAX",
      "1 << 3",
    ],
    ["/* @limit guest | rows | rows | lost */\n#define ROWS 7", "ROWS", "7"],
    ["  /** @limit guest | rows | rows | lost */\n  rows: 9,\n", "rows", "9"],
  ])("are read from comments", (text, name, expression) => {
    const found = { who: "guest", what: "rows", unit: "rows", beyond: "lost", name, expression };
    expect(declared(text)).toMatchObject(found);
  });

  it.each([
    "/** @limit guest | rows | rows */\nconst A = 1;",
    "/** @limit somebody | rows | rows | lost */\nconst A = 1;",
    "/** @limit guest | rows | rows | lost */\nfunction a() {}",
  ])("are complete, and before a constant", (text) => {
    expect(() => declared(text)).toThrow("src/a.ts:");
  });

  it.each([
    ["1_000", 1000],
    ["3.5 * 2 ** 30", 3.5 * 2 ** 30],
    ["1n << 62n", 2 ** 62],
    ["(PAGES - 1) * PAGE", 15 * 4096],
    ["At.B + 0xff", 0x10f],
  ])("have the value %s", (expression, value) => {
    expect(evaluate(root, "src/a.ts", expression)).toBe(value);
  });

  it("do not run code", () => {
    expect(() => evaluate(root, "src/a.ts", "process.exit(1)")).toThrow();
  });
});

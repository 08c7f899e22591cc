/**
 * The programs of docs/: the TypeScript blocks of a page are one program. They are type-checked and run,
 * and what they print is the page's `text` block.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it, vi } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const PAGES = ["docs/machine-api.md", "docs/typed-api.md", "docs/ioctl-api.md"];

/** Public entries, and the sources that they are built from. */
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, string | { default: string }>;
};
const entries = new Map(
  Object.entries(manifest.exports).map(([name, entry]) => {
    const built = typeof entry === "string" ? entry : entry.default;
    return [`kvm-xen${name.slice(1)}`, built];
  }),
);
const source = (built: string) => join(root, built.replace("./dist/", "src/"));

/** The blocks of a kind. */
const blocks = (text: string, kind: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === kind)
    .map((match) => match[2] ?? "");

/** The program of a page, with imports of the public entries led to the sources. */
function extract(page: string): { program: string; output: string; path: string } {
  const text = readFileSync(join(root, page), "utf8");
  const program = blocks(text, "ts").join("\n");
  const builtOf = (name: string): string => {
    const built = entries.get(name);
    if (built === undefined) throw new Error(`${page}: package.json exports no ${name}`);
    return built;
  };
  const local = program
    .replaceAll(/from "(kvm-xen[^"]*)"/g, (_all, name: string) => {
      return `from "${source(builtOf(name))}"`;
    })
    // The engine's core is built, not a source.
    .replaceAll(/import\.meta\.resolve\("(kvm-xen\/core\.wasm)"\)/g, (_all, name: string) =>
      JSON.stringify(pathToFileURL(join(root, builtOf(name))).href),
    );
  const folder = join(root, "build/docs");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${basename(page, ".md")}.ts`);
  writeFileSync(path, local);
  return { program, output: blocks(text, "text").join(""), path };
}

describe.each(PAGES)("%s", (page) => {
  const { program, output, path } = extract(page);

  it("prints what it says", async () => {
    expect(program.length).toBeGreaterThan(500);
    const lines: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((line: string) => {
      lines.push(`${line}\n`);
    });
    try {
      await import(/* @vite-ignore */ path);
    } finally {
      log.mockRestore();
    }
    expect(lines.join("")).toBe(output);
  });

  it("has no type errors", () => {
    const config = {
      extends: "../../tsconfig.json",
      compilerOptions: { allowImportingTsExtensions: true },
      include: [`./${basename(path)}`],
    };
    const configPath = path.replace(/\.ts$/, ".json");
    writeFileSync(configPath, JSON.stringify(config));
    const tsc = join(root, "node_modules/.bin/tsc");
    const { stdout } = spawnSync(tsc, ["--noEmit", "-p", configPath], {
      encoding: "utf8",
      cwd: root,
    });
    // The sources are checked elsewhere.
    const own = stdout.split("\n").filter((line) => line.startsWith("build/docs/"));
    expect(own).toEqual([]);
  });
});

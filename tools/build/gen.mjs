/**
 * Writes every generated file of the project from spec/; with --check only compares.
 *
 *   node tools/build/gen.mjs [--check]
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fastTablesFile, interpretFile } from "./gen-fast.mjs";
import { countOps, dispatchFile, readRows, tablesFile } from "./gen-insn.mjs";
import { stateForBridge, stateForCore } from "./gen-state.mjs";
import { supportPage } from "./gen-support.mjs";

const root = new URL("../../", import.meta.url);
const rows = await readRows();
const outputs = [
  ["src/engine/core/state.gen.ts", stateForCore],
  ["src/engine/bridge/state.gen.ts", stateForBridge],
  ["src/engine/core/tables.gen.ts", () => tablesFile(rows)],
  ["src/engine/core/dispatch.gen.ts", () => dispatchFile(rows)],
  ["src/engine/core/fast.gen.ts", () => fastTablesFile(countOps(rows))],
  ["src/engine/core/interpret.gen.ts", interpretFile],
  ["docs/reference/instructions.md", () => supportPage(rows)],
];

const check = process.argv.includes("--check");
let stale = 0;
for (const [path, make] of outputs) {
  const file = new URL(path, root);
  const text = make();
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (check) {
    console.error(`stale: ${path} (run: node tools/build/gen.mjs)`);
    stale++;
  } else {
    mkdirSync(new URL(".", file), { recursive: true });
    writeFileSync(file, text);
  }
}
process.exitCode = stale > 0 ? 1 : 0;

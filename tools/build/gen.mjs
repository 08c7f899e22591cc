// @ts-check
/**
 * Writes every generated file of the project from spec/; with --check only compares.
 *
 *   node tools/build/gen.mjs [--check]
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fastTablesFile } from "./gen-fast.mjs";
import { hotFile } from "./gen-hot.mjs";
import { countOps, dispatchFile, readRows, tablesFile } from "./gen-insn.mjs";
import { jitOperationsFile } from "./gen-jit.mjs";
import { limitsPage } from "./gen-limits.mjs";
import {
  attributesPage,
  capabilitiesPage,
  countersPage,
  differencesPage,
  guestCpuidPage,
  hypercallsPage,
  ioctlsPage,
  quirksPage,
  releasesPage,
} from "./gen-reference.mjs";
import { stateForBridge, stateForCore } from "./gen-state.mjs";
import { supportPage } from "./gen-support.mjs";

const root = new URL("../../", import.meta.url);
const rows = await readRows();
/** @type {[string, () => string][]} */
const outputs = [
  ["src/engine/core/state.gen.ts", stateForCore],
  ["src/engine/bridge/state.gen.ts", stateForBridge],
  ["src/engine/core/tables.gen.ts", () => tablesFile(rows)],
  ["src/engine/core/dispatch.gen.ts", () => dispatchFile(rows)],
  ["src/engine/core/fast.gen.ts", () => fastTablesFile(countOps(rows))],
  ["src/engine/core/hot.gen.ts", hotFile],
  ["src/engine/jit/operations.gen.ts", () => jitOperationsFile(countOps(rows))],
  ["docs/reference/instructions.md", () => supportPage(rows)],
  ["docs/reference/ioctls.md", ioctlsPage],
  ["docs/reference/capabilities.md", capabilitiesPage],
  ["docs/reference/attributes.md", attributesPage],
  ["docs/reference/hypercalls.md", hypercallsPage],
  ["docs/reference/differences.md", differencesPage],
  ["docs/QUIRKS.md", quirksPage],
  ["docs/reference/releases.md", releasesPage],
  ["docs/reference/counters.md", countersPage],
  ["docs/reference/guest-cpuid.md", guestCpuidPage],
  ["docs/LIMITS.md", limitsPage],
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

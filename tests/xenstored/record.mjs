// @ts-check
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { play } from "./scenario.mjs";
import { startXenstored } from "./xenstored.mjs";

const here = new URL(".", import.meta.url).pathname;
const cases = join(here, "cases");

/**
 * Builds the stubs: each library that xenstored needs, and one that is loaded before the C library.
 * @param {string} folder
 * @param {string} include
 */
function buildStubs(folder, include) {
  const stub = (/** @type {string} */ name, /** @type {string[]} */ more) => {
    const args = ["-w", "-shared", "-fPIC", `-I${include}`, "-o", join(folder, name), ...more];
    const { status, error } = spawnSync("gcc", [...args, join(here, "stub.c")], {
      stdio: "inherit",
    });
    if (status !== 0) throw error ?? new Error("xenstored: gcc fails");
  };
  for (const name of ["libxenevtchn.so.1", "libxengnttab.so.1", "libxenctrl.so.4.17"])
    stub(name, [`-Wl,-soname,${name}`, `-Wl,--version-script=${join(here, "stub.map")}`]);
  stub("preload.so", []);
}

const [root, ...names] = process.argv.slice(2);
if (root === undefined) throw new Error("usage: record.mjs ROOT [CASE...]");
const stubs = mkdtempSync(join(tmpdir(), "stubs-"));
try {
  buildStubs(stubs, join(root, "usr/include"));
  for (const name of names.length > 0 ? names : readdirSync(cases)) {
    const path = join(cases, name);
    const { world, stop } = await startXenstored(
      join(root, "usr/lib/xen-4.17/bin/xenstored"),
      stubs,
    );
    try {
      const answers = await play(readFileSync(path, "latin1"), world);
      writeFileSync(path, answers, "latin1");
      const count = answers.split("\n").filter((line) => line.startsWith("  ")).length;
      console.log(`${name}: ${count} lines of answers`);
    } finally {
      await stop();
    }
  }
} finally {
  rmSync(stubs, { recursive: true });
}

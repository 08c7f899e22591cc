// @ts-check
/**
 * Compiles the engine's core to dist/engine/core.wasm. The result is kept in build/cache under a
 * hash of everything it is made from, so that an unchanged core is not compiled again.
 *
 *   node tools/build/engine.mjs [--debug] [--family alu,shift] [--out FILE]
 *
 * --family compiles a core that knows only the instructions of some files of spec/insn/, for tests
 * of a part; --debug compiles quickly and keeps names.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fastTablesFile } from "./gen-fast.mjs";
import { countOps, dispatchFile, readRows, tablesFile } from "./gen-insn.mjs";
import { regions } from "./gen-state.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const core = join(root, "src/engine/core");
const option = (/** @type {string} */ name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const families = option("family")?.split(",");
const debug = process.argv.includes("--debug");

/**
 * All source files below a folder, sorted.
 * @param {string} folder
 * @returns {string[]}
 */
function sources(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

const staticAt = regions().list.find((region) => region.name === "STATIC")?.start ?? 0;
const flags = [
  "--runtime",
  "stub",
  "--importMemory",
  "--exportTable",
  "--memoryBase",
  String(staticAt),
  "--enable",
  "simd,bulk-memory,sign-extension,nontrapping-f2i",
  "--noAssert",
  "--disableWarning",
  "112",
  "--uncheckedBehavior",
  "always",
];
flags.push(...(debug ? ["-O1", "--debug"] : ["-O3"]));

let folder = core;
if (families) {
  folder = join(root, "build/partial", families.join("+"));
  rmSync(folder, { recursive: true, force: true });
  cpSync(core, folder, { recursive: true });
  const rows = await readRows(families);
  writeFileSync(join(folder, "tables.gen.ts"), tablesFile(rows));
  writeFileSync(join(folder, "dispatch.gen.ts"), dispatchFile(rows));
  writeFileSync(join(folder, "fast.gen.ts"), fastTablesFile(countOps(rows)));
}
const out =
  option("out") ??
  (families
    ? join(root, "build", `${families.join("+")}.wasm`)
    : join(root, "dist/engine/core.wasm"));

const hash = createHash("sha256").update(flags.join(" "));
for (const file of sources(folder))
  hash.update(file.slice(folder.length)).update(readFileSync(file));
hash.update(readFileSync(join(root, "node_modules/assemblyscript/package.json")));
const cached = join(root, "build/cache", `core-${hash.digest("hex").slice(0, 24)}.wasm`);

if (!existsSync(cached)) {
  mkdirSync(dirname(cached), { recursive: true });
  const started = performance.now();
  if (process.stderr.isTTY) process.stderr.write("compiling the engine (about a minute)...");
  const asc = join(root, "node_modules/assemblyscript/bin/asc.js");
  const temporary = `${cached}.${process.pid}`;
  try {
    const run = promisify(execFile)(
      process.execPath,
      [asc, join(folder, "index.ts"), "-o", temporary, ...flags],
      { maxBuffer: 1 << 26 },
    );
    const { stderr } = await run;
    if (stderr) process.stderr.write(stderr);
  } catch (caught) {
    const error = /** @type {{ stderr?: string, stdout?: string }} */ (caught);
    process.stderr.write(String(error.stderr || error.stdout || error));
    process.exit(1);
  }
  renameSync(temporary, cached);
  if (process.stderr.isTTY)
    process.stderr.write(` ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
}
mkdirSync(dirname(out), { recursive: true });
cpSync(cached, `${out}.${process.pid}`);
renameSync(`${out}.${process.pid}`, out);

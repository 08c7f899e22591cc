// @ts-check
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { answersIn, askLinux, run, SOURCES } from "./ask.mjs";

/**
 * `npm run oracle -- SEED COUNT [--record DIR] [--linux RELEASE]`: makes COUNT random scenarios, asks a real Linux, plays
 * them here and prints the lines that differ. Exit status 1 when any does.
 */
const usage = `usage: npm run oracle -- SEED COUNT [--record DIR] [--linux RELEASE]
  SEED    any word; one that begins with wide- gives scenarios with guest code
  --record DIR  keeps scenarios and answers there, those that Linux answers the same way twice
  --linux RELEASE  the kernel in ASK_LINUX_CACHE is of that release, and is compared with it`;

const here = new URL(".", import.meta.url).pathname;
const command = join(here, "../../dist/cli/main.js");
/** Scenarios that one start of the kernel plays. */
const BATCH = 50;

/** @param {string} message */
function refuse(message) {
  console.error(`oracle: ${message}`);
  process.exit(2);
}

/**
 * Prints the first line that differs.
 * @param {string} name
 * @param {readonly string[]} linux
 * @param {readonly string[]} own
 */
function compare(name, linux, own) {
  const count = Math.max(linux.length, own.length);
  for (let at = 0; at < count; at++) {
    if (linux[at] === own[at]) continue;
    console.log(`${name}:${at + 1}\n  linux: ${linux[at]}\n  here:  ${own[at]}`);
    return false;
  }
  return true;
}

/**
 * Keeps the scenarios that were answered alike in both recordings.
 * @param {string} folder
 * @param {string[]} files
 * @param {Map<string, string[]>} first
 * @param {Map<string, string[]>} second
 */
function record(folder, files, first, second) {
  mkdirSync(folder, { recursive: true });
  let kept = 0;
  for (const file of files) {
    const name = basename(file);
    const text = (first.get(name) ?? []).map((line) => `${line}\n`).join("");
    if (text !== (second.get(name) ?? []).map((line) => `${line}\n`).join("")) {
      console.log(`${name}: Linux answered differently the second time, not kept`);
      continue;
    }
    copyFileSync(file, join(folder, name));
    writeFileSync(join(folder, name.replace(/\.scn$/, ".out")), text, "latin1");
    kept++;
  }
  return kept;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { record: { type: "string" }, linux: { type: "string" }, help: { type: "boolean" } },
});
const [seed, count] = positionals;
const release = values.linux === undefined ? [] : ["--linux", values.linux];
if (values.help) {
  console.log(usage);
  process.exit(0);
}
if (positionals.length !== 2 || !/^[1-9]\d*$/.test(count ?? "") || seed === undefined) {
  refuse(usage);
}
if (spawnSync("qemu-system-x86_64", ["--version"]).error)
  refuse("QEMU is missing: 'tests/oracle/ask-linux --setup' on Debian, or install qemu-system-x86");
if (!existsSync(command)) refuse("the command is not built: run 'npm run build'");

process.on("uncaughtException", (error) => refuse(error.message));
const work = mkdtempSync(join(tmpdir(), "kvm-xen-oracle-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));
const probe = join(work, "probe");
run("gcc", ["-O2", "-static", "-o", probe, SOURCES.scn]);
run("python3", [
  join(here, "make-scenarios"),
  join(work, "scenarios"),
  String(seed),
  String(count),
]);
const scenarios = readdirSync(join(work, "scenarios"))
  .sort()
  .map((name) => join(work, "scenarios", name));
let differing = 0;
let kept = 0;
for (let at = 0; at < scenarios.length; at += BATCH) {
  const files = scenarios.slice(at, at + BATCH);
  const linux = askLinux(probe, files);
  const own = answersIn(run(process.execPath, [command, "play", ...release, ...files]));
  for (const file of files) {
    const name = basename(file);
    if (!compare(name, linux.get(name) ?? [], own.get(name) ?? [])) differing++;
  }
  if (values.record) kept += record(values.record, files, linux, askLinux(probe, files));
}
console.log(
  `${scenarios.length} scenarios, ${differing} differ${values.record ? `, ${kept} kept` : ""}`,
);
process.exitCode = differing > 0 ? 1 : 0;

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
import { answersIn, askLinux, compile, run, SOURCES } from "./ask.mjs";
import { ioctlCalls } from "./ioctl-calls.mjs";
import { ioctlSequence } from "./ioctl-sequences.mjs";
import { playIoctls } from "./play-ioctls.mjs";

/**
 * `npm run oracle -- SEED COUNT [--record DIR] [--linux RELEASE]`: makes COUNT random scenarios, asks a real Linux, plays
 * them here and prints the lines that differ. Exit status 1 when any does.
 */
const usage = `usage: npm run oracle -- SEED COUNT [--record DIR] [--linux RELEASE] [--keep DIR]
  SEED    any word; one that begins with wide- gives scenarios with guest code, one that begins with ioctls-
          files of single ioctls about events, with ioctls-calls- such of the whole interface
  --record DIR  keeps scenarios and answers there, those that Linux answers the same way twice
  --linux RELEASE  the kernel in ASK_LINUX_CACHE is of that release, and is compared with it
  --keep DIR  what was asked, with both answers (.linux, .here)`;

const here = new URL(".", import.meta.url).pathname;
const command = join(here, "../../dist/cli/main.js");
/** Scenarios that one start of the kernel plays. */
const BATCH = 50;

/** @param {string} message */
function refuse(message) {
  console.error(`oracle: ${message}`);
  process.exit(2);
}

/** @param {readonly string[] | undefined} lines */
const textOf = (lines) => (lines ?? []).map((line) => `${line}\n`).join("");

/** @param {string} path */
const bare = (path) => basename(path).replace(/\.\w+$/, "");

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
    const text = textOf(first.get(name));
    if (text !== textOf(second.get(name))) {
      console.log(`${name}: Linux answered differently the second time, not kept`);
      continue;
    }
    copyFileSync(file, join(folder, name));
    writeFileSync(join(folder, `${bare(name)}.out`), text, "latin1");
    kept++;
  }
  return kept;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    record: { type: "string" },
    keep: { type: "string" },
    linux: { type: "string" },
    help: { type: "boolean" },
  },
});
const [seed = "", count] = positionals;
const release = values.linux === undefined ? [] : ["--linux", values.linux];
if (values.help) {
  console.log(usage);
  process.exit(0);
}
if (positionals.length !== 2 || !/^[1-9]\d*$/.test(count ?? "")) refuse(usage);
if (spawnSync("qemu-system-x86_64", ["--version"]).error)
  refuse("QEMU is missing: 'tests/oracle/ask-linux --setup' on Debian, or install qemu-system-x86");
if (!existsSync(command)) refuse("the command is not built: run 'npm run build'");

process.on("uncaughtException", (error) => refuse(error.message));
const work = mkdtempSync(join(tmpdir(), "kvm-xen-oracle-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

/** Makes the files that are asked. @param {string} folder */
function make(folder) {
  if (!seed.startsWith("ioctls-")) {
    run("python3", [join(here, "make-scenarios"), folder, seed, String(count)]);
    return;
  }
  mkdirSync(folder);
  for (let i = 0; i < Number(count); i++) {
    const name = `${seed}-${String(i).padStart(3, "0")}`;
    const text = seed.startsWith("ioctls-calls-") ? ioctlCalls(name) : ioctlSequence(name);
    writeFileSync(join(folder, `${name}.ioctls`), text);
  }
}

/** What this library answers. @param {string[]} files */
function playHere(files) {
  if (seed.startsWith("ioctls-")) return playIoctls(files, values.linux);
  return answersIn(run(process.execPath, [command, "play", ...release, ...files]));
}

const player = join(work, "player");
compile(seed.startsWith("ioctls-") ? SOURCES.ioctls : SOURCES.scn, player);
const folder = join(work, "scenarios");
make(folder);
const scenarios = readdirSync(folder)
  .sort()
  .map((name) => join(folder, name));

/** What Linux answers; when the emulated machine itself ends, the file that ended it is without answers. @param {string[]} files
 * @returns {Map<string, string[]>} */
function ask(files) {
  // A player names what it plays when there are several files.
  const asked = files.length === 1 ? [...files, ...files] : files;
  try {
    return askLinux(player, asked);
  } catch (error) {
    if (files.length === 1) {
      console.log(`${basename(files[0] ?? "")}: ${error instanceof Error ? error.message : error}`);
      return new Map();
    }
    const half = files.length >> 1;
    return new Map([...ask(files.slice(0, half)), ...ask(files.slice(half))]);
  }
}

let differing = 0;
let kept = 0;
for (let at = 0; at < scenarios.length; at += BATCH) {
  const files = scenarios.slice(at, at + BATCH);
  const linux = ask(files);
  const own = await playHere(files);
  for (const file of files) {
    const name = basename(file);
    if (!compare(name, linux.get(name) ?? [], own.get(name) ?? [])) differing++;
    if (values.keep === undefined) continue;
    mkdirSync(values.keep, { recursive: true });
    copyFileSync(file, join(values.keep, name));
    writeFileSync(join(values.keep, `${bare(name)}.linux`), textOf(linux.get(name)), "latin1");
    writeFileSync(join(values.keep, `${bare(name)}.here`), textOf(own.get(name)), "latin1");
  }
  if (values.record) kept += record(values.record, files, linux, ask(files));
}
console.log(
  `${scenarios.length} scenarios, ${differing} differ${values.record ? `, ${kept} kept` : ""}`,
);
process.exitCode = differing > 0 ? 1 : 0;

// @ts-check
/**
 * Asks another release for everything that is recorded, and writes down the lines that it answers otherwise:
 *
 *   ASK_LINUX_CACHE=DIR node tests/oracle/release.mjs 7.2 [SET...]
 *
 * DIR holds that kernel (`SUITE=forky ASK_LINUX_CACHE=DIR tests/oracle/ask-linux --setup`). A SET is a folder of
 * tests/vectors, `ioctls`, `attributes`, `quirks`, `differences` or `answers`; all of them by default. Every file is asked
 * until an answer is that of the default release, or two answers are equal. Answers are kept in build/oracle/RELEASE, so that it can be stopped and started again;
 * delete that folder to ask anew.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ATTRIBUTES, rowScenario } from "../../spec/kvm/attributes.mjs";
import { patchText, readPatches } from "../../spec/kvm/patches.mjs";
import { QUIRKS, quirkScenario } from "../../spec/kvm/quirks.mjs";
import { RECORDED } from "../../spec/kvm/releases.mjs";
import { SHOWN, shownScenario } from "../../spec/kvm/shown.mjs";
import { answersIn, askLinux, askText, compile, SOURCES } from "./ask.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const [release = "", ...wanted] = process.argv.slice(2);
if (!(release in RECORDED) || process.env["ASK_LINUX_CACHE"] === undefined) {
  console.error(
    `usage: ASK_LINUX_CACHE=DIR release.mjs ${Object.keys(RECORDED).join("|")} [SET...]`,
  );
  process.exit(2);
}
const kept = join(root, "build/oracle", release);
const work = mkdtempSync(join(tmpdir(), "kvm-xen-release-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

/** Files that one start of the kernel plays. */
const BATCH = 60;
/** How often a file is asked before it counts as one without a steady answer. */
const ROUNDS = 6;

/**
 * A file with what the default release answered.
 * @typedef {{ name: string, path: string, before: string[] }} Case
 * @typedef {{ player: "scn" | "ioctls", file: string, cases: Case[], prefix: string }} CaseSet
 */

const lines = (/** @type {string} */ text) => text.split("\n").slice(0, -1);
const spec = (/** @type {string} */ name) => join(root, "spec/kvm", name);

/** @param {string} folder @param {string} ending @returns {Case[]} */
function casesIn(folder, ending) {
  const names = readdirSync(folder).filter((name) => name.endsWith(ending));
  return names.sort().map((name) => {
    const path = join(folder, name);
    const bare = name.slice(0, -ending.length);
    const before = lines(readFileSync(join(folder, `${bare}.out`), "latin1"));
    return { name: bare, path, before };
  });
}

/** @param {string} name @param {[title: string, scenario: string][]} parts @returns {CaseSet} */
function tableSet(name, parts) {
  const texts = readFileSync(spec(`${name}.out`), "utf8")
    .split(/^== /m)
    .slice(1);
  const before = new Map(texts.map((text) => [text.split("\n")[0], lines(text).slice(1)]));
  mkdirSync(join(work, name));
  const cases = parts.map(([title, scenario], i) => {
    const path = join(work, name, `${String(i).padStart(3, "0")}.scn`);
    writeFileSync(path, scenario);
    return { name: title, path, before: before.get(title) ?? [] };
  });
  return { player: "scn", file: spec(`${name}-${release}.out`), cases, prefix: "" };
}

/** @type {Record<string, () => CaseSet>} */
const sets = {
  attributes: () =>
    tableSet(
      "attributes",
      ATTRIBUTES.map((row) => [`${row.of} ${row.name}`, rowScenario(row)]),
    ),
  quirks: () =>
    tableSet(
      "quirks",
      QUIRKS.map((row) => [row.title, quirkScenario(row)]),
    ),
  differences: () =>
    tableSet(
      "differences",
      SHOWN.map((row) => [row.what, shownScenario(row)]),
    ),
  ioctls: () => ({
    player: "ioctls",
    file: join(root, `src/ioctl/recorded/linux-${release}.txt`),
    cases: casesIn(join(root, "src/ioctl/recorded"), ".ioctls"),
    prefix: "",
  }),
};
const vectors = join(root, "tests/vectors");
for (const entry of readdirSync(vectors, { withFileTypes: true })) {
  if (!entry.isDirectory()) continue;
  sets[entry.name] = () => ({
    player: "scn",
    file: join(vectors, `linux-${release}.txt`),
    cases: casesIn(join(vectors, entry.name), ".scn"),
    prefix: `${entry.name}/`,
  });
}

/** @type {Map<string, string>} */
const programs = new Map();
/** @param {string} source */
function programOf(source) {
  const program = programs.get(source) ?? join(work, `program-${programs.size}`);
  if (!programs.has(source)) compile(source, program);
  programs.set(source, program);
  return program;
}

/**
 * The processor that a file wants, where it is not the usual one: "(recorded with CPU=EPYC,-avx)" in its comment.
 * @param {Case | undefined} one
 * @returns {Record<string, string>}
 */
function processorOf(one) {
  const text = one === undefined ? "" : readFileSync(one.path, "latin1");
  const [, cpu] = /^# .*\(recorded with CPU=([^ :)]+)/m.exec(text) ?? [];
  return cpu === undefined ? {} : { CPU: cpu };
}

/** Cases that are asked together: on one processor, not too many. @param {Case[]} cases */
function batches(cases) {
  /** @type {Map<string, Case[]>} */
  const byProcessor = new Map();
  for (const one of cases) {
    const { CPU = "" } = processorOf(one);
    byProcessor.set(CPU, [...(byProcessor.get(CPU) ?? []), one]);
  }
  return [...byProcessor.values()].flatMap((all) =>
    Array.from({ length: Math.ceil(all.length / BATCH) }, (_, i) =>
      all.slice(i * BATCH, (i + 1) * BATCH),
    ),
  );
}

/**
 * The answers of one start of the kernel, which are kept.
 * @param {string} name of the set
 * @param {string} label
 * @param {CaseSet} set
 * @param {Case[]} cases
 */
function askOnce(name, label, set, cases) {
  const file = join(kept, `${name}-${label}.txt`);
  const old = existsSync(file) ? answersIn(readFileSync(file, "latin1")) : new Map();
  if (cases.every((one) => old.has(basename(one.path)))) return old;
  const paths = cases.map((one) => one.path);
  // A player names what it plays when there are several files.
  const asked = paths.length === 1 ? [...paths, ...paths] : paths;
  const answers = askLinux(programOf(SOURCES[set.player]), asked, processorOf(cases[0]));
  const parts = [...answers].map(([at, out]) => [`== ${at}`, ...out, ""].join("\n"));
  mkdirSync(kept, { recursive: true });
  writeFileSync(file, parts.join(""), "latin1");
  console.log(`${name} ${label}: asked ${cases.length}`);
  return answers;
}

/** @param {string} name @param {CaseSet} set */
function askSet(name, set) {
  /** @type {Map<string, string[]>} answers so far, as text: the default release gave one twice */
  const seen = new Map(set.cases.map((one) => [one.name, [one.before.join("\n")]]));
  /** @type {Map<string, string>} */
  const steady = new Map();
  let left = set.cases;
  for (let round = 1; round <= ROUNDS && left.length > 0; round++) {
    for (const [number, cases] of batches(left).entries()) {
      const answers = askOnce(name, `${round}-${number}`, set, cases);
      for (const one of cases) {
        const text = (answers.get(basename(one.path)) ?? []).join("\n");
        const before = seen.get(one.name) ?? [];
        if (before.includes(text)) steady.set(one.name, text);
        before.push(text);
      }
    }
    left = left.filter((one) => !steady.has(one.name));
  }
  for (const one of left) console.log(`${name} ${one.name}: no two answers are equal, not kept`);
  return steady;
}

/** Capabilities and generic ioctls: whole lines, by what they begin with. */
function askAnswers() {
  const answers = () => askText(programOf(spec("record.c")), []);
  const [first, second] = [answers(), answers()];
  if (first !== second) throw new Error("answers: Linux gave two different ones");
  const before = new Set(lines(readFileSync(spec("recorded.txt"), "utf8")));
  const now = new Set(lines(first));
  const key = (/** @type {string} */ line) => line.split(" ").slice(0, 2).join(" ");
  const keys = new Set([...now].map(key));
  // What is not there any more has the value 0.
  const gone = [...before].map(key).filter((name) => !keys.has(name));
  const text = [...[...now].filter((line) => !before.has(line)), ...gone.map((at) => `${at} 0 0`)];
  writeFileSync(spec(`recorded-${release}.txt`), text.map((line) => `${line}\n`).join(""));
  console.log(`answers: ${text.length} differ`);
}

const all = [...Object.keys(sets), "answers"];
for (const name of wanted.length > 0 ? wanted : all) {
  if (name === "answers") {
    askAnswers();
    continue;
  }
  const make = sets[name];
  if (make === undefined) throw new Error(`there is no set ${name}: ${all.join(", ")}`);
  const set = make();
  const steady = askSet(name, set);
  const old = existsSync(set.file) ? readFileSync(set.file, "latin1") : "";
  // What stands before the first part is a comment.
  const [first = "", ...others] = old.split(/^(?=== )/m);
  const before = first.startsWith("== ") ? [first, ...others] : others;
  const parts = new Map([...readPatches(old).keys()].map((at, i) => [at, before[i] ?? ""]));
  for (const one of set.cases) {
    const text = steady.get(one.name);
    const at = `${set.prefix}${one.name}`;
    parts.delete(at);
    if (text !== undefined) parts.set(at, patchText(at, one.before, text.split("\n")));
  }
  const sorted = [...parts].filter(([, text]) => text !== "").sort(([a], [b]) => (a < b ? -1 : 1));
  const head = first.startsWith("== ") ? "" : first;
  writeFileSync(set.file, head + sorted.map(([, text]) => text).join(""), "latin1");
  console.log(
    `${name}: ${sorted.filter(([at]) => at.startsWith(set.prefix)).length} of ${set.cases.length} differ`,
  );
}

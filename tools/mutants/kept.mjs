// @ts-check
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * What runs found out, as it is kept in the project: so that a run on another machine goes on where the last one
 * ended, and shows each mutant first to the case that noticed it. It is written by `--keep` only.
 *
 * @typedef {import("./state.mjs").Outcome} Outcome
 * @typedef {object} Kept
 * @property {Record<string, string>} files digests of the mutated files
 * @property {Record<string, string>} cases digests of the cases that every survivor was shown
 * @property {Outcome[]} outcomes
 */

const here = new URL(".", import.meta.url).pathname;
const pathOf = (/** @type {string} */ folder) =>
  join(here, "kept", `${folder.replaceAll("/", "-")}.txt`);

/** Marks the sections of the file. */
const SECTION = "== ";
/** The round of what is kept, in {@link import("./state.mjs").State.rounds}. */
export const KEPT_ROUND = 0;

/**
 * @param {string} folder
 * @returns {Kept}
 */
export function readKept(folder) {
  /** @type {Kept} */
  const kept = { files: {}, cases: {}, outcomes: [] };
  const path = pathOf(folder);
  if (!existsSync(path)) return kept;
  let section = "";
  for (const line of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
    if (line.startsWith(SECTION)) section = line.slice(SECTION.length);
    else {
      const [name = "", rest = ""] = line.split("\t");
      if (section === "files") kept.files[name] = rest;
      else if (section === "cases") kept.cases[name] = rest;
      else for (const key of rest.split(" ")) kept.outcomes.push(outcomeOf(section, name, key));
    }
  }
  return kept;
}

/**
 * @param {string} section
 * @param {string} name of a case; milliseconds for survivors of a quick run
 * @param {string} key
 * @returns {Outcome}
 */
function outcomeOf(section, name, key) {
  const outcome = { key, build: "", file: "", round: KEPT_ROUND, asked: 1 };
  if (section === "noticed") return { ...outcome, status: "killed", by: name };
  if (section === "spins") return { ...outcome, status: "timeout", by: name };
  if (section === "uncovered") return { ...outcome, status: "survived", asked: 0 };
  const quick = name === "" ? {} : { quick: Number(name) };
  return { ...outcome, status: "survived", ...quick };
}

/** @param {Outcome} outcome @returns {[section: string, name: string]} */
function placeOf({ status, by = "", asked, quick }) {
  if (status === "killed") return ["noticed", by];
  if (status === "timeout") return ["spins", by];
  if (asked === 0) return ["uncovered", ""];
  return ["survived", quick === undefined ? "" : String(quick)];
}

/**
 * @param {string} folder
 * @param {Kept} kept
 */
export function writeKept(folder, { files, cases, outcomes }) {
  /** @type {Map<string, Map<string, string[]>>} */
  const sections = new Map(
    ["noticed", "spins", "uncovered", "survived"].map((name) => [name, new Map()]),
  );
  for (const outcome of outcomes) {
    const [section, name] = placeOf(outcome);
    const names = sections.get(section) ?? new Map();
    names.set(name, [...(names.get(name) ?? []), outcome.key]);
  }
  const lines = (/** @type {[string, string][]} */ pairs) =>
    pairs.map(([name, rest]) => `${name}\t${rest}`).sort();
  const text = [
    `${SECTION}files`,
    ...lines(Object.entries(files)),
    `${SECTION}cases`,
    ...lines(Object.entries(cases)),
  ];
  for (const [section, names] of sections)
    text.push(
      `${SECTION}${section}`,
      ...lines([...names].map(([name, keys]) => [name, keys.sort().join(" ")])),
    );
  const path = pathOf(folder);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${text.join("\n")}\n`);
  return path;
}

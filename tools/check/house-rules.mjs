// @ts-check
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { mayDeclare, unlistedIn } from "../build/limits.mjs";
import { repositoryFiles, root } from "./files.mjs";

/**
 * @typedef {object} Rule
 * @property {string} name
 * @property {(path: string) => boolean} applies
 * @property {(text: string, path: string) => string[]} check what is wrong, each with its line
 */

const isGenerated = (/** @type {string} */ path) => /\.gen\.[a-z.]+$/.test(path);
const isTest = (/** @type {string} */ path) => /\.test\.(ts|mjs)$/.test(path);
const isCode = (/** @type {string} */ path) =>
  /\.(ts|mjs|c|h|S|sh|inc)$/.test(path) && !isGenerated(path);
const isText = (/** @type {string} */ path) =>
  /\.(ts|mjs|c|h|S|sh|inc|md|json|ld|yml)$|^[^.]*$|^\.ci\/run$/.test(path);
/** The rules themselves and their test have to name what is banned. */
const isHere = (/** @type {string} */ path) => /^tools\/check\/house-rules\./.test(path);

/**
 * A rule that bans a pattern in every line.
 * @param {string} name
 * @param {RegExp} pattern
 * @param {string} advice
 * @param {(path: string) => boolean} applies
 * @returns {Rule}
 */
function ban(name, pattern, advice, applies) {
  return {
    name,
    applies: (path) => applies(path) && !isHere(path),
    check: (text) =>
      text
        .split("\n")
        .flatMap((line, i) => (pattern.test(line) ? [`${i + 1}: ${line.trim()} (${advice})`] : [])),
  };
}

const isTypeScript = (/** @type {string} */ path) => path.endsWith(".ts") && !isGenerated(path);

/** @type {Rule[]} */
export const rules = [
  {
    name: "file size",
    applies: (path) => isCode(path),
    check(text, path) {
      const limit = isTest(path) ? 800 : 600;
      const lines = text.split("\n").length - 1;
      return lines > limit ? [`1: ${lines} lines; the limit is ${limit}, divide the file`] : [];
    },
  },
  {
    name: "file names",
    applies: (path) => isTypeScript(path) || path.endsWith(".mjs"),
    check(_text, path) {
      const name = basename(path).replace(/(\.(test|fixture|config|d))?\.(ts|mjs)$/, "");
      return /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) ? [] : ["1: the name is not in kebab-case"];
    },
  },
  { name: "limits are listed", applies: mayDeclare, check: unlistedIn },
  {
    name: "scripts are type-checked",
    applies: (path) => path.endsWith(".mjs"),
    // tsconfig.scripts.json checks every script; the comment makes editors say the same.
    check: (text) =>
      /^\/\/ @ts-check$/m.test(text.slice(0, 200)) ? [] : ["1: begin with // @ts-check"],
  },
  {
    name: "seeds",
    applies: isTest,
    check(text) {
      const [, ...runs] = text.split(/\bfc\.(?:assert|check|sample)\(/);
      return runs.every((run) => /\{[^{}]*\bseed\b[^{}]*\}/.test(run))
        ? []
        : ["1: fast-check runs without the seed of src/base/seed.fixture.ts"];
    },
  },
  ban(
    "no silent skip",
    /^\s*if \(.*\b(has|machineHas|spawnSync|existsSync|isRoot|process\.\w+)\b.*\) return( \w+\.skip\(\))?;$/,
    "it.skipIf, and a row in tools/check/skips.mjs",
    isTest,
  ),
  ban(
    "no randomness of its own",
    /\bMath\.random\(/,
    "take the seed of src/base/seed.fixture.ts",
    (path) => isTest(path) || (path.startsWith("tests/") && isCode(path)),
  ),
  ban(
    "one private apt",
    /\bDir::(State|Etc|Cache)|\bapt-(get|cache)\b.*\b(download|indextargets|depends)\b/,
    "tools/debian/newer-deb does it for tests, src/hosts/node/apt.ts for users",
    (path) => isText(path) && !/\.md$|^tools\/debian\/|^src\/hosts\/node\//.test(path),
  ),
  ban("no any", /(:|<|as|\|)\s*any\b(?!\w)/, "give it a type, or unknown", isTypeScript),
  ban(
    "no any in scripts",
    /\{[^{}]*\bany\b[^{}]*\}.*\*\/|@\w+ \{[^}]*\bany\b/,
    "give it a type, or unknown",
    (path) => path.endsWith(".mjs"),
  ),
  ban("no silenced compiler", /@ts-(ignore|nocheck|expect-error)/, "mend the type", isCode),
  ban(
    "no blanket disable",
    /biome-ignore-(all|start)|biome-ignore\b(?!.*:\s*\S)/,
    "one line at a time, with a reason",
    isCode,
  ),
  ban("no unfinished work", /\b(TODO|FIXME|XXX|HACK)\b/, "finish it or file an issue", isText),
  ban("no sync comments", /\bkeep (this )?in sync\b/i, "generate one from the other", isCode),
  ban(
    "no machine paths",
    /(^|[\s"'`(=])(\/work\/|\/root\/|\/home\/\w)|\b[\w-]+(\.[\w-]+)*:\/\/(localhost|[\w.-]*mirror)/,
    "a file of the repository names no machine",
    isText,
  ),
  ban(
    "no enum, namespace or parameter property",
    /^\s*(export )?(const )?(enum|namespace) \w|constructor\([^)]*\b(private|public|readonly) \w+\??:/,
    "plain objects and fields",
    (path) => isTypeScript(path) && !path.endsWith(".d.ts") && !path.startsWith("src/engine/core/"),
  ),
  ban(
    "imports end in .js",
    /\bfrom "\.[^"]*(?<!\.js|\.mjs|\.json)"/,
    "the compiler does not add the ending",
    (path) => isTypeScript(path) && !path.startsWith("src/engine/core/"),
  ),
];

/**
 * Checks one file against all rules that apply to it.
 * @param {string} path relative to the root
 * @param {string} text
 * @returns {string[]}
 */
export function checkFile(path, text) {
  return rules
    .filter((rule) => rule.applies(path))
    .flatMap((rule) =>
      rule.check(text, path).map((problem) => `${path}:${problem} [${rule.name}]`),
    );
}

/** Checks every text file of the repository. */
export function checkHouseRules() {
  const files = repositoryFiles().filter((path) => isText(path) && path !== "package-lock.json");
  return files.flatMap((path) => checkFile(path, readFileSync(join(root, path), "utf8")));
}

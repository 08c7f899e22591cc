// @ts-check
/**
 * Finds the limits of the project where they are: a constant or a member of a constant whose comment
 * has an `@limit` tag. See "Limits" in docs/README.md.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * @typedef {"guest" | "client" | "reader" | "file" | "user" | "host"} Who who can reach it
 * @typedef {object} Limit
 * @property {Who} who
 * @property {string} what
 * @property {string} unit
 * @property {string} beyond what happens beyond it
 * @property {string} name of the constant
 * @property {string} expression its value, as the source has it
 * @property {string} path
 * @property {number} line
 */

export const WHO = /** @type {const} */ (["guest", "client", "reader", "file", "user", "host"]);

/** A constant, a member `name: value,` or a C macro, on the lines behind a comment. */
const DECLARATION =
  /^\s*(?:(?:export )?const (\w+)(?:: [\w<>]+)? = ([^;]+);|(\w+): ([^,\n]+),|#define (\w+) ([^\n]+))/;
/** Names that say that a constant is a limit. */
const SOUNDS_LIKE_ONE =
  /^\s*(?:(?:export )?const |#define )((?:\w+_)?(?:MAX|LIMIT|QUOTA|MOST)(?:_\w+)?)\b(?:: [\w<>]+)?(?: =| )/;

/** Files that may declare limits. The tables of the engine's core have the size that `spec/` gives them. */
export const mayDeclare = (/** @type {string} */ path) =>
  /^src\/(?!engine\/core\/).*\.(ts|c|h)$/.test(path) &&
  !/\.(test|fixture|gen)\.|\/tests\//.test(path);

/**
 * The comments of a file with what they stand before.
 * @param {string} text
 * @returns {{ comment: string, after: string, line: number }[]}
 */
function comments(text) {
  return [...text.matchAll(/\/\*\*?((?:(?!\*\/)[\s\S])*)\*\//g)].map((match) => {
    const end = match.index + match[0].length;
    return {
      comment: (match[1] ?? "").replaceAll(/\n\s*\*/g, " ").replaceAll(/\s+/g, " "),
      after: text.slice(end).replace(/^[ \t]*\n/, ""),
      line: text.slice(0, end).split("\n").length + 1,
    };
  });
}

/**
 * The limits that a file declares.
 * @param {string} path
 * @param {string} text
 * @returns {Limit[]}
 */
export function limitsOf(path, text) {
  return comments(text).flatMap(({ comment, after, line }) => {
    const tag = /@limit (.*?)(?= @\w|$)/.exec(comment);
    if (tag === null) return [];
    const where = `${path}:${line}`;
    const [who, what, unit, beyond, ...more] = (tag[1] ?? "").split("|").map((part) => part.trim());
    const found = DECLARATION.exec(after);
    if (found === null) throw new Error(`${where}: @limit is not before a constant`);
    if (!WHO.some((one) => one === who) || !what || !unit || !beyond || more.length > 0) {
      throw new Error(`${where}: @limit WHO | what | unit | what happens beyond it`);
    }
    const name = found[1] ?? found[3] ?? found[5] ?? "";
    const expression = (found[2] ?? found[4] ?? found[6] ?? "").trim();
    return [{ who: /** @type {Who} */ (who), what, unit, beyond, name, expression, path, line }];
  });
}

/**
 * Constants whose name says that they are limits, but whose comment has neither `@limit` nor `@nolimit` with a
 * reason.
 * @param {string} text
 * @returns {string[]}
 */
export function unlistedIn(text) {
  const lines = text.split("\n");
  const told = new Set(
    comments(text)
      .filter(({ comment }) => /@limit |@nolimit \S/.test(comment))
      .map(({ line }) => line),
  );
  return lines.flatMap((source, at) => {
    const name = SOUNDS_LIKE_ONE.exec(source)?.[1];
    if (name === undefined || told.has(at + 1)) return [];
    return [`${at + 1}: ${name} has neither @limit nor @nolimit (docs/README.md, "Limits")`];
  });
}

/**
 * The number that an expression stands for. Names are looked up in the same file, and in those that it imports
 * from.
 * @param {string} root
 * @param {string} path
 * @param {string} expression
 * @returns {number}
 */
export function evaluate(root, path, expression) {
  const text = readFileSync(join(root, path), "utf8");
  const numeric = expression
    .replace(/\/\/.*$/, "")
    .replace(/ as const$/, "")
    .replaceAll(/(?<=\d)_(?=\d)/g, "")
    .replaceAll(/(?<=[\da-fA-F])n\b/g, "")
    .replaceAll(/\b(BigInt|Number)(?=\()/g, "")
    .replaceAll(/\b[A-Za-z_]\w*(?:\.\w+)?\b/g, (name) =>
      String(evaluate(root, ...declaration(root, path, text, name))),
    );
  // A shift of JavaScript's numbers has 32 bits, one of its big integers has not.
  const value = numeric.replaceAll("<<", "* 2 **");
  if (!/^[\d\s.+*/<()xa-fA-F-]+$/.test(value)) throw new Error(`${path}: ${expression}?`);
  return Number(new Function(`return (${value});`)());
}

/**
 * Where a name is declared, and its value as text.
 * @param {string} root
 * @param {string} path
 * @param {string} text of the file that uses it
 * @param {string} name
 * @returns {[path: string, expression: string]}
 */
function declaration(root, path, text, name) {
  const [first = "", member] = name.split(".");
  const here = new RegExp(`\\bconst ${first}(?:: [\\w<>]+)? = ([^;]+);|#define ${first} (.+)`);
  const found = here.exec(text);
  const whole = found?.[1] ?? found?.[2];
  if (whole !== undefined) {
    if (member === undefined) return [path, whole];
    const value = new RegExp(`\\b${member}: ([^,}\\n]+)`).exec(whole)?.[1];
    if (value !== undefined) return [path, value.trim()];
  }
  const imports = text.matchAll(/(?:import|export)\s(?:type\s)?\{?([^;]*?)\}? from "(\.[^"]+)"/g);
  for (const [, names = "", from = ""] of imports) {
    if (names !== "*" && !new RegExp(`\\b${first}\\b`).test(names)) continue;
    const other = join(dirname(path), from).replace(/\.js$/, "").replace(/\.ts$/, "");
    const file = existsSync(join(root, `${other}.ts`)) ? `${other}.ts` : undefined;
    if (file === undefined) continue;
    try {
      return declaration(root, file, readFileSync(join(root, file), "utf8"), name);
    } catch {
      // Another "export *" may have it.
    }
  }
  throw new Error(`${path}: where is ${name}?`);
}

// @ts-check
/**
 * Puts the numbers of constant objects (`export const Port = { DATA: 0x3f8 } as const`) where they are used: their names, which
 * no minifier may change, are a sixteenth of the machine's worker.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** @typedef {Map<string, Map<string, string>>} Constants by name of the object and member */
/** @typedef {{ type: string, start: number, end: number } & Record<string, unknown>} Node of an ESTree */

const NUMBER = /^-?(?:0x[\da-f]+|\d+)n?$/i;

/**
 * The objects of a file whose members are all numbers.
 * @param {string} text
 * @returns {Constants}
 */
export function constantsOf(text) {
  /** @type {Constants} */
  const found = new Map();
  const plain = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  for (const [, name = "", body = ""] of plain.matchAll(
    /^export const (\w+) = \{([^{}]*)\} as const;/gm,
  )) {
    const members = body
      .split(",")
      .map((member) => member.trim())
      .filter((member) => member !== "")
      .map((member) => /^(\w+):\s*([-\w]+)$/.exec(member) ?? []);
    const values = members.map(
      ([, key = "", value = ""]) => /** @type {const} */ ([key, value.replaceAll("_", "")]),
    );
    if (values.length > 0 && values.every(([, value]) => NUMBER.test(value)))
      found.set(name, new Map(values));
  }
  return found;
}

/**
 * Those of all files of a folder, but for names that two files export.
 * @param {string} folder
 * @returns {Constants}
 */
function constantsBelow(folder) {
  /** @type {Constants} */
  const all = new Map();
  /** @type {Map<string, number>} */
  const files = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts") || entry.parentPath.includes("engine/core"))
      continue;
    const text = readFileSync(join(entry.parentPath, entry.name), "utf8");
    const names = text.matchAll(/^export (?:abstract )?(?:const|let|class|function) (\w+)/gm);
    for (const [, name = ""] of names) files.set(name, (files.get(name) ?? 0) + 1);
    for (const [name, values] of constantsOf(text)) all.set(name, values);
  }
  for (const [name, count] of files) if (count > 1) all.delete(name);
  return all;
}

/**
 * A module with numbers in the place of the members of constants that it imports.
 * @param {string} code
 * @param {unknown} program its syntax tree
 * @param {Constants} constants
 */
export function inlined(code, program, constants) {
  /** @type {Map<string, Map<string, string>>} */
  const local = new Map();
  /** @type {{ start: number, end: number, text: string }[]} */
  const edits = [];
  /** @param {unknown} value */
  const walk = (value) => {
    if (Array.isArray(value)) value.forEach(walk);
    if (typeof value !== "object" || value === null || !("type" in value)) return;
    const node = /** @type {Node} */ (value);
    if (node.type === "ImportSpecifier") {
      const { imported, local: here } =
        /** @type {{ imported: { name: string }, local: { name: string } }} */ (
          /** @type {unknown} */ (node)
        );
      const values = constants.get(imported.name);
      if (values !== undefined) local.set(here.name, values);
      return;
    }
    const { object, property, computed } =
      /** @type {{ object?: { type: string, name: string }, property?: { name: string }, computed?: boolean }} */ (
        node
      );
    const found =
      node.type === "MemberExpression" && object?.type === "Identifier" && computed === false
        ? local.get(object.name)?.get(property?.name ?? "")
        : undefined;
    if (found !== undefined)
      edits.push({
        start: node.start,
        end: node.end,
        text: found.startsWith("-") ? `(${found})` : found,
      });
    else for (const [key, child] of Object.entries(node)) if (key !== "parent") walk(child);
  };
  walk(program);
  let text = code;
  for (const { start, end, text: value } of edits.sort((a, b) => b.start - a.start)) {
    text = text.slice(0, start) + value + text.slice(end);
  }
  return text;
}

/**
 * The plugin, for the modules of a folder.
 * @param {string} folder
 * @returns {import("vite").Plugin}
 */
export function inlineConstants(folder) {
  const constants = constantsBelow(folder);
  return {
    name: "inline-constants",
    transform(code, id) {
      if (!id.startsWith(folder) || !id.endsWith(".ts")) return undefined;
      const text = inlined(code, this.parse(code), constants);
      return text === code ? undefined : { code: text, map: null };
    },
  };
}

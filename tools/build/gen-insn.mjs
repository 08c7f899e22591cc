// @ts-check
/**
 * Reads the instruction rows of spec/insn/ and writes the decoder's tables and the dispatch switch.
 *
 * A row: "encoding | assembly | handler | flags"; spec/insn/README.md explains the words.
 */
import { readdirSync } from "node:fs";
import { NOT_EMULATED } from "../../spec/insn-emulated.mjs";
import { fastKind } from "./gen-fast.mjs";

const specDir = new URL("../../spec/insn/", import.meta.url);

/** Classes of register operands: what the decoder stores in `a` and `b`. Numbers are used in decode.ts. */
export const CLASS = { none: 0, gpr8: 1, gpr: 2, xmm: 3, raw3: 4, raw4: 5 };
const IMM = {
  none: 0,
  ib: 1,
  iw: 2,
  iz: 3,
  iv: 4,
  iwib: 5,
  rel8: 1,
  relz: 6,
  moffs: 7,
  far: 8,
  id: 9,
};
const SIZE_MODE = { fixed: 0, v: 1, y: 2 };
/** As bits of a row's flags, from bit 10 on. */
const EMULATED = { always: 0, never: 1, "not wide": 2, newer: 3 };
const PREFIXES = ["NP", "66", "F3", "F2"];
/** @type {Record<string, number>} */
const MAPS = { "0F": 1, "0F38": 2, "0F3A": 3 };
/** @type {Record<string, string>} */
const ELEMENT = { b: "u8", w: "u16", d: "u32", q: "u64" };

/**
 * An instruction: a row of spec/insn, taken apart.
 * @typedef {object} Encoding
 * @property {number} map 0, or of MAPS
 * @property {number} opcode
 * @property {string | undefined} prefix a mandatory one, of PREFIXES
 * @property {number | undefined} digit what ModRM.reg has to be
 * @property {"mem" | "reg" | undefined} form what ModRM.rm has to be
 * @property {boolean} modrm
 * @property {boolean} plus whether the opcode's low bits are a register
 * @property {keyof typeof IMM} imm
 *
 * @typedef {Encoding & {
 *   text: string, family: string, asm: string, path: string, fn: string,
 *   type: string | undefined, flags: Set<string>,
 * }} Row `type` is the letter of the handler's element, if it is generic
 */

/** @type {(row: string, why: string) => never} */
function fail(row, why) {
  throw new Error(`spec/insn: ${why}: "${row}"`);
}

/** @param {string} asm */
function operandClasses(asm) {
  /** @type {Record<"a" | "b" | "plus", number>} */
  const found = { a: CLASS.none, b: CLASS.none, plus: CLASS.none };
  const list = asm.trim().split(/\s+/).slice(1).join("").split(",").filter(Boolean);
  for (const operand of list) {
    const m = /^([A-Z])([a-z0-9]*)/.exec(operand);
    if (!m || /^[A-Z][A-Z]/.test(operand)) continue;
    const [, letter, suffix = ""] = m;
    const general = suffix.startsWith("b") ? CLASS.gpr8 : CLASS.gpr;
    if (letter === "E" || letter === "R") found.b = general;
    else if (letter === "G") found.a = general;
    else if (letter === "Z") found.plus = general;
    else if (letter === "V") found.a = CLASS.xmm;
    else if (letter === "W" || letter === "U") found.b = CLASS.xmm;
    else if (letter === "P") found.a = CLASS.raw3;
    else if (letter === "Q" || letter === "N") found.b = CLASS.raw3;
    else if (letter === "S") found.a = CLASS.raw3;
    else if (letter === "C" || letter === "D") found.a = CLASS.raw4;
  }
  return found;
}

/** Whether a word names an immediate. @param {string} word @returns {word is keyof typeof IMM} */
const isImmediate = (word) => Object.hasOwn(IMM, word);

/** @param {string} text @param {string} enc @returns {Encoding} */
function parseEncoding(text, enc) {
  /** @type {Encoding} */
  const row = {
    map: 0,
    opcode: -1,
    prefix: undefined,
    digit: undefined,
    form: undefined,
    modrm: false,
    plus: false,
    imm: "none",
  };
  for (const token of enc.split(/\s+/)) {
    if (row.opcode < 0 && row.map === 0 && row.prefix === undefined && PREFIXES.includes(token))
      row.prefix = token;
    else if (row.opcode < 0 && row.map === 0 && MAPS[token]) row.map = MAPS[token];
    else if (row.opcode < 0 && /^[0-9A-Fa-f]{2}$/.test(token))
      row.opcode = Number.parseInt(token, 16);
    else if (token === "+r") row.plus = true;
    else if (token === "/r") row.modrm = true;
    else if (/^\/[0-7]$/.test(token)) {
      row.modrm = true;
      row.digit = Number(token[1]);
    } else if (token === "mem" || token === "reg") row.form = token;
    else if (isImmediate(token)) row.imm = token;
    else fail(text, `unknown word ${token}`);
  }
  if (row.opcode < 0) fail(text, "no opcode");
  return row;
}

/** @param {string} text @param {string} family @returns {Row} */
function parseRow(text, family) {
  const [enc, asm, handler, flagText = ""] = text.split("|").map((s) => s.trim());
  if (enc === undefined || asm === undefined || handler === undefined)
    return fail(text, "needs encoding, assembly and handler");
  const h = /^([\w/-]+):(\w+)(?:<(\w)>)?$/.exec(handler);
  if (h?.[1] === undefined || h[2] === undefined)
    return fail(text, "handler must be path:function or path:function<t>");
  const flags = new Set(flagText.split(/\s+/).filter(Boolean));
  for (const flag of flags)
    if (!["lock", "d64", "f64", "o64", "i64", "end"].includes(flag))
      fail(text, `unknown flag ${flag}`);
  const encoding = parseEncoding(text, enc);
  return { text, family, asm, ...encoding, path: h[1], fn: h[2], type: h[3], flags };
}

/** All rows, of the named families only when given. @param {string[]} [families] */
export async function readRows(families) {
  const files = readdirSync(specDir)
    .filter((f) => f.endsWith(".mjs"))
    .sort();
  /** @type {Row[]} */
  const rows = [];
  for (const file of files) {
    const family = file.slice(0, -4);
    if (families && !families.includes(family)) continue;
    const module = await import(new URL(file, specDir).href);
    for (const text of module.default) rows.push(parseRow(text, family));
  }
  if (families === undefined) checkEmulated(rows);
  return rows;
}

/** @typedef {{ call?: string, path?: string, fn?: string, element?: string | undefined }} Op */

/**
 * Operation numbers: one for each handler instance. 0 is #UD.
 * @param {readonly Row[]} rows
 * @returns {{ ops: Op[], ofRow: Map<Row, [number, number, number]> }} a row's are those of 16, 32 and 64 bits
 */
function assignOps(rows) {
  /** @type {Op[]} */
  const ops = [{ call: "raise(V_UD)" }];
  /** @type {Map<string, number>} */
  const ids = new Map();
  /** @param {Row} row @param {string | undefined} element */
  const instance = ({ path, fn }, element) => {
    const key = `${path}:${fn}<${element ?? ""}>`;
    const id = ids.get(key) ?? ops.length;
    if (id === ops.length) ops.push({ path, fn, element });
    ids.set(key, id);
    return id;
  };
  const elements = (/** @type {Row} */ { type, text }) => {
    if (type === "v") return /** @type {const} */ (["u16", "u32", "u64"]);
    if (type === "y") return /** @type {const} */ (["u32", "u32", "u64"]);
    const element = type === undefined ? undefined : (ELEMENT[type] ?? fail(text, "type"));
    return /** @type {const} */ ([element, element, element]);
  };
  const ofRow = new Map();
  for (const row of rows)
    ofRow.set(
      row,
      elements(row).map((element) => instance(row, element)),
    );
  return { ops, ofRow };
}

/**
 * Whether KVM's emulator knows a row: always, never, all but a write with REX.W, or in newer releases.
 * @param {Row} row
 * @returns {keyof typeof EMULATED}
 */
export function emulated({ family, asm }) {
  const { families, but, also, wide, newer } = NOT_EMULATED;
  const mnemonic = asm.split(" ")[0] ?? "";
  if (newer.includes(mnemonic)) return "newer";
  if (wide.includes(mnemonic)) return "not wide";
  return also.includes(mnemonic) || (families.includes(family) && !but.includes(asm))
    ? "never"
    : "always";
}

/** The table of spec/insn-emulated.mjs names rows only that there are. @param {readonly Row[]} rows */
function checkEmulated(rows) {
  const { families, but, also, wide, newer } = NOT_EMULATED;
  const known = new Set(rows.flatMap(({ family, asm }) => [family, asm, asm.split(" ")[0]]));
  for (const name of [...families, ...but, ...also, ...wide, ...newer])
    if (!known.has(name)) fail(name, "spec/insn-emulated.mjs names what is in no row");
}

/** @param {Row} row @param {readonly number[]} ops of 16, 32 and 64 bits */
function infoBytes(row, ops) {
  const c = operandClasses(row.asm);
  let flags = 0;
  if (row.flags.has("lock")) flags |= 1;
  if (row.flags.has("d64")) flags |= 2;
  if (row.flags.has("f64")) flags |= 4;
  if (row.flags.has("end")) flags |= 8;
  if (row.modrm) flags |= 16;
  if (row.plus) flags |= 32;
  // ModRM.rm is a register for every ModRM.mod.
  if (row.form === undefined && /\bR[a-z]/.test(row.asm)) flags |= 128;
  const a = row.plus ? c.plus : c.a;
  const byteOnly = c.b === CLASS.gpr8 && (c.a === CLASS.none || c.a === CLASS.gpr8);
  const byteSize = row.type === "b" || byteOnly ? 1 : 0;
  const sizeMode =
    row.type === "v" ? SIZE_MODE.v : row.type === "y" ? SIZE_MODE.y : SIZE_MODE.fixed;
  // ops of the three operand sizes (u16 each), classes, immediate, flags, fast kind, size mode
  return [
    ...ops,
    a | (c.b << 4) | (IMM[row.imm] << 8),
    flags | (byteSize << 6) | (sizeMode << 8) | (EMULATED[emulated(row)] << 10),
    ...fastKind(row),
    0,
  ];
}

/**
 * The list of a key, made when it is asked for first.
 * @template K, V
 * @param {Map<K, V[]>} table
 * @param {K} key
 * @returns {V[]}
 */
function slot(table, key) {
  const list = table.get(key) ?? [];
  table.set(key, list);
  return list;
}

/** Opcode tables: [mode64 ? 1 : 0][map][opcode] -> row number or expansion. @param {readonly Row[]} rows */
function buildTables(rows) {
  const first = new Uint16Array(2 * 4 * 256);
  /** @type {number[]} */
  const second = [];
  /** @param {number | undefined} number from 1; 0 and none are no row */
  const rowOf = (number) => (number ? rows[number - 1] : undefined);
  for (const mode of [0, 1]) {
    /** @type {Map<number, number[]>} */
    const byOpcode = new Map();
    rows.forEach((row, i) => {
      if (row.flags.has(mode ? "i64" : "o64")) return;
      for (let r = 0; r < (row.plus ? 8 : 1); r++)
        slot(byOpcode, row.map * 256 + row.opcode + r).push(i + 1);
    });
    for (const [key, list] of byOpcode) {
      const at = mode * 1024 + key;
      const [only, ...others] = list.map(rowOf);
      if (
        only !== undefined &&
        others.length === 0 &&
        only.prefix === undefined &&
        only.digit === undefined &&
        only.form === undefined
      ) {
        first[at] = list[0] ?? 0;
        continue;
      }
      const cells = new Array(64).fill(0);
      // Rows without a mandatory prefix first, so that rows with one override them.
      const order = [...list].sort(
        (x, y) => Number(rowOf(x)?.prefix !== undefined) - Number(rowOf(y)?.prefix !== undefined),
      );
      for (const n of order) {
        const row = rowOf(n);
        if (row === undefined) continue;
        for (let c = 0; c < 64; c++) {
          const pfx = c >> 4;
          const reg = (c >> 3) & 1;
          const digit = c & 7;
          if (row.prefix !== undefined && PREFIXES[pfx] !== row.prefix) continue;
          if (row.form !== undefined && (row.form === "reg") !== (reg === 1)) continue;
          if (row.digit !== undefined && row.digit !== digit) continue;
          const old = rowOf(cells[c]);
          if (old && (old.prefix !== undefined) === (row.prefix !== undefined))
            fail(row.text, `collides with "${old.text}"`);
          cells[c] = n;
        }
      }
      first[at] = 0x8000 | (second.length / 64);
      second.push(...cells);
    }
  }
  return { first, second };
}

/** @param {string} name @param {string} type @param {Iterable<number>} numbers */
const data = (name, type, numbers) =>
  `export const ${name}: usize = memory.data<${type}>([${[...numbers].join(",")}]);`;

/** The decoder's tables as AssemblyScript. @param {readonly Row[]} rows */
export function tablesFile(rows) {
  const { ofRow } = assignOps(rows);
  const { first, second } = buildTables(rows);
  return [
    "// Generated by tools/build/gen.mjs from spec/insn/. Do not edit.",
    "/** Row number by [64-bit code][map][opcode]; with bit 15, number of a group of 64 in OPCODES2. */",
    data("OPCODES", "u16", first),
    "/** Row number by [prefix: none 66 F3 F2][register form][ModRM.reg]. */",
    data("OPCODES2", "u16", second.length ? second : [0]),
    "/** 16 bytes a row: operation for 16, 32, 64 bits; classes and immediate; flags; fast kind (two words). */",
    data("ROWS", "u16", [
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...rows.flatMap((row) => infoBytes(row, ofRow.get(row) ?? [])),
    ]),
    "",
  ].join("\n");
}

/** How many operations the rows need. @param {readonly Row[]} rows */
export const countOps = (rows) => assignOps(rows).ops.length;

/**
 * The table of complete handlers as AssemblyScript. Not one function with a switch: V8 would compile all handlers well, for a
 * quarter of a second of another thread, because a few of them are used.
 * @param {readonly Row[]} rows
 */
export function dispatchFile(rows) {
  const { ops } = assignOps(rows);
  /** @type {Map<string, string[]>} */
  const imports = new Map();
  for (const op of ops) if (op.path && op.fn) slot(imports, op.path).push(op.fn);
  const lines = [
    "// Generated by tools/build/gen.mjs from spec/insn/. Do not edit.",
    'import { raise, V_UD } from "./fault";',
  ];
  let n = 0;
  const alias = new Map();
  for (const [path, fns] of imports) {
    const unique = [...new Set(fns)];
    for (const fn of unique) alias.set(`${path}:${fn}`, `${fn}_${n++}`);
    lines.push(
      `import { ${unique.map((fn) => `${fn} as ${alias.get(`${path}:${fn}`)}`).join(", ")} } from "./${path}";`,
    );
  }
  lines.push(
    "",
    "/** How many operations have a handler of their own; fast operations are numbered from here. */",
    `export const GENERIC_OPS: u32 = ${ops.length};`,
    "",
  );
  lines.push("const HANDLERS: StaticArray<(p: u32) => u32> = [");
  for (const op of ops) {
    const call =
      op.call ?? `${alias.get(`${op.path}:${op.fn}`)}${op.element ? `<${op.element}>` : ""}(p)`;
    lines.push(`  (p: u32): u32 => ${call},`);
  }
  lines.push(
    "];",
    "",
    "/** Executes the instruction in record `p`, whose operation is `op`, by its complete handler. */",
    "export function dispatch(op: u32, p: u32): u32 {",
    "  if (op >= GENERIC_OPS) return raise(V_UD);",
    "  // A function's value is where its place in the table of functions is written.",
    "  return call_indirect<u32>(load<u32>(load<u32>(changetype<usize>(HANDLERS) + (op << 2))), p);",
    "}",
    "",
  );
  return lines.join("\n");
}

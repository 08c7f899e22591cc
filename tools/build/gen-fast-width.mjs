// @ts-check
/**
 * What of a fast operation differs between 64-bit code and flat 32-bit code. Most texts are the same for both but for
 * addresses, which are cut to 32 bits; they name those by a marker:
 *
 *   $EA_b, $EA_x     effective address: base + displacement, or with an index, too
 *   $CODE_48         address of the code to which the word at 48 of the record leads, or at 56
 *
 * What pushes, pops or jumps has a text of its own for each (words()).
 */
import { rd } from "./gen-fast-text.mjs";

/** @typedef {8 | 4} Word bytes of an address, and of an entry of the stack */
/** @typedef {import("./gen-fast-ops.mjs").Operation} Operation */

// <u32> around a sum: where 64 bits are wanted, AssemblyScript's load<u32>() gives them, and nothing wraps.
const EA = {
  8: {
    b: "load<u64>(<u32>load<u16>(p, 8)) + load<u64>(p, 24)",
    x: "load<u64>(<u32>load<u16>(p, 8)) + (load<u64>(<u32>load<u16>(p, 10)) << load<u8>(p, 12)) + load<u64>(p, 24)",
  },
  4: {
    b: "<u64><u32>(load<u32>(<u32>load<u16>(p, 8)) + load<u32>(p, 24))",
    x: "<u64><u32>(load<u32>(<u32>load<u16>(p, 8)) + (load<u32>(<u32>load<u16>(p, 10)) << <u32>load<u8>(p, 12)) + load<u32>(p, 24))",
  },
};

/** Where the record leads. @param {Word} w @param {string} at */
export const codeAt = (w, at) =>
  w === 8
    ? `load<u64>(PAGE_BASE) + load<u64>(p, ${at})`
    : `<u64><u32>(load<u32>(PAGE_BASE) + load<u32>(p, ${at}))`;

/** Pieces of the texts that handle the stack and addresses of code. @param {Word} w */
export const words = (w) => ({
  /** An address from what a register, or `v`, holds. @param {string} text */
  address: (text) => (w === 8 ? text : `<u64>${text}`),
  /** Where the stack's last entry is, and where the next will be. */
  top: w === 8 ? "load<u64>(RSP)" : "<u64>load<u32>(RSP)",
  below: w === 8 ? "load<u64>(RSP) - 8" : "<u64><u32>(load<u32>(RSP) - 4)",
  /** Removes the entry at `ea`. */
  popped: w === 8 ? "store<u64>(RSP, ea + 8);" : "store<u64>(RSP, <u64>(<u32>ea + 4));",
  /** Where the frame begins. */
  frame: w === 8 ? rd(8, "RBP") : `<u64>${rd(4, "RBP")}`,
  /** The address behind the block, as a call pushes it. */
  behind: w === 8 ? codeAt(8, "56") : "load<u32>(PAGE_BASE) + load<u32>(p, 56)",
});

/** The text of an operation for one kind of code. @param {Operation} op @param {Word} w */
export function textFor(op, w) {
  const text = w === 4 ? (op.flat ?? op.body) : op.body;
  return text
    .replaceAll("$EA_b", EA[w].b)
    .replaceAll("$EA_x", EA[w].x)
    .replaceAll(/\$CODE_(\d+)/g, (_, at) => codeAt(w, at));
}

/** Whether an operation has 64-bit operands, which are not in 32-bit code. @param {string} name */
const isWide = (name) => /^[^_]*8_/.test(name) || name === "movabs";

/** Whether flat 32-bit code has the operation. @param {Operation} op */
export function inFlat(op) {
  const wide = op.name.split("+").some((part) => isWide(part) && !STACK.test(part));
  return !wide && op.name !== "swapgs4_rr_F";
}

/** Those whose 64-bit form has the number of the 32-bit form, too: each kind of code has one of them. */
export const STACK = /^(push|pop|leave|pushf)8_/;

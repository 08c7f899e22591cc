/**
 * From decoded records of SSE instructions to fast ones: see tools/build/gen-fast-sse.mjs. A memory
 * operand of an operation is loaded by a record of its own, which comes first.
 */
import { rowFast2 } from "./decode";
import { FAST, PAT_SSE, PAT_SSELOAD, PAT_SSESHIFT } from "./fast.gen";
import { SSE_TMP } from "./layout";
import { RF_MEM, RF_W } from "./record";

/** Forms of the operation table, as in specialise.ts. */
const RR: u32 = 0;
const RI: u32 = 1;
const RM: u32 = 2;
const MR: u32 = 4;

/** In rowFast2: the next family is meant with REX.W, for the memory form and for the register form. */
const WIDE_MEMORY: u32 = 0x4000;
const WIDE_REGISTER: u32 = 0x8000;

function operation(family: u32, form: u32): u16 {
  return load<u16>(<u32>FAST + ((family << 7) | (form << 2)));
}

/** Highest count for which a shift is not all zeros (or all signs), by the low bits of the opcode: 71 72 73. */
function inRange(q: u32): bool {
  const count = <u32>load<u8>(q, 16);
  const opcode = <u32>load<u8>(q, 21);
  if (opcode != 0x73) return count < (opcode == 0x71 ? 16 : 32);
  return count < ((load<u8>(q, 20) & 8) != 0 ? 16 : 64); // /3 and /7 shift bytes
}

/**
 * Turns the record at `q` into fast ones; `form` is 0 or 1 for the kind of address of a memory operand.
 * Gives how many records there are now: 0 when the record was left as it is.
 */
export function specialiseSse(q: u32, pattern: u32, family: u32, form: u32): u32 {
  const wide = (load<u16>(q, 22) & RF_W) != 0;
  const inMemory = (load<u16>(q, 22) & RF_MEM) != 0;
  const a = load<u16>(q, 4);
  const b = load<u16>(q, 6);
  if (wide && (rowFast2 & WIDE_REGISTER) != 0) family++;
  let other = rowFast2 & 0x3fff;
  if (wide && (rowFast2 & WIDE_MEMORY) != 0) other++;
  if (pattern == PAT_SSESHIFT) {
    if (!inRange(q)) return 0;
    store<u16>(q, b, 4);
    store<u16>(q, operation(family, RI));
    return 1;
  }
  if (pattern == PAT_SSE) {
    const op = operation(family, RR);
    if (!inMemory) {
      store<u16>(q, op);
      return 1;
    }
    memory.copy(q + 32, q, 32);
    store<u16>(q, operation(other, RM + form));
    store<u16>(q + 32, op);
    store<u16>(q + 32, <u16>SSE_TMP, 6);
    return 2;
  }
  if (pattern == PAT_SSELOAD) {
    store<u16>(q, inMemory ? operation(other, RM + form) : operation(family, RR));
    return 1;
  }
  store<u16>(q, a, 6);
  if (!inMemory) store<u16>(q, b, 4);
  store<u16>(q, inMemory ? operation(other, MR + form) : operation(family, RR));
  return 1;
}

/**
 * From decoded records to fast ones, while a block of 64-bit or flat 32-bit code is built: picks the specialised
 * operation for an instruction's size and form, joins CMP or TEST with the Jcc behind it, leaves
 * out NOPs, closes the block, and removes flag computations that nobody can see. An instruction
 * that may fault can see flags (the exception handler reads them), so only register-only runs are thinned out.
 */
import { GPR, SCRATCH_AT, SEG, ZERO } from "./state.gen";
import { opSizeLg, rowFast } from "./decode";
import {
  CMPJ, FAM_cmp, FAM_dec, FAM_imul, FAM_inc, FAM_rol, FAM_ror, FAM_test, FAST, OP_call_far, OP_call_mb, OP_call_mx, OP_call_near, OP_call_r,
  OP_end, OP_end_across, OP_jcc_across, OP_jmp_far, OP_jmp_mb, OP_jmp_mx, OP_jmp_near, OP_jmp_r, OP_movabs, OP_ret, PAT_AI, PAT_BSWAP,
  PAT_CALL, PAT_CALLE, PAT_CMOV, PAT_E, PAT_EG, PAT_EI, PAT_GE, PAT_GEI, PAT_GM, PAT_JCC, PAT_JMP, PAT_MOFFS, PAT_JMPE, PAT_NOP, PAT_RET,
  PAT_SET, PAT_SH1, PAT_SHI, PAT_XCHGA, PAT_Z, PAT_ZI, TESTJ, FAM_shl, FAM_shr, FAM_sar, FAM_add, FAM_or, FAM_and, FAM_sub, FAM_xor, FAM_neg,
  FAM_bsf, FAM_bsr, FAM_bt, FAM_btc, FAM_mul, FAM_sarc, FAM_shlc, FAM_shld, FAM_shrc, FAM_shrd, PAT_DSHIFT, PAT_MULDIV, PAT_SHC, PAT_SREG, PAT_STRING, PAT_SWAPGS,
  FAM_adc, FAM_sbb, FAM_cmov, FAM_set, JCC, FAST_END, FAST_FROM, PAIR, PAIR_FIRST, PAIR_SECOND, PAIR_SECONDS, PAT_FIXED, PAT_PUSHE, PAT_PUSHI, PAT_SSE,
} from "./fast.gen";
import { KEY_SEGMENT_SHIFT, KEY_SIZE_SHIFT } from "./layout";
import { specialiseSse } from "./specialise-sse";
import { RF_ASIZE, RF_MEM, RF_REP, RF_REPNE } from "./record";
import { DEAD_BLOCK } from "./blocks";

/** What is known of each record: effect on flags u8, fusable u8 (1 CMP, 2 TEST), quiet operation u16, log2 size u8, form u8. */
const SIDE: u32 = SCRATCH_AT + 0x400;
/** Does not touch flags and cannot fault. */
const FX_NONE: u32 = 0;
/** Sets all flags; cannot fault. */
const FX_SETS: u32 = 1;
/** Reads flags, may fault, or is not known. */
const FX_SEES: u32 = 2;
/** Reads flags unless its quiet form is used, which may be done when nobody sees the result. */
const FX_KEEPS: u32 = 3;

const RR: u32 = 0;
const RI: u32 = 1;
const RM: u32 = 2;
const MR: u32 = 4;
const MI: u32 = 6;
const NO_FORM: u32 = 99;

const DS: u32 = 3;
const FS: u32 = 4;
const ALL_SEGMENTS: u32 = 0x3f;
/** ES, SS and DS; CS cannot be written. */
const FLAT_SEGMENTS: u32 = 0x0d;

/** Log2 of the bytes of an address and a stack entry, 0 when there are no fast operations. */
let word: u32 = 0;
/** Segments whose base may be added by fast operations, by bit. */
let segments: u32 = 0;
/** Whether the block has its last record. */
export let closed: bool = false;
/** Whether the last record reads flags that were set before it, or leaves them to the next block. */
let lastSees: bool = true;
let records: u32 = 0;
let lastCount: u32 = 0;

/** Begins a block with this key; 0 for one without fast operations. */
export function startBlock(key: u64): void {
  const size = <u32>(key >> KEY_SIZE_SHIFT) & 3;
  word = size == 2 ? 3 : size == 3 ? 2 : 0;
  segments = size == 2 ? ALL_SEGMENTS : FLAT_SEGMENTS | (<u32>(key >> KEY_SEGMENT_SHIFT) & (3 << FS));
  closed = false;
  lastSees = true;
  records = 0;
}

function side(effect: u32, quiet: u32, fuse: u32, form: u32): void {
  const s = SIDE + (records << 3);
  store<u8>(s, <u8>effect);
  store<u8>(s, <u8>fuse, 1);
  store<u16>(s, <u16>quiet, 2);
  store<u8>(s, <u8>opSizeLg, 4);
  store<u8>(s, <u8>form, 5);
}

/** Folds the segment base into the address; 0 for base + disp, 1 with an index, NO_FORM if it has three registers. */
export function address(q: u32): u32 {
  if ((load<u16>(q, 22) & RF_ASIZE) != word - 1) return NO_FORM;
  const seg = <u32>load<u8>(q, 13);
  if (((segments >> seg) & 1) == 0) return NO_FORM;
  const indexed = load<u16>(q, 10) != ZERO;
  if (seg < 4) return indexed ? 1 : 0;
  const slot = SEG + (seg << 4) + 8;
  if (load<u16>(q, 8) != ZERO && indexed) return NO_FORM;
  store<u8>(q, 3, 13); // the base is in the address from now on
  const base = load<u16>(q, 8);
  if (base == ZERO) {
    store<u16>(q, <u16>slot, 8);
    return indexed ? 1 : 0;
  }
  store<u16>(q, <u16>slot, 8);
  store<u16>(q, base, 10);
  store<u8>(q, 0, 12);
  return 1;
}

function fastOp(family: u32, form: u32, quiet: u32): u32 {
  return load<u16>(<u32>FAST + ((((family << 2) | opSizeLg) << 5) | (form << 2) | (quiet << 1)));
}

/** Sets the record's operation from family and form; false when there is none. */
function choose(q: u32, family: u32, form: u32): bool {
  const op = fastOp(family, form, 0);
  const quiet = fastOp(family, form, 1);
  const memory = form >= RM;
  if (op == 0) {
    // It has no flags.
    if (quiet == 0) return false;
    store<u16>(q, <u16>quiet);
    side(memory ? FX_SEES : FX_NONE, 0, 0, form);
    return true;
  }
  store<u16>(q, <u16>op);
  let effect = FX_NONE;
  let fuse: u32 = 0;
  if (keepsFlags(family)) effect = FX_KEEPS;
  else if (setsFlags(family)) effect = FX_SETS;
  else if (readsFlags(family)) effect = FX_SEES;
  if (family == FAM_cmp) fuse = 1;
  else if (family == FAM_test) fuse = 2;
  side(memory ? FX_SEES : effect, memory ? 0 : quiet, fuse, form);
  return true;
}

function setsFlags(family: u32): bool {
  return (
    family == FAM_add || family == FAM_or || family == FAM_and || family == FAM_sub || family == FAM_xor || family == FAM_cmp ||
    family == FAM_test || family == FAM_shl || family == FAM_shr || family == FAM_sar || family == FAM_neg || family == FAM_imul ||
    family == FAM_shld || family == FAM_shrd || family == FAM_bsf || family == FAM_bsr
  );
}

/** Leaves some flags as they are, or all of them for a count of zero. */
function keepsFlags(family: u32): bool {
  return (
    family == FAM_inc || family == FAM_dec || family == FAM_rol || family == FAM_ror || family == FAM_shlc || family == FAM_shrc ||
    family == FAM_sarc || (family >= FAM_bt && family <= FAM_btc)
  );
}

function readsFlags(family: u32): bool {
  return family == FAM_adc || family == FAM_sbb || family == FAM_cmov || family == FAM_set;
}

function generic(): void {
  side(FX_SEES, 0, 0, NO_FORM);
}

function close(q: u32, op: u32, count: u32, target: i64, fall: i64): u32 {
  memory.fill(q + 32, 0, 32);
  store<u16>(q, <u16>op);
  store<u32>(q, DEAD_BLOCK, 32);
  store<u32>(q, DEAD_BLOCK, 36);
  store<u32>(q, count, 40);
  store<i64>(q, target, 48);
  store<i64>(q, fall, 56);
  closed = true;
  return q + 64;
}

/** Jcc: joined with the CMP or TEST before it where there is an operation for that. */
function closeJcc(q: u32, count: u32, target: i64, fall: i64): u32 {
  const far: u32 = target >= 0 && target < 0x1000 ? 0 : 1;
  const cc = <u32>load<u8>(q, 21) & 15;
  if (fall >= 0x1000) return close(q, OP_jcc_across, count, target, fall);
  if (records > 0 && lastCount == count - 1) {
    const s = SIDE + ((records - 1) << 3);
    const fuse = <u32>load<u8>(s, 1);
    const form = <u32>load<u8>(s, 5);
    const lg = <u32>load<u8>(s, 4);
    let op: u32 = 0;
    if (fuse == 1) {
      const f: u32 = form == RR ? 0 : form == RI ? 1 : form == RM ? 2 : form == MI ? 3 : form == MR ? 4 : 9;
      if (f < 9) op = load<u16>(<u32>CMPJ + ((((lg * 5 + f) * 2 + far) * 16 + cc) << 1));
    } else if (fuse == 2) {
      const f: u32 = form == RR ? 0 : form == RI ? 1 : form == MI ? 2 : 9;
      if (f < 9) op = load<u16>(<u32>TESTJ + ((((lg * 3 + f) * 2 + far) * 16 + cc) << 1));
    }
    if (op != 0) {
      records--; // its flags are set by the joined operation
      lastSees = form >= RM; // a memory operand may fault first
      return close(q - 32, op, count, target, fall);
    }
  }
  return close(q, load<u16>(<u32>JCC + ((far * 16 + cc) << 1)), count, target, fall);
}

/**
 * Takes in the record at `q` that was just decoded, the `count`-th instruction of its block. Returns
 * where the next record goes.
 */
export function note(q: u32, count: u32): u32 {
  const at = q;
  const next = specialise(q, count);
  if (!closed && next != at) {
    records++;
    lastCount = count;
  }
  return next;
}

function specialise(q: u32, count: u32): u32 {
  const flags = <u32>load<u16>(q, 22);
  // LOCK asks for nothing where it is allowed, and elsewhere decode() says #UD.
  if (word == 0 || rowFast == 0) {
    generic();
    return q + 32;
  }
  const pattern = rowFast & 63;
  const family = rowFast >> 6;
  const memory = (flags & RF_MEM) != 0;
  const a = load<u16>(q, 4), b = load<u16>(q, 6);
  const end: i64 = <i64>load<u16>(q, 14) + <i64>load<u8>(q, 2);
  const target: i64 = end + <i64>load<i32>(q, 16);
  const near = target >= 0 && target < 0x1000;
  let form: u32 = NO_FORM;
  if (pattern == PAT_GM) store<u8>(q, 3, 13); // LEA has no segment
  if (memory && pattern != PAT_NOP) {
    const m = address(q);
    if (m == NO_FORM) {
      generic();
      return q + 32;
    }
    form = m;
  }
  // From here on `form` is 0 or 1 for the kind of address when there is a memory operand.
  if (pattern >= PAT_SSE) {
    const made = specialiseSse(q, pattern, family, form);
    generic();
    if (made < 2) return q + 32;
    records++;
    generic();
    return q + 64;
  }
  if (pattern >= PAT_JCC && pattern <= PAT_CALLE && opSizeLg != word) {
    generic();
    return q + 32;
  }
  switch (pattern) {
    case PAT_NOP: return q;
    case PAT_XCHGA:
      if (a == GPR) return q; // 90: XCHG of RAX with itself
      store<u16>(q, <u16>GPR, 6);
      if (choose(q, family, RR)) return q + 32;
      break;
    case PAT_EG:
      store<u16>(q, a, 6);
      if (!memory) store<u16>(q, b, 4);
      if (choose(q, family, memory ? MR + form : RR)) return q + 32;
      store<u16>(q, a, 4);
      store<u16>(q, b, 6);
      break;
    case PAT_GE: if (choose(q, family, memory ? RM + form : RR)) return q + 32; break;
    case PAT_GM: if (memory && choose(q, family, RM + form)) { side(FX_NONE, 0, 0, form); return q + 32; } break;
    case PAT_GEI: if (!memory && choose(q, family, RI)) return q + 32; break;
    case PAT_EI:
      if (memory ? choose(q, family, MI + form) : chooseDest(q, b, family, RI)) return q + 32;
      break;
    case PAT_AI:
      store<u16>(q, <u16>GPR, 4);
      if (choose(q, family, RI)) return q + 32;
      break;
    case PAT_ZI:
      if (opSizeLg == 3) {
        store<u16>(q, <u16>OP_movabs);
        side(FX_NONE, 0, 0, RI);
        return q + 32;
      }
      if (opSizeLg != 0) store<u32>(q, load<u32>(q, 24), 16);
      if (choose(q, family, RI)) return q + 32;
      break;
    case PAT_E:
      if (memory) {
        if ((family == FAM_inc || family == FAM_dec) && choose(q, family, MR + form)) return q + 32;
        break;
      }
      if (chooseDest(q, b, family, RR)) return q + 32;
      break;
    case PAT_BSWAP: if (choose(q, family, RR)) return q + 32; break;
    case PAT_SET: if (memory ? choose(q, family, MR + form) : chooseDest(q, b, family, RR)) return q + 32; break;
    case PAT_CMOV: if (choose(q, family, memory ? RM + form : RR)) return q + 32; break;
    case PAT_Z:
      if (opSizeLg == word && choose(q, family, RR)) {
        side(FX_SEES, 0, 0, RR);
        return q + 32;
      }
      break;
    case PAT_PUSHI: if (opSizeLg == word && choose(q, family, RI)) { side(FX_SEES, 0, 0, RI); return q + 32; } break;
    case PAT_PUSHE: if (memory && opSizeLg == word && choose(q, family, RM + form)) return q + 32; break;
    case PAT_FIXED: if (choose(q, family, RR)) { side(FX_SEES, 0, 0, RR); return q + 32; } break;
    case PAT_SH1:
    case PAT_SHI: {
      const c: i32 = pattern == PAT_SH1 ? 1 : load<i32>(q, 16) & (opSizeLg == 3 ? 63 : 31);
      if (!memory && c != 0) {
        const imm = load<i32>(q, 16);
        store<i32>(q, c, 16);
        if (chooseDest(q, b, family, RI)) return q + 32;
        store<i32>(q, imm, 16);
      }
      break;
    }
    case PAT_SHC: if (!memory && chooseDest(q, b, family, RR)) return q + 32; break;
    case PAT_DSHIFT: {
      const c: i32 = load<i32>(q, 16) & (opSizeLg == 3 ? 63 : 31);
      if (!memory && c != 0 && opSizeLg >= 2) {
        store<i32>(q, c, 16);
        store<u16>(q, a, 6);
        store<u16>(q, b, 4);
        if (choose(q, family, RR)) return q + 32;
      }
      break;
    }
    case PAT_SREG:
      if (!memory && a < 6 && opSizeLg >= 2) {
        store<u16>(q, b, 4);
        store<u16>(q, <u16>(SEG + (<u32>a << 4)), 6);
        if (choose(q, family, RR)) return q + 32;
      }
      break;
    case PAT_MULDIV:
      if (memory ? choose(q, family, RM + form) : chooseDest(q, b, family, RR)) {
        side(family == FAM_mul && !memory ? FX_SETS : FX_SEES, 0, 0, RR); // a division may fault
        return q + 32;
      }
      break;
    case PAT_STRING:
      if ((flags & (RF_REP | RF_REPNE)) == 0 && (flags & RF_ASIZE) == word - 1 && load<u8>(q, 13) == DS && choose(q, family, RR)) {
        side(FX_SEES, 0, 0, RR);
        return q + 32;
      }
      break;
    case PAT_SWAPGS:
      if (word == 3 && load<u8>(q, 20) == 0xf8 && choose(q, family, RR)) {
        side(FX_SEES, 0, 0, RR);
        return q + 32;
      }
      break;
    case PAT_MOFFS: {
      // In rAX, from or to an address in the instruction.
      const m = address(q);
      if (m == NO_FORM) break;
      store<u32>(q, GPR | (GPR << 16), 4);
      if (choose(q, family, ((load<u8>(q, 21) & 2) != 0 ? MR : RM) + m)) return q + 32;
      break;
    }
    case PAT_JCC: return closeJcc(q, count, target, end);
    case PAT_JMP: return close(q, near ? OP_jmp_near : OP_jmp_far, count, target, end);
    case PAT_CALL: return close(q, near ? OP_call_near : OP_call_far, count, target, end);
    case PAT_RET: return close(q, OP_ret, count, 0, end);
    case PAT_JMPE: return close(q, !memory ? OP_jmp_r : form == 0 ? OP_jmp_mb : OP_jmp_mx, count, 0, end);
    case PAT_CALLE: return close(q, !memory ? OP_call_r : form == 0 ? OP_call_mb : OP_call_mx, count, 0, end);
  }
  generic();
  return q + 32;
}

/** choose() with the r/m register as destination; the record is unchanged when there is no such operation. */
function chooseDest(q: u32, dest: u16, family: u32, form: u32): bool {
  const old = load<u16>(q, 4);
  store<u16>(q, dest, 4);
  if (choose(q, family, form)) {
    // Quiet-only families keep the complete handler for now: it finds its operand in `b`.
    return true;
  }
  store<u16>(q, old, 4);
  return false;
}

/**
 * Closes the block: `end` is the place in the page behind its last instruction. Returns the end of
 * the block in the arena.
 */
export function finish(q: u32, count: u32, end: u32): u32 {
  if (!closed) {
    memory.fill(q, 0, 32);
    store<u8>(q, <u8>count, 3);
    // The next page may be another one each time.
    q = close(q, end == 0x1000 ? OP_end_across : OP_end, count, 0, <i64>end);
  }
  let seen = lastSees;
  for (let i: i32 = <i32>records - 1; i >= 0; i--) {
    const s = SIDE + (<u32>i << 3);
    const quiet = load<u16>(s, 2);
    const r = firstRecord(q, i);
    switch (<u32>load<u8>(s)) {
      case FX_SETS:
        if (!seen && quiet != 0) store<u16>(r, quiet);
        seen = false;
        break;
      case FX_KEEPS:
        if (!seen && quiet != 0) store<u16>(r, quiet);
        else seen = true;
        break;
      case FX_SEES: seen = true; break;
    }
  }
  joinPairs(q);
  return q;
}

/**
 * Closes a block of one instruction that goes on in the next page; `end` is the place behind it, counted from the
 * beginning of its page. Returns the end of the block in the arena.
 */
export function finishAcross(q: u32, end: i64): u32 {
  memory.fill(q, 0, 32);
  store<u8>(q, 1, 3);
  return close(q, OP_jmp_far, 1, end, end);
}

/** Gives the first of two records that often come together an operation that does both. */
function joinPairs(q: u32): void {
  const last = q - 64;
  let p = firstRecord(q, 0);
  while (p < last) {
    const op = pairOf(load<u16>(p), load<u16>(p + 32));
    if (op != 0) {
      store<u16>(p, op);
      p += 64;
    } else p += 32;
  }
}

function pairOf(first: u32, second: u32): u16 {
  if (first < FAST_FROM || first >= FAST_END || second < FAST_FROM || second >= FAST_END) return 0;
  const a = <u32>load<u8>(<u32>PAIR_FIRST + first - FAST_FROM);
  const b = <u32>load<u8>(<u32>PAIR_SECOND + second - FAST_FROM);
  return a == 0 || b == 0 ? 0 : load<u16>(<u32>PAIR + (((a - 1) * PAIR_SECONDS + b - 1) << 1));
}

/** Record `i` of the block that ends at `q`: all records before the last are 32 bytes. */
function firstRecord(q: u32, i: i32): u32 {
  return q - 64 - ((records - <u32>i) << 5);
}

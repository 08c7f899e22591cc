/**
 * The decoder: bytes to one record (record.ts), driven by the tables made from spec/insn/. It never
 * touches guest memory: the caller hands it at least 15 readable bytes. (Intel SDM vol. 2 ch. 2.)
 */
import { EMULATOR, GPR, XMM, ZERO, PAGE_BASE } from "./state.gen";
import { OPCODES, OPCODES2, ROWS } from "./tables.gen";
import { RF_LOCK, RF_MEM, RF_O16, RF_REP, RF_REPNE, RF_REX, RF_RIP, RF_W, RF_CODE_SHIFT } from "./record";

// Flags of a row (tools/build/gen-insn.mjs).
const ROW_LOCK: u32 = 1;
const ROW_D64: u32 = 2;
const ROW_F64: u32 = 4;
export const ROW_END: u32 = 8;
const ROW_MODRM: u32 = 16;
const ROW_PLUS: u32 = 32;
/** ModRM.mod is ignored: ModRM.rm names a register (MOV to and from control and debug registers). */
const ROW_REGISTER: u32 = 128;
/** What KVM's emulator knows of the row (spec/insn-emulated.mjs): all, nothing, ... */
const ROW_EMULATED_SHIFT: u32 = 10;
const NOT_EMULATED: u32 = 1;
/** ... no write with REX.W, or something if the vCPU's EMULATOR says so. */
const NOT_EMULATED_WIDE: u32 = 2;
const NEWER_EMULATED: u32 = 3;

/** Longest instruction; a longer one raises #GP. */
export const MAX_LENGTH: u32 = 15;

/** Flags and fast kind (see tools/build/gen-fast.mjs) of the row decoded last; log2 of its operand size. */
export let rowFlags: u32 = 0;
export let rowFast: u32 = 0;
export let rowFast2: u32 = 0;
export let opSizeLg: u32 = 0;

let ip: u32 = 0;
let rex: u32 = 0;

/** Address of general register `n` as a byte register: AH, CH, DH, BH for 4..7 without REX. */
function byteReg(n: u32): u32 {
  return rex == 0 && n >= 4 && n < 8 ? GPR + ((n - 4) << 3) + 1 : GPR + (n << 3);
}

function regOf(kind: u32, n: u32): u32 {
  switch (kind) {
    case 1: return byteReg(n);
    case 2: return GPR + (n << 3);
    case 3: return XMM + (n << 4);
    case 4: return n & 7;
    case 5: return n;
    default: return 0;
  }
}

/** Memory operand with 32- or 64-bit addressing. Returns the default segment. */
function address32(q: u32, mod: u32, rm: u32, long: bool): u32 {
  let seg: u32 = 3;
  let base: u32 = ZERO;
  let disp: i64 = 0;
  if (rm == 4) {
    const sib = <u32>load<u8>(ip++);
    const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
    const b = sib & 7;
    if (index != 4) {
      store<u16>(q, <u16>(GPR + (index << 3)), 10);
      store<u8>(q, <u8>(sib >> 6), 12);
    }
    if (b == 5 && mod == 0) {
      disp = load<i32>(ip);
      ip += 4;
    } else {
      const n = b | ((rex & 1) << 3);
      base = GPR + (n << 3);
      if (n == 4 || n == 5) seg = 2;
    }
  } else if (rm == 5 && mod == 0) {
    disp = load<i32>(ip);
    ip += 4;
    if (long) {
      // Relative to the next instruction: the caller adds its place once the length is known.
      base = PAGE_BASE;
      store<u16>(q, load<u16>(q, 22) | <u16>RF_RIP, 22);
    }
  } else {
    const n = rm | ((rex & 1) << 3);
    base = GPR + (n << 3);
    if (n == 5) seg = 2;
  }
  if (mod == 1) {
    disp = load<i8>(ip);
    ip += 1;
  } else if (mod == 2) {
    disp = load<i32>(ip);
    ip += 4;
  }
  store<u16>(q, <u16>base, 8);
  store<i64>(q, disp, 24);
  return seg;
}

/** Memory operand with 16-bit addressing. Returns the default segment. */
function address16(q: u32, mod: u32, rm: u32): u32 {
  let base: u32 = ZERO, index: u32 = ZERO, seg: u32 = 3;
  switch (rm) {
    case 0: base = GPR + 24; index = GPR + 48; break;
    case 1: base = GPR + 24; index = GPR + 56; break;
    case 2: base = GPR + 40; index = GPR + 48; seg = 2; break;
    case 3: base = GPR + 40; index = GPR + 56; seg = 2; break;
    case 4: base = GPR + 48; break;
    case 5: base = GPR + 56; break;
    case 6: if (mod != 0) { base = GPR + 40; seg = 2; } break;
    default: base = GPR + 24;
  }
  let disp: i64 = 0;
  if (mod == 1) {
    disp = load<i8>(ip);
    ip += 1;
  } else if (mod == 2 || (mod == 0 && rm == 6)) {
    disp = load<i16>(ip);
    ip += 2;
  }
  store<u16>(q, <u16>base, 8);
  store<u16>(q, <u16>index, 10);
  store<i64>(q, disp, 24);
  return seg;
}

function readImmediate(q: u32, kind: u32, size: u32, asize: u32): void {
  switch (kind) {
    case 1: store<i32>(q, load<i8>(ip), 16); ip += 1; break;
    case 2: store<i32>(q, load<u16>(ip), 16); ip += 2; break;
    case 3:
      if (size == 1) { store<i32>(q, load<i16>(ip), 16); ip += 2; } else { store<i32>(q, load<i32>(ip), 16); ip += 4; }
      break;
    case 4:
      if (size == 1) { store<u64>(q, load<u16>(ip), 24); ip += 2; }
      else if (size == 2) { store<u64>(q, load<u32>(ip), 24); ip += 4; }
      else { store<u64>(q, load<u64>(ip), 24); ip += 8; }
      break;
    case 5: store<i32>(q, <i32>load<u16>(ip) | (<i32>load<u8>(ip, 2) << 16), 16); ip += 3; break;
    case 6:
      if (size == 1) { store<i32>(q, load<i16>(ip), 16); ip += 2; } else { store<i32>(q, load<i32>(ip), 16); ip += 4; }
      break;
    case 7:
      if (asize == 2) { store<u64>(q, load<u64>(ip), 24); ip += 8; }
      else if (asize == 1) { store<u64>(q, load<u32>(ip), 24); ip += 4; }
      else { store<u64>(q, load<u16>(ip), 24); ip += 2; }
      break;
    case 8:
      if (size == 1) { store<u64>(q, load<u16>(ip), 24); ip += 2; } else { store<u64>(q, load<u32>(ip), 24); ip += 4; }
      store<i32>(q, load<u16>(ip), 16);
      ip += 2;
      break;
    case 9: store<i32>(q, load<i32>(ip), 16); ip += 4; break;
  }
}

/**
 * Decodes the instruction at linear-memory address `from` into the record `q`. `code` is the code
 * size (0 16-bit, 1 32-bit, 2 64-bit), `pageOff` the instruction's place in its page. Returns the
 * length; over MAX_LENGTH when it is too long. An instruction that does not exist gets operation 0.
 */
export function decode(q: u32, from: u32, code: u32, pageOff: u32): u32 {
  ip = from;
  rex = 0;
  let flags: u32 = code << RF_CODE_SHIFT;
  let seg: i32 = -1;
  let asize: u32 = code;
  let b: u32 = 0;
  let prefix = true;
  while (prefix) {
    b = load<u8>(ip++);
    if (ip - from > MAX_LENGTH) return MAX_LENGTH + 1;
    if (code == 2 && (b & 0xf0) == 0x40) {
      rex = b;
      continue;
    }
    switch (b) {
      case 0x26: if (code != 2) seg = 0; rex = 0; continue;
      case 0x2e: if (code != 2) seg = 1; rex = 0; continue;
      case 0x36: if (code != 2) seg = 2; rex = 0; continue;
      case 0x3e: if (code != 2) seg = 3; rex = 0; continue;
      case 0x64: seg = 4; rex = 0; continue;
      case 0x65: seg = 5; rex = 0; continue;
      case 0x66: flags |= RF_O16; rex = 0; continue;
      case 0x67: asize = code == 0 ? 1 : code == 1 ? 0 : 1; rex = 0; continue;
      case 0xf0: flags |= RF_LOCK; rex = 0; continue;
      case 0xf2: flags = (flags & ~RF_REP) | RF_REPNE; rex = 0; continue;
      case 0xf3: flags = (flags & ~RF_REPNE) | RF_REP; rex = 0; continue;
    }
    prefix = false;
  }
  if (rex != 0) flags |= RF_REX | ((rex & 8) != 0 ? RF_W : 0);
  flags |= asize;
  let map: u32 = 0;
  if (b == 0x0f) {
    b = load<u8>(ip++);
    map = 1;
    if (b == 0x38) { map = 2; b = load<u8>(ip++); }
    else if (b == 0x3a) { map = 3; b = load<u8>(ip++); }
  }
  const modrm: u32 = load<u8>(ip);
  let row: u32 = load<u16>(<u32>OPCODES + (((code == 2 ? 1024 : 0) + map * 256 + b) << 1));
  if ((row & 0x8000) != 0) {
    const prefix: u32 = (flags & RF_REPNE) != 0 ? 3 : (flags & RF_REP) != 0 ? 2 : (flags & RF_O16) != 0 ? 1 : 0;
    const cell = ((row & 0x7fff) << 6) | (prefix << 4) | (modrm >= 0xc0 ? 8 : 0) | ((modrm >> 3) & 7);
    row = load<u16>(<u32>OPCODES2 + (cell << 1));
    if (row == 0) ip++; // the ModRM byte was needed to know that: it is part of the instruction
  }
  const info: u32 = <u32>ROWS + (row << 4);
  const rf: u32 = load<u16>(info, 8);
  const classes: u32 = load<u16>(info, 6);
  rowFlags = rf;
  rowFast = load<u16>(info, 10);
  rowFast2 = load<u16>(info, 12);

  store<u64>(q, 0);
  store<u16>(q, <u16>ZERO, 8);
  store<u16>(q, <u16>ZERO, 10);
  store<u32>(q, 0x0300, 12); // scale 0, DS
  store<u64>(q, 0, 16);
  store<i64>(q, 0, 24);
  store<u16>(q, <u16>pageOff, 14);
  store<u16>(q, <u16>flags, 22);
  store<u8>(q, <u8>b, 21);

  let size: u32; // log2: 1, 2, 3
  if (code == 2) {
    if ((rf & ROW_F64) != 0) {
      size = 3;
      // AMD obeys the prefix here (APM vol. 3, 1.2.7), Intel does not. Fast branches are 64 bits wide.
      if ((flags & (RF_O16 | RF_W)) == RF_O16) {
        size = 1;
        rowFast = 0;
      }
    } else if ((flags & RF_W) != 0) size = 3;
    else if ((flags & RF_O16) != 0) size = 1;
    else size = (rf & ROW_D64) != 0 ? 3 : 2;
  } else size = (code == 1) != ((flags & RF_O16) != 0) ? 2 : 1;

  let defaultSeg: u32 = 3;
  let memory = false;
  if ((rf & ROW_MODRM) != 0) {
    ip++;
    store<u8>(q, <u8>modrm, 20);
    const mod = (rf & ROW_REGISTER) != 0 ? 3 : modrm >> 6, rm = modrm & 7;
    if ((rf & ROW_PLUS) == 0) store<u16>(q, <u16>regOf(classes & 15, ((modrm >> 3) & 7) | ((rex & 4) << 1)), 4);
    if (mod == 3) store<u16>(q, <u16>regOf((classes >> 4) & 15, rm | ((rex & 1) << 3)), 6);
    else {
      memory = true;
      flags |= RF_MEM;
      store<u16>(q, <u16>flags, 22);
      defaultSeg = asize == 0 ? address16(q, mod, rm) : address32(q, mod, rm, code == 2);
    }
  }
  if ((rf & ROW_PLUS) != 0) store<u16>(q, <u16>regOf(classes & 15, (b & 7) | ((rex & 1) << 3)), 4);
  store<u8>(q, <u8>(seg >= 0 ? seg : defaultSeg), 13);
  readImmediate(q, classes >> 8, size, asize);

  const length = ip - from;
  if (length > MAX_LENGTH) return MAX_LENGTH + 1;
  if ((load<u16>(q, 22) & RF_RIP) != 0) store<i64>(q, load<i64>(q, 24) + <i64>(pageOff + length), 24);
  store<u8>(q, <u8>length, 2);
  if ((flags & RF_LOCK) != 0 && ((rf & ROW_LOCK) == 0 || !memory)) {
    rowFast = 0;
    rowFlags |= ROW_END;
    store<u16>(q, 0);
    return length;
  }
  opSizeLg = (rf & 0x40) != 0 ? 0 : size;
  const mode = (rf >> 8) & 3; // 1: by operand size, 2: 32 bits, or 64 with REX.W
  const nth: u32 = mode == 2 ? ((flags & RF_W) != 0 ? 2 : 1) : size - 1;
  const op = load<u16>(info + (nth << 1));
  store<u16>(q, op);
  if (op == 0) rowFlags |= ROW_END;
  return length;
}

/**
 * Whether KVM's emulator does the instruction that decode() made the record `q` of; `write` when it comes to a write:
 * of CMPXCHG16B it reads the operand before it gives up.
 */
export function emulatorDoes(q: u32, write: bool): bool {
  const known = (rowFlags >> ROW_EMULATED_SHIFT) & 3;
  if (known == NOT_EMULATED) return false;
  if (known == NEWER_EMULATED) return load<u32>(EMULATOR) != 0;
  return known != NOT_EMULATED_WIDE || !write || (load<u16>(q, 22) & RF_W) == 0;
}

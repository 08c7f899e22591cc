/**
 * Operands of SSE instructions. Names follow the manuals: V is the XMM register of ModRM.reg, W the
 * XMM register or memory of ModRM.rm. Each read or write of W first checks that SSE may be used at
 * all (SDM vol. 1, 11.6; vol. 3, 13.1), so that a handler needs one look at faulted().
 */
import { CR0, CR4, TLB } from "../state.gen";
import { RF_ASIZE, RF_CODE_SHIFT, RF_MEM } from "../record";
import { faulted, raise, raiseErr, R_FAULT, R_NEXT, V_GP, V_NM, V_UD } from "../fault";
import { inPage, tlbAt } from "../layout";
import { ld, ld128, st, st128 } from "../mem";
import { eaLinear } from "../operands";

const CR0_EM: u32 = 4;
const CR0_TS: u32 = 8;
const CR4_OSFXSR: u32 = 0x200;
/** CR4.OSXMMEXCPT: SIMD floating-point exceptions are #XM, otherwise #UD. */
export const CR4_OSXMMEXCPT: u32 = 0x400;

function refuse(): void {
  const off: bool = (load<u32>(CR0) & CR0_EM) != 0 || (load<u32>(CR4) & CR4_OSFXSR) == 0;
  raise(off ? V_UD : V_NM);
}

/** Whether SSE instructions may execute; if not, #UD or #NM has been raised. */
export function sseReady(): bool {
  if (((load<u32>(CR0) & (CR0_EM | CR0_TS)) | (~load<u32>(CR4) & CR4_OSFXSR)) == 0) return true;
  refuse();
  return false;
}

/** A memory operand of 64-bit code with 64-bit addressing. */
const PLAIN: u32 = (2 << RF_CODE_SHIFT) | RF_MEM | 2;
const PLAIN_MASK: u32 = (3 << RF_CODE_SHIFT) | RF_MEM | RF_ASIZE;

/**
 * Where the memory operand lies in linear memory, for the usual case: 64-bit code, no segment base,
 * and a TLB hit. 0 otherwise, and nothing has happened. `write` is 8 for a write and 0 for a read.
 */
function host(p: u32, size: u32, write: u32): u32 {
  if ((<u32>load<u16>(p, 22) & PLAIN_MASK) != PLAIN || load<u8>(p, 13) > 3) return 0;
  const va: u64 =
    load<u64>(<u32>load<u16>(p, 8)) + (load<u64>(<u32>load<u16>(p, 10)) << load<u8>(p, 12)) + load<i64>(p, 24);
  const e: u32 = load<u32>(TLB) + tlbAt(va);
  return inPage(load<u64>(e + write), va, size) ? <u32>va + load<u32>(e, 16) : 0;
}

/** Linear address of a 16-byte operand that must be aligned: #GP for that comes before #SS. May raise. */
function aligned(p: u32, write: bool): u64 {
  const va = eaLinear(p, 16, write);
  if ((<u32>va & 15) != 0) raiseErr(V_GP, 0);
  return va;
}

function load16Slow(p: u32, align: bool): v128 {
  const va = align ? aligned(p, false) : eaLinear(p, 16, false);
  return faulted() ? i64x2.splat(0) : ld128(va);
}

function store16Slow(p: u32, value: v128, align: bool): u32 {
  const va = align ? aligned(p, true) : eaLinear(p, 16, true);
  if (faulted()) return R_FAULT;
  st128(va, value);
  return faulted() ? R_FAULT : R_NEXT;
}

function loadSlow<T>(p: u32): T {
  const va = eaLinear(p, sizeof<T>(), false);
  return faulted() ? <T>0 : ld<T>(va);
}

/** Reads W, 16 bytes, aligned in memory. */
export function rdW(p: u32): v128 {
  if (!sseReady()) return i64x2.splat(0);
  if ((load<u16>(p, 22) & RF_MEM) == 0) return v128.load(<u32>load<u16>(p, 6));
  const at = host(p, 16, 0);
  return at != 0 && (at & 15) == 0 ? v128.load(at) : load16Slow(p, true);
}

/** Reads W, 16 bytes, at any address. */
export function rdWu(p: u32): v128 {
  if (!sseReady()) return i64x2.splat(0);
  if ((load<u16>(p, 22) & RF_MEM) == 0) return v128.load(<u32>load<u16>(p, 6));
  const at = host(p, 16, 0);
  return at != 0 ? v128.load(at) : load16Slow(p, false);
}

/** Reads the low part of W (or a general register), an integer type T; memory of that size, at any address. */
export function rdS<T>(p: u32): T {
  if (!sseReady()) return <T>0;
  if ((load<u16>(p, 22) & RF_MEM) == 0) return load<T>(<u32>load<u16>(p, 6));
  const at = host(p, sizeof<T>(), 0);
  return at != 0 ? load<T>(at) : loadSlow<T>(p);
}

/** Stores to W, 16 bytes, aligned in memory. Returns the handler's result. */
export function stW(p: u32, value: v128): u32 {
  if (!sseReady()) return R_FAULT;
  const at: u32 = (load<u16>(p, 22) & RF_MEM) == 0 ? <u32>load<u16>(p, 6) : host(p, 16, 8);
  if (at == 0 || (at & 15) != 0) return store16Slow(p, value, true);
  v128.store(at, value);
  return R_NEXT;
}

/** As stW, at any address. */
export function stWu(p: u32, value: v128): u32 {
  if (!sseReady()) return R_FAULT;
  const at: u32 = (load<u16>(p, 22) & RF_MEM) == 0 ? <u32>load<u16>(p, 6) : host(p, 16, 8);
  if (at == 0) return store16Slow(p, value, false);
  v128.store(at, value);
  return R_NEXT;
}

/** Stores an integer to the memory operand (the form must be memory). Returns the handler's result. */
export function stMem<T>(p: u32, value: T): u32 {
  if (!sseReady()) return R_FAULT;
  const at = host(p, sizeof<T>(), 8);
  if (at != 0) {
    store<T>(at, value);
    return R_NEXT;
  }
  const va = eaLinear(p, sizeof<T>(), true);
  if (faulted()) return R_FAULT;
  st<T>(va, value);
  return faulted() ? R_FAULT : R_NEXT;
}

/** V as it is. */
export function rdV(p: u32): v128 {
  return v128.load(<u32>load<u16>(p, 4));
}

/** Replaces V; the handler's last step. */
export function wrV(p: u32, value: v128): u32 {
  v128.store(<u32>load<u16>(p, 4), value);
  return R_NEXT;
}

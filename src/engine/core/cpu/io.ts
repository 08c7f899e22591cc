/**
 * IN OUT INS OUTS (AMD64 manual volume 3, under these names). A port access leaves run() with X_IO;
 * when the instruction is executed again it finds the completed access and goes on.
 */
import {
  CPL, EXIT_ADDR, EXIT_AUX, EXIT_DATA, EXIT_SIZE, EXIT_WRITE, FLAGS, FLOATING_PORTS_AT, GPR,
} from "../state.gen";
import { R_FAULT, R_JUMP, R_NEXT, V_GP, X_IO, faulted, raiseErr, raiseExit } from "../fault";
import { DF, IOPL, VM } from "../flags";
import { Rec, RF_REP, RF_REPNE } from "../record";
import { linear, wrReg } from "../operands";
import { ld, probeWrite, st } from "../mem";
import { replayReady, setEmulated, takeReplay } from "../mmu/access";
import { sysLd } from "../mmu/system";
import { addressMask, setByAddressSize } from "../ops/regs";
import { noteIoAccess, unfinishedRepetition } from "./debug";
import { isProtected } from "./mode";
import { A_P, ES, TR, segAttr, segBase, segLimit } from "./segments";

const RAX: u32 = GPR;
const RCX: u32 = GPR + 8;
const RDX: u32 = GPR + 16;
const RSI: u32 = GPR + 48;
const RDI: u32 = GPR + 56;

/** Bytes of a port access: REX.W does not widen it. */
function widthOf<T>(): u32 {
  return sizeof<T>() == 8 ? 4 : sizeof<T>();
}

/** Whether `size` ports from `port` may be used; raises #GP(0) (or what the bitmap's page raises) if not. */
function allowed(port: u32, size: u32): bool {
  const flags = load<u64>(FLAGS);
  if (!isProtected()) return true;
  if ((flags & VM) == 0 && <u64>load<u32>(CPL) <= (flags & IOPL) >> 12) return true;
  const attr = segAttr(TR);
  const limit = segLimit(TR);
  // Only task state segments of 32 and 64 bits have a bitmap; its place is at offset 0x66.
  if ((attr & A_P) != 0 && (attr & 8) != 0 && limit >= 0x67) {
    const at: u32 = sysLd<u16>(segBase(TR) + 0x66) + (port >> 3);
    if (faulted()) return false;
    if (at + 1 <= limit) {
      const bits: u32 = sysLd<u16>(segBase(TR) + at);
      if (faulted()) return false;
      if (((bits >> (port & 7)) & ((1 << size) - 1)) == 0) return true;
    }
  }
  raiseErr(V_GP, 0);
  return false;
}

function leaveForPort(port: u32, size: u32, write: u32, data: u32, string: u32): void {
  store<u64>(EXIT_ADDR, port);
  store<u32>(EXIT_SIZE, size);
  store<u32>(EXIT_WRITE, write);
  store<u64>(EXIT_DATA, data);
  store<u32>(EXIT_AUX, string);
  raiseExit(X_IO);
}

/** Whether it is known that nothing is at any of these ports. */
function float(port: u32, size: u32): bool {
  for (let each = port; each < port + size; each++) {
    if (each > 0xffff || ((load<u8>(FLOATING_PORTS_AT + (each >> 3)) >> <u8>(each & 7)) & 1) == 0) return false;
  }
  return true;
}

function portIn(port: u32, size: u32, string: u32): u32 {
  if (replayReady()) {
    noteIoAccess(port, size);
    return <u32>takeReplay();
  }
  if (string == 0 && float(port, size)) {
    noteIoAccess(port, size);
    return 0xffffffff >> (32 - size * 8);
  }
  leaveForPort(port, size, 0, 0, string);
  return 0;
}

function portOut(port: u32, size: u32, data: u32, string: u32): void {
  if (replayReady()) {
    noteIoAccess(port, size);
    takeReplay();
  } else leaveForPort(port, size, 1, data, string);
}

function input<T>(port: u32): u32 {
  const size = widthOf<T>();
  if (!allowed(port, size)) return R_FAULT;
  const value = portIn(port, size, 0);
  if (faulted()) return R_FAULT;
  if (size == 4) store<u64>(RAX, value);
  else wrReg<T>(RAX, <T>value);
  return R_NEXT;
}

function output<T>(port: u32): u32 {
  const size = widthOf<T>();
  if (!allowed(port, size)) return R_FAULT;
  portOut(port, size, load<u32>(RAX) & (0xffffffff >> (32 - size * 8)), 0);
  return faulted() ? R_FAULT : R_NEXT;
}

export function in_I<T>(p: u32): u32 {
  return input<T>(Rec.imm(p) & 0xff);
}
export function in_DX<T>(p: u32): u32 {
  return input<T>(load<u16>(RDX));
}
export function out_I<T>(p: u32): u32 {
  return output<T>(Rec.imm(p) & 0xff);
}
export function out_DX<T>(p: u32): u32 {
  return output<T>(load<u16>(RDX));
}

/**
 * Ends one turn of INS or OUTS: moves the index register `at`, counts, and comes again for the rest.
 * Behind the last element of a repetition too, as in KVM: the next turn finds that nothing is left.
 */
function turn(p: u32, at: u32, size: u32): u32 {
  const asize = Rec.asize(p);
  const step: i64 = (load<u64>(FLAGS) & DF) != 0 ? -(<i64>size) : <i64>size;
  setByAddressSize(at, asize, load<u64>(at) + step);
  if (!repeated(p)) return R_NEXT;
  setByAddressSize(RCX, asize, (load<u64>(RCX) - 1) & addressMask(asize));
  unfinishedRepetition();
  return R_JUMP;
}

function repeated(p: u32): bool {
  return (Rec.flags(p) & (RF_REP | RF_REPNE)) != 0;
}

/** Whether a repeated instruction has nothing to do. */
function done(p: u32): bool {
  return repeated(p) && (load<u64>(RCX) & addressMask(Rec.asize(p))) == 0;
}

export function ins<T>(p: u32): u32 {
  if (done(p)) return R_NEXT;
  setEmulated(true);
  const r = insOne<T>(p);
  setEmulated(false);
  return r;
}

function insOne<T>(p: u32): u32 {
  const size = widthOf<T>();
  const port: u32 = load<u16>(RDX);
  if (!allowed(port, size)) return R_FAULT;
  const va = linear(ES, load<u64>(RDI) & addressMask(Rec.asize(p)), size, true);
  // The port is read only once it is certain that the value can be stored.
  if (!faulted()) probeWrite(va, size);
  if (faulted()) return R_FAULT;
  const value = portIn(port, size, 1);
  if (faulted()) return R_FAULT;
  if (size == 4) st<u32>(va, value);
  else st<T>(va, <T>value);
  return faulted() ? R_FAULT : turn(p, RDI, size);
}

export function outs<T>(p: u32): u32 {
  if (done(p)) return R_NEXT;
  setEmulated(true);
  const r = outsOne<T>(p);
  setEmulated(false);
  return r;
}

function outsOne<T>(p: u32): u32 {
  const size = widthOf<T>();
  const port: u32 = load<u16>(RDX);
  if (!allowed(port, size)) return R_FAULT;
  const va = linear(Rec.seg(p), load<u64>(RSI) & addressMask(Rec.asize(p)), size, false);
  if (faulted()) return R_FAULT;
  const value: u32 = size == 4 ? ld<u32>(va) : <u32>ld<T>(va);
  if (faulted()) return R_FAULT;
  portOut(port, size, value, 1);
  return faulted() ? R_FAULT : turn(p, RSI, size);
}

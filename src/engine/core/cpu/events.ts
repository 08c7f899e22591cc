/**
 * Interrupts and exceptions: AMD64 manual volume 2, chapter 8. deliver() takes the fault of an
 * instruction, deliverInjected() an event from outside; both go through the vector table of the
 * mode, with double and triple faults. INT n, INT3, INTO, INT1 start here too; IRET is in iret.ts.
 *
 * INJECT: bit 31 present, bits 0 to 7 vector, bits 8 and 9 type (EV_*), bit 10 has an error code.
 */
import {
  CODE_SIZE, CPL, CR2, DR7, EXIT, EXIT_AUX, FAULT, FAULT_CR2, FAULT_ERR, FLAGS, GPR, IDT_BASE, IDT_LIMIT, INJECT, INJECT_ERR, INTERCEPTED, REPLAY_COUNT,
  REPLAY_NEXT, RIP, SHADOW,
} from "../state.gen";
import {
  F_EXIT, F_HAS_ERR, F_RETRY, R_FAULT, R_JUMP, R_NEXT, V_AC, V_BP, V_DB, V_DF, V_GP, V_MC, V_NP, V_OF, V_PF, V_SS, V_TS, V_UD, X_DEBUG, X_SHUTDOWN, faulted,
  raiseErr,
} from "../fault";
import { AC, IF, IOPL, NT, RF, TF, VM, getFlags, getOf } from "../flags";
import { Rec } from "../record";
import { halfFor, isCanonical, stAs } from "../mmu/access";
import { sysLd, writableSpan } from "../mmu/system";
import { DR7_GD, intercepted, interceptedFault, noTrap, reportDebug } from "./debug";
import { enterProtected } from "./events-protected";
import { nextRip } from "./ip";
import { isLong, isProtected, isVm86, updateMode } from "./mode";
import {
  A_CODE, A_DB, A_DOWN, A_L, A_P, A_S, CS, SS, TR, descAttr, descBase, descLimit, dplOf, markAccessed, putParagraph, putSeg, readDescriptor,
  segAttr, segBase, segLimit, segLinear, segSelector,
} from "./segments";

export const EV_EXTERNAL: u32 = 0;
export const EV_NMI: u32 = 1;
export const EV_EXCEPTION: u32 = 2;
/** INT n, INT3, INTO: the gate's DPL counts, and error codes have no EXT bit. */
export const EV_SOFT: u32 = 3;

const RSP: u32 = GPR + 32;

/**
 * Delivers the fault in FAULT. Returns 0, or the exit code to leave run() with: after an access of the
 * delivery itself the event is in INJECT, so that it goes on from there and not from its instruction.
 */
export function deliver(): u32 {
  const fault = load<u32>(FAULT);
  const error = load<u32>(FAULT_ERR);
  const vector = fault & 0xff;
  const hasError = (fault & F_HAS_ERR) != 0;
  store<u32>(FAULT, 0);
  if (vector == V_DB && reportDebug()) return X_DEBUG;
  if ((vector == V_UD || vector == V_AC) && interceptedFault(vector)) return X_DEBUG;
  if (vector == V_DB || vector == V_UD || vector == V_AC) store<u32>(INTERCEPTED, fault);
  if (vector == V_PF) store<u64>(CR2, load<u64>(FAULT_CR2));
  const code = chain(vector, EV_EXCEPTION, hasError, error);
  if (code != 0 && code != X_SHUTDOWN) {
    store<u32>(INJECT, 0x80000000 | (hasError ? 0x400 : 0) | (EV_EXCEPTION << 8) | vector);
    store<u32>(INJECT_ERR, error);
  }
  return code;
}

/** Delivers the event in INJECT. Returns 0, or the exit code to leave run() with (INJECT stays then). */
export function deliverInjected(): u32 {
  const event = load<u32>(INJECT);
  const type = (event >> 8) & 3;
  store<u32>(REPLAY_NEXT, 0);
  const code = chain(event & 0xff, type, (event & 0x400) != 0, load<u32>(INJECT_ERR));
  if (code != 0 && code != X_SHUTDOWN) return code;
  store<u32>(INJECT, 0);
  store<u32>(REPLAY_COUNT, 0);
  return code;
}

/** Delivers an event, and whatever its delivery raises instead. */
function chain(first: u32, firstType: u32, firstHasCode: bool, firstCode: u32): u32 {
  let vector = first;
  let type = firstType;
  let hasCode = firstHasCode;
  let code = firstCode;
  store<u32>(SHADOW, 0);
  for (;;) {
    const replayed = load<u32>(REPLAY_NEXT);
    enter(vector, type, hasCode, code, load<u64>(RIP));
    const fault = load<u32>(FAULT);
    if (fault == 0) return 0;
    store<u32>(FAULT, 0);
    if (fault == F_EXIT) {
      store<u32>(EXIT_AUX, 1);
      return load<u32>(EXIT);
    }
    if (fault == F_RETRY) {
      store<u32>(REPLAY_NEXT, replayed);
      continue; // the frame hit decoded code, which is gone now
    }
    const second = fault & 0xff;
    if (type == EV_EXCEPTION && vector == V_DF && severity(second) != 0) return X_SHUTDOWN;
    if (type == EV_EXCEPTION && isDouble(vector, second)) {
      vector = V_DF;
      hasCode = true;
      code = 0;
    } else {
      vector = second;
      hasCode = (fault & F_HAS_ERR) != 0;
      code = load<u32>(FAULT_ERR);
    }
    if (second == V_PF) store<u64>(CR2, load<u64>(FAULT_CR2));
    type = EV_EXCEPTION;
  }
  return unreachable();
}

/** 0 benign, 1 contributory, 2 page fault. */
function severity(vector: u32): u32 {
  if (vector == V_PF) return 2;
  return vector == 0 || (vector >= V_TS && vector <= V_GP) ? 1 : 0;
}

/** Whether a fault during the delivery of another makes a double fault. */
function isDouble(first: u32, second: u32): bool {
  const a = severity(first);
  const b = severity(second);
  return (a == 1 && b == 1) || (a == 2 && b != 0);
}

/**
 * Enters the handler of `vector`. `ip` is saved as the place to return to. When this faults
 * (raised), no register has changed.
 */
export function enter(vector: u32, type: u32, hasCode: bool, code: u32, ip: u64): void {
  if (!isProtected()) enterReal(vector, ip);
  else if (isLong()) enterLong(vector, type, hasCode, code, ip);
  else enterProtected(vector, type, hasCode, code, ip);
  if (faulted()) return;
  noTrap();
  if (vector == V_DB && type == EV_EXCEPTION) store<u64>(DR7, load<u64>(DR7) & ~(<u64>DR7_GD));
}

/** RFLAGS as the frame of an event holds them: with RF after faults, so that the instruction can go on. */
export function savedFlags(vector: u32, type: u32): u64 {
  const flags = getFlags();
  if (type != EV_EXCEPTION || vector == V_DB || vector == V_BP || vector == V_OF || vector == V_DF || vector == V_MC) return flags;
  return flags | RF;
}

/** Real mode: a table of far pointers at IDTR, and a frame of three words. */
function enterReal(vector: u32, ip: u64): void {
  if (vector * 4 + 3 > load<u32>(IDT_LIMIT)) {
    raiseErr(V_GP, 0);
    return;
  }
  const target = sysLd<u32>(load<u64>(IDT_BASE) + vector * 4);
  if (faulted()) return;
  const mask: u64 = (segAttr(SS) & A_DB) != 0 ? 0xffffffff : 0xffff;
  let sp = load<u64>(RSP) & mask;
  const words: u64 = (getFlags() & 0xffff) | (<u64>segSelector(CS) << 16) | ((ip & 0xffff) << 32);
  for (let i: u64 = 0; i < 48; i += 16) {
    sp = (sp - 2) & mask;
    const va = segLinear(SS, sp, 2, true);
    if (faulted()) return;
    stAs(va, (words >> i) & 0xffff, 2, halfFor(0));
    if (faulted()) return;
  }
  if (mask == 0xffff) store<u16>(RSP, <u16>sp);
  else store<u64>(RSP, sp);
  store<u64>(FLAGS, load<u64>(FLAGS) & ~(IF | TF | AC | RF));
  putParagraph(CS, target >> 16);
  store<u64>(RIP, target & 0xffff);
  updateMode();
}

/** Error code that names a gate of the IDT. */
export function idtCode(vector: u32, ext: u32): u32 {
  return (vector << 3) | 2 | ext;
}

/**
 * Checks the code segment of a gate: code, not more privileged than allowed, present. Gives its new
 * privilege level, or 4 with a fault raised. The descriptor is the one read last.
 */
export function checkGateCode(selector: u32, ext: u32): u32 {
  if ((selector & 0xfffc) == 0) {
    raiseErr(V_GP, ext);
    return 4;
  }
  if (!readDescriptor(selector, V_GP, ext)) return 4;
  const attr = descAttr();
  const cpl = load<u32>(CPL);
  if ((attr & (A_S | A_CODE)) != (A_S | A_CODE) || dplOf(attr) > cpl) {
    raiseErr(V_GP, (selector & 0xfffc) | ext);
    return 4;
  }
  if ((attr & A_P) == 0) {
    raiseErr(V_NP, (selector & 0xfffc) | ext);
    return 4;
  }
  return (attr & A_DOWN) != 0 ? cpl : dplOf(attr); // the conforming bit
}

/** Reads a stack pointer from the 64-bit task state segment. May raise #TS. */
export function tssStack(offset: u32, ext: u32): u64 {
  if (offset + 7 > segLimit(TR)) {
    raiseErr(V_TS, (segSelector(TR) & 0xfffc) | ext);
    return 0;
  }
  return sysLd<u64>(segBase(TR) + offset);
}

/** Long mode: 16-byte gates, IST, and always SS:RSP in the frame. */
function enterLong(vector: u32, type: u32, hasCode: bool, code: u32, ip: u64): void {
  const ext: u32 = type == EV_SOFT ? 0 : 1;
  if (vector * 16 + 15 > load<u32>(IDT_LIMIT)) {
    raiseErr(V_GP, idtCode(vector, ext));
    return;
  }
  const gate = load<u64>(IDT_BASE) + vector * 16;
  const low = sysLd<u64>(gate);
  if (faulted()) return;
  const high = sysLd<u32>(gate + 8);
  if (faulted()) return;
  const kind = <u32>(low >> 40) & 0x1e;
  if (kind != 0xe || (type == EV_SOFT && (<u32>(low >> 45) & 3) < load<u32>(CPL))) {
    raiseErr(V_GP, idtCode(vector, ext));
    return;
  }
  if ((low & 0x800000000000) == 0) {
    raiseErr(V_NP, idtCode(vector, ext));
    return;
  }
  const selector = <u32>(low >> 16) & 0xffff;
  const cpl = checkGateCode(selector, ext);
  if (cpl == 4) return;
  if ((descAttr() & (A_L | A_DB)) != A_L) {
    raiseErr(V_GP, (selector & 0xfffc) | ext);
    return;
  }
  const target = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (<u64>high << 32);
  const ist = <u32>(low >> 32) & 7;
  let sp = load<u64>(RSP);
  if (ist != 0) sp = tssStack(28 + ist * 8, ext);
  else if (cpl != load<u32>(CPL)) sp = tssStack(4 + cpl * 8, ext);
  if (faulted() || !markAccessed()) return;
  if (!isCanonical(target)) {
    raiseErr(V_GP, ext);
    return;
  }
  const flags = savedFlags(vector, type);
  sp = pushLong(sp & ~15, cpl, flags, ip, hasCode, code, ext);
  if (faulted()) return;
  let clear: u64 = TF | NT | RF | VM;
  if ((<u32>(low >> 40) & 1) == 0) clear |= IF;
  store<u64>(FLAGS, load<u64>(FLAGS) & ~clear);
  store<u64>(RSP, sp);
  store<u64>(RIP, target);
  enterCode64(selector, cpl);
}

/** Makes the 64-bit code segment read last the current one, at privilege level `cpl`. */
export function enterCode64(selector: u32, cpl: u32): void {
  const inner = cpl != load<u32>(CPL);
  if (inner) {
    putSeg(SS, cpl, cpl << 5, 0, 0);
    store<u32>(CPL, cpl);
  }
  putSeg(CS, (selector & 0xfffc) | cpl, descAttr(), descLimit(), descBase());
  // From 64-bit code of the same level nothing that updateMode() looks at has changed.
  if (inner || load<u32>(CODE_SIZE) != 2) updateMode();
}

/** Writes the frame of long mode below `top`; gives the new stack pointer. */
function pushLong(top: u64, cpl: u32, flags: u64, ip: u64, hasCode: bool, code: u32, ext: u32): u64 {
  const bytes: u64 = hasCode ? 48 : 40;
  const sp = top - bytes;
  if (!isCanonical(sp) || !isCanonical(top - 1)) {
    raiseErr(V_SS, ext);
    return 0;
  }
  const half = halfFor(cpl);
  const at = writableSpan(sp, <u32>bytes, half);
  if (at != 0) {
    const frame = hasCode ? at + 8 : at;
    if (hasCode) store<u64>(at, code);
    store<u64>(frame, ip);
    store<u64>(frame, segSelector(CS), 8);
    store<u64>(frame, flags, 16);
    store<u64>(frame, load<u64>(RSP), 24);
    store<u64>(frame, segSelector(SS), 32);
    return sp;
  }
  stAs(top - 8, segSelector(SS), 8, half);
  if (!faulted()) stAs(top - 16, load<u64>(RSP), 8, half);
  if (!faulted()) stAs(top - 24, flags, 8, half);
  if (!faulted()) stAs(top - 32, segSelector(CS), 8, half);
  if (!faulted()) stAs(top - 40, ip, 8, half);
  if (!faulted() && hasCode) stAs(sp, code, 8, half);
  return sp;
}

/** Completes an instruction that enters a handler. */
function viaGate(vector: u32, type: u32, p: u32): u32 {
  enter(vector, type, false, 0, nextRip(p));
  return faulted() ? R_FAULT : R_JUMP;
}

/** INT imm8. Virtual-8086 code needs I/O privilege for it. */
export function int_I(p: u32): u32 {
  if (isVm86() && (load<u64>(FLAGS) & IOPL) != IOPL) return raiseErr(V_GP, 0);
  return viaGate(Rec.imm(p) & 0xff, EV_SOFT, p);
}

export function int3(p: u32): u32 {
  if (intercepted(V_BP)) return R_FAULT;
  return viaGate(V_BP, EV_SOFT, p);
}

export function into(p: u32): u32 {
  return getOf() ? viaGate(V_OF, EV_SOFT, p) : R_NEXT;
}

/** INT1 (ICEBP): #DB without a look at the gate's DPL. */
export function int1(p: u32): u32 {
  if (intercepted(V_DB)) return R_FAULT;
  return viaGate(V_DB, EV_EXCEPTION, p);
}

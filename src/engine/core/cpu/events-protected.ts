/**
 * Delivery of events in protected mode without long mode: AMD64 manual volume 2, 8.7. Interrupt and
 * trap gates of 16 and 32 bits, task gates, stacks from the task state segment, and the way out of
 * virtual-8086 mode.
 */
import { CPL, FLAGS, GPR, IDT_BASE, IDT_LIMIT, RIP } from "../state.gen";
import { V_GP, V_NP, V_SS, V_TS, faulted, raiseErr } from "../fault";
import { IF, NT, RF, TF, VM } from "../flags";
import { halfFor, stAs } from "../mmu/access";
import { sysLd } from "../mmu/system";
import { EV_SOFT, checkGateCode, idtCode, savedFlags } from "./events";
import { isVm86, updateMode } from "./mode";
import {
  A_CODE, A_DB, A_DOWN, A_S, CS, DS, ES, FS, GS, SS, TR, checkStackSeg, descAttr, descBase, descLimit, markAccessed, putSeg, segAttr,
  segBase, segLimit, segSelector,
} from "./segments";
import { FROM_INT, taskSwitch } from "./task";

const RSP: u32 = GPR + 32;

// The stack that frames are pushed on: of the current SS, or one that is about to become it.
let topSelector: u32 = 0;
let topAttr: u32 = 0;
let topLimit: u32 = 0;
let topBase: u32 = 0;
/** The stack pointer after the pushes so far. */
export let top: u32 = 0;
let topHalf: u32 = 0;
let topFault: u32 = 0;

/** Pushes go to the current stack. */
export function useCurrentStack(fault: u32): void {
  topSelector = segSelector(SS);
  topAttr = segAttr(SS);
  topLimit = segLimit(SS);
  topBase = <u32>segBase(SS);
  top = load<u32>(RSP) & stackMask();
  topHalf = halfFor(load<u32>(CPL));
  topFault = fault;
}

/**
 * Pushes go to the stack that the task state segment has for privilege level `cpl`. False with #TS
 * or #SS raised.
 */
export function useInnerStack(cpl: u32, ext: u32): bool {
  const wide = (segAttr(TR) & 8) != 0;
  const at: u32 = wide ? 4 + cpl * 8 : 2 + cpl * 4;
  if (at + (wide ? 5 : 3) > segLimit(TR)) {
    raiseErr(V_TS, (segSelector(TR) & 0xfffc) | ext);
    return false;
  }
  const sp: u32 = wide ? sysLd<u32>(segBase(TR) + at) : sysLd<u16>(segBase(TR) + at);
  if (faulted()) return false;
  const selector: u32 = sysLd<u16>(segBase(TR) + at + (wide ? 4 : 2));
  if (faulted()) return false;
  if ((selector & 0xfffc) == 0) {
    raiseErr(V_TS, ext);
    return false;
  }
  if (!checkStackSeg(selector, cpl, V_TS, ext) || !markAccessed()) return false;
  topSelector = selector;
  topAttr = descAttr();
  topLimit = descLimit();
  topBase = descBase();
  top = sp & stackMask();
  topHalf = halfFor(cpl);
  topFault = (selector & 0xfffc) | ext;
  return true;
}

function stackMask(): u32 {
  return (topAttr & A_DB) != 0 ? 0xffffffff : 0xffff;
}

/** Pushes 2 or 4 bytes. Raises #SS when the segment has no room. */
export function pushTop(value: u32, size: u32): void {
  const at = (top - size) & stackMask();
  const last: u64 = <u64>at + size - 1;
  let bad: bool;
  if ((topAttr & (A_S | A_CODE | A_DOWN)) == (A_S | A_DOWN)) bad = at <= topLimit || last > stackMask();
  else bad = last > topLimit;
  if (bad) {
    raiseErr(V_SS, topFault);
    return;
  }
  stAs((topBase + at) & 0xffffffff, value, size, topHalf);
  if (!faulted()) top = at;
}

/** Makes the stack that was pushed on the current one, at privilege level `cpl`. */
export function commitStack(cpl: u32): void {
  if (cpl != load<u32>(CPL)) {
    putSeg(SS, (topSelector & 0xfffc) | cpl, topAttr, topLimit, topBase);
    store<u32>(CPL, cpl);
  }
  if ((topAttr & A_DB) != 0) store<u64>(RSP, top);
  else store<u16>(RSP, <u16>top);
}

/** Delivers an event through the IDT; as enter() in events.ts. */
export function enterProtected(vector: u32, type: u32, hasCode: bool, code: u32, ip: u64): void {
  const ext: u32 = type == EV_SOFT ? 0 : 1;
  if (vector * 8 + 7 > load<u32>(IDT_LIMIT)) {
    raiseErr(V_GP, idtCode(vector, ext));
    return;
  }
  const gate = sysLd<u64>(load<u64>(IDT_BASE) + vector * 8);
  if (faulted()) return;
  const kind = <u32>(gate >> 40) & 0x1f;
  const known = kind == 5 || (kind & 0x16) == 6;
  if (!known || (type == EV_SOFT && (<u32>(gate >> 45) & 3) < load<u32>(CPL))) {
    raiseErr(V_GP, idtCode(vector, ext));
    return;
  }
  if ((gate & 0x800000000000) == 0) {
    raiseErr(V_NP, idtCode(vector, ext));
    return;
  }
  const selector = <u32>(gate >> 16) & 0xffff;
  if (kind == 5) taskSwitch(selector, FROM_INT, ext, ip, hasCode, code, savedFlags(vector, type));
  else throughGate(gate, selector, ext, hasCode, code, ip, savedFlags(vector, type));
}

function throughGate(gate: u64, selector: u32, ext: u32, hasCode: bool, code: u32, ip: u64, flags: u64): void {
  const size: u32 = (gate & 0x80000000000) != 0 ? 4 : 2;
  const vm = isVm86();
  const cpl = checkGateCode(selector, ext);
  if (cpl == 4) return;
  if (vm && cpl != 0) {
    raiseErr(V_GP, (selector & 0xfffc) | ext);
    return;
  }
  if (!markAccessed()) return;
  const attr = descAttr();
  const limit = descLimit();
  const base = descBase();
  const inner = cpl != load<u32>(CPL);
  if (inner) {
    if (!useInnerStack(cpl, ext)) return;
  } else useCurrentStack(ext);
  const target: u32 = (<u32>gate & 0xffff) | (size == 4 ? <u32>(gate >> 32) & 0xffff0000 : 0);
  if (target > limit) {
    raiseErr(V_GP, ext);
    return;
  }
  if (vm) pushSegments(size);
  if (inner && !faulted()) pushTop(segSelector(SS), size);
  if (inner && !faulted()) pushTop(load<u32>(RSP), size);
  if (!faulted()) pushTop(<u32>flags, size);
  if (!faulted()) pushTop(segSelector(CS), size);
  if (!faulted()) pushTop(<u32>ip, size);
  if (!faulted() && hasCode) pushTop(code, size);
  if (faulted()) return;
  commitStack(cpl);
  putSeg(CS, (selector & 0xfffc) | cpl, attr, limit, base);
  store<u64>(RIP, target);
  let clear: u64 = TF | NT | RF | VM;
  if ((gate & 0x10000000000) == 0) clear |= IF;
  store<u64>(FLAGS, load<u64>(FLAGS) & ~clear);
  if (vm) {
    putSeg(ES, 0, 0, 0, 0);
    putSeg(DS, 0, 0, 0, 0);
    putSeg(FS, 0, 0, 0, 0);
    putSeg(GS, 0, 0, 0, 0);
  }
  updateMode();
}

/** The data segments of virtual-8086 code lie above the rest of the frame. */
function pushSegments(size: u32): void {
  pushTop(segSelector(GS), size);
  if (!faulted()) pushTop(segSelector(FS), size);
  if (!faulted()) pushTop(segSelector(DS), size);
  if (!faulted()) pushTop(segSelector(ES), size);
}

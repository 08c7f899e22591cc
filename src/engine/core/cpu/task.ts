/**
 * Hardware task switches: AMD64 manual volume 2, 12.3. By JMP and CALL to a task gate or task state
 * segment, through a task gate of the IDT, and back by IRET with NT. Not in long mode.
 *
 * Faults that are found before the new task is committed belong to the old one; later ones (its
 * segments, its stack) are raised in the new task, as on processors.
 */
import { CPL, CR0, CR3, CR4, DR7, GPR, RIP, SEG } from "../state.gen";
import { R_FAULT, R_JUMP, V_GP, V_NP, V_TS, faulted, raiseErr } from "../fault";
import { NT, VM, getFlags, setFlags } from "../flags";
import { flushNonGlobal } from "../mmu/tlb";
import { loadPdptes } from "../mmu/walk";
import { sysLd, sysProbe, sysSt } from "../mmu/system";
import { updateBreakpoints } from "../breakpoints";
import { DR6_BT, DR7_LOCAL, loadedRf, raiseDebug } from "./debug";
import { nextRip } from "./ip";
import { CR0_PG, CR0_TS, CR4_PAE, updateMode } from "./mode";
import {
  A_CODE, A_DOWN, A_P, A_S, A_WRITABLE, CS, LDTR, SS, TR, T_LDT, T_TASK, descAttr, descBase, descLimit, descLow,
  dplOf, loadStackSeg, markAccessed, markBusy, putFromDescriptor, putParagraph, putSeg, readDescriptor, segAttr, segBase, segSelector,
} from "./segments";
import { push } from "./stack";

export const FROM_JUMP: u32 = 0;
export const FROM_CALL: u32 = 1;
export const FROM_INT: u32 = 2;
export const FROM_IRET: u32 = 3;

const BUSY: u32 = 2;
const WIDE: u32 = 8;

/** JMP or CALL to a task gate or TSS, whose descriptor was read last; `ip` is where the old task goes on. */
export function switchByDescriptor(selector: u32, type: u32, how: u32, ip: u64): u32 {
  const target = type == T_TASK ? descLow >> 16 : selector;
  taskSwitch(target, how, 0, ip, false, 0, getFlags());
  return faulted() ? R_FAULT : R_JUMP;
}

/** IRET with NT set: back to the task that the link names. */
export function returnFromTask(p: u32): u32 {
  const link: u32 = sysLd<u16>(segBase(TR));
  if (faulted()) return R_FAULT;
  taskSwitch(link, FROM_IRET, 0, nextRip(p), false, 0, getFlags() & ~NT);
  return faulted() ? R_FAULT : R_JUMP;
}

/** Switches to the task state segment `selector`; `flags` are saved in the old one. May raise. */
export function taskSwitch(selector: u32, how: u32, ext: u32, ip: u64, hasCode: bool, code: u32, flags: u64): void {
  const vector = how == FROM_IRET ? V_TS : V_GP;
  const error = (selector & 0xfffc) | ext;
  if ((selector & 4) != 0 || (selector & 0xfffc) == 0) {
    raiseErr(vector, error);
    return;
  }
  if (!readDescriptor(selector, vector, ext)) return;
  const attr = descAttr();
  const wanted: u32 = how == FROM_IRET ? 3 : 1;
  if ((attr & A_S) != 0 || (attr & 7) != wanted) {
    raiseErr(vector, error);
    return;
  }
  if ((attr & A_P) == 0) {
    raiseErr(V_NP, error);
    return;
  }
  const wide = (attr & WIDE) != 0;
  const limit = descLimit();
  const base: u64 = descBase();
  if (limit < <u32>(wide ? 0x67 : 0x2b)) {
    raiseErr(V_TS, error);
    return;
  }
  if (!sysProbe(base, wide ? 0x68 : 0x2c) || !saveTask(ip, flags)) return;
  const old = segSelector(TR);
  if (how == FROM_JUMP || how == FROM_IRET) markBusy(old, false);
  if (how != FROM_IRET) markBusy(selector, true);
  if (how == FROM_CALL || how == FROM_INT) sysSt<u16>(base, <u16>old);
  if (faulted()) return;
  putSeg(TR, selector, attr | BUSY, limit, base);
  store<u64>(CR0, load<u64>(CR0) | CR0_TS);
  loadTask(wide, base, how == FROM_CALL || how == FROM_INT);
  if ((load<u32>(DR7) & DR7_LOCAL) != 0) {
    store<u64>(DR7, load<u64>(DR7) & ~(<u64>DR7_LOCAL));
    updateBreakpoints();
  }
  updateMode();
  if (faulted()) return;
  if (hasCode) {
    if (wide) push<u32>(code);
    else push<u16>(<u16>code);
    if (faulted()) return;
  }
  if (wide && (sysLd<u16>(base + 100) & 1) != 0 && !faulted()) {
    raiseDebug(DR6_BT);
  }
}

/** Saves registers in the current task state segment. */
function saveTask(ip: u64, flags: u64): bool {
  const wide = (segAttr(TR) & WIDE) != 0;
  const base = segBase(TR);
  if (!sysProbe(base, wide ? 0x68 : 0x2c)) return false;
  if (wide) {
    sysSt<u32>(base + 32, <u32>ip);
    sysSt<u32>(base + 36, <u32>flags);
    for (let i: u32 = 0; i < 8; i++) sysSt<u32>(base + 40 + i * 4, load<u32>(GPR + (i << 3)));
    for (let i: u32 = 0; i < 6; i++) sysSt<u16>(base + 72 + i * 4, load<u16>(SEG + (i << 4)));
  } else {
    sysSt<u16>(base + 14, <u16>ip);
    sysSt<u16>(base + 16, <u16>flags);
    for (let i: u32 = 0; i < 8; i++) sysSt<u16>(base + 18 + i * 2, load<u16>(GPR + (i << 3)));
    for (let i: u32 = 0; i < 4; i++) sysSt<u16>(base + 34 + i * 2, load<u16>(SEG + (i << 4)));
  }
  return !faulted();
}

function selectorOf(wide: bool, base: u64, seg: u32): u32 {
  if (wide) return sysLd<u16>(base + 72 + seg * 4);
  return seg < 4 ? sysLd<u16>(base + 34 + seg * 2) : 0;
}

/** Loads the registers of the new task. Faults from here on happen in it. */
function loadTask(wide: bool, base: u64, nested: bool): void {
  if (wide && (load<u32>(CR0) & CR0_PG) != 0) {
    const cr3: u64 = sysLd<u32>(base + 28);
    if ((load<u32>(CR4) & CR4_PAE) != 0 && !loadPdptes(cr3)) {
      raiseErr(V_TS, segSelector(TR) & 0xfffc);
      return;
    }
    store<u64>(CR3, cr3);
    flushNonGlobal();
  }
  let flags: u64 = wide ? sysLd<u32>(base + 36) : sysLd<u16>(base + 16);
  if (nested) flags |= NT;
  setFlags(flags & 0x3f7fd5);
  loadedRf();
  store<u64>(RIP, wide ? <u64>sysLd<u32>(base + 32) : <u64>sysLd<u16>(base + 14));
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(GPR + (i << 3), wide ? <u64>sysLd<u32>(base + 40 + i * 4) : <u64>(0xffff0000 | <u32>sysLd<u16>(base + 18 + i * 2)));
  }
  const ldt: u32 = sysLd<u16>(base + (wide ? 96 : 42));
  if (faulted()) return;
  const vm = wide && (flags & VM) != 0;
  const cs = selectorOf(wide, base, CS);
  // Selectors are all visible before the first check can fail.
  for (let seg: u32 = 0; seg < 6; seg++) putSeg(seg, selectorOf(wide, base, seg), 0, 0, 0);
  putSeg(LDTR, ldt, 0, 0, 0);
  store<u32>(CPL, vm ? 3 : cs & 3);
  if (!loadLdt(ldt)) return;
  if (vm) {
    for (let seg: u32 = 0; seg < 6; seg++) putParagraph(seg, segSelector(seg));
    return;
  }
  loadStackSeg(segSelector(SS), cs & 3, V_TS, 0);
  if (faulted()) return;
  for (let seg: u32 = 0; seg < 6; seg++) {
    if (seg == CS || seg == SS) continue;
    loadData(seg, segSelector(seg), cs & 3);
    if (faulted()) return;
  }
  loadCode(cs);
}

function loadLdt(selector: u32): bool {
  if ((selector & 0xfffc) == 0) return true;
  const error = selector & 0xfffc;
  if ((selector & 4) != 0) raiseErr(V_TS, error);
  else if (readDescriptor(selector, V_TS, 0)) {
    if ((descAttr() & (A_S | 0xf)) != T_LDT || (descAttr() & A_P) == 0) raiseErr(V_TS, error);
    else putFromDescriptor(LDTR, selector);
  }
  return !faulted();
}

function loadCode(selector: u32): void {
  const error = selector & 0xfffc;
  if (error == 0) {
    raiseErr(V_TS, 0);
    return;
  }
  if (!readDescriptor(selector, V_TS, 0)) return;
  const attr = descAttr();
  const dpl = dplOf(attr);
  const rpl = selector & 3;
  let bad = (attr & (A_S | A_CODE)) != (A_S | A_CODE);
  bad = bad || ((attr & A_DOWN) != 0 ? dpl > rpl : dpl != rpl);
  if (bad) raiseErr(V_TS, error);
  else if ((attr & A_P) == 0) raiseErr(V_NP, error);
  else if (markAccessed()) putFromDescriptor(CS, selector);
}

function loadData(seg: u32, selector: u32, cpl: u32): void {
  const error = selector & 0xfffc;
  if (error == 0) return;
  if (!readDescriptor(selector, V_TS, 0)) return;
  const attr = descAttr();
  const code = (attr & A_CODE) != 0;
  let bad = (attr & A_S) == 0 || (code && (attr & A_WRITABLE) == 0);
  if (!code || (attr & A_DOWN) == 0) bad = bad || (selector & 3) > dplOf(attr) || cpl > dplOf(attr);
  if (bad) raiseErr(V_TS, error);
  else if ((attr & A_P) == 0) raiseErr(V_NP, error);
  else if (markAccessed()) putFromDescriptor(seg, selector);
}

import type { KvmRegs, KvmSegment, KvmSregs } from "../../abi/kvm/index.js";
import { Cr0, Cr4, Efer, Rflags } from "../../abi/x86/index.js";
import { type EngineVcpu, SegmentIndex } from "../../engine/bridge/port.js";

const GPR_NAMES = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;

/** KVM_GET_REGS. */
export function readRegs(engine: EngineVcpu): KvmRegs {
  const regs = { rip: engine.rip, rflags: engine.rflags } as KvmRegs;
  for (const [i, name] of GPR_NAMES.entries()) regs[name] = engine.gpr(i);
  return regs;
}

/** KVM_SET_REGS; the fixed bit of RFLAGS is set by itself. */
export function writeRegs(engine: EngineVcpu, regs: KvmRegs): void {
  for (const [i, name] of GPR_NAMES.entries()) engine.setGpr(i, regs[name]);
  engine.rip = BigInt.asUintN(64, regs.rip);
  engine.rflags = BigInt.asUintN(64, regs.rflags) | Rflags.FIXED;
  engine.syncSregs();
}

const SEGMENTS = [
  ["cs", SegmentIndex.CS],
  ["ds", SegmentIndex.DS],
  ["es", SegmentIndex.ES],
  ["fs", SegmentIndex.FS],
  ["gs", SegmentIndex.GS],
  ["ss", SegmentIndex.SS],
  ["tr", SegmentIndex.TR],
  ["ldt", SegmentIndex.LDTR],
] as const;

/** The part of KVM_GET_SREGS that the engine keeps. */
export type EngineSregs = Omit<KvmSregs, "apicBase" | "cr8" | "interruptBitmap">;

/** Reads segments, tables and control registers. */
export function readSregs(engine: EngineVcpu): EngineSregs {
  const sregs = {
    gdt: engine.gdt(),
    idt: engine.idt(),
    cr0: engine.cr0,
    cr2: engine.cr2,
    cr3: engine.cr3,
    cr4: engine.cr4,
    efer: engine.efer,
  } as EngineSregs;
  for (const [name, index] of SEGMENTS) sregs[name] = engine.segment(index);
  return sregs;
}

/** Writes segments, tables and control registers that {@link validSregs} accepted. */
export function writeSregs(engine: EngineVcpu, sregs: EngineSregs): void {
  for (const [name, index] of SEGMENTS) {
    const value: KvmSegment = sregs[name];
    engine.setSegment(index, { ...value, base: BigInt.asUintN(64, value.base) });
  }
  engine.setGdt(sregs.gdt);
  engine.setIdt(sregs.idt);
  engine.cr2 = BigInt.asUintN(64, sregs.cr2);
  engine.cr3 = sregs.cr3;
  engine.efer = sregs.efer;
  engine.cr0 = sregs.cr0;
  engine.cr4 = sregs.cr4;
  engine.syncSregs();
}

const CR4_KNOWN = Object.values(Cr4).reduce((all, bit) => all | bit, 0n);
const EFER_KNOWN =
  Efer.SCE | Efer.LME | Efer.LMA | Efer.NX | Efer.SVME | Efer.FFXSR | Efer.AUTOIBRS;

/** Whether control registers can be entered together (KVM's checks of KVM_SET_SREGS). */
export function validSregs(sregs: EngineSregs): boolean {
  const { cr0, cr3, cr4, efer } = sregs;
  if (cr0 >> 32n !== 0n || (efer & ~EFER_KNOWN) !== 0n || (cr4 & ~CR4_KNOWN) !== 0n) return false;
  if ((cr0 & Cr0.NW) !== 0n && (cr0 & Cr0.CD) === 0n) return false;
  if ((cr0 & Cr0.PG) !== 0n && (cr0 & Cr0.PE) === 0n) return false;
  if ((efer & Efer.LME) !== 0n && (cr0 & Cr0.PG) !== 0n) {
    if ((cr4 & Cr4.PAE) === 0n || (efer & Efer.LMA) === 0n) return false;
    return cr3 >> 52n === 0n;
  }
  return (efer & Efer.LMA) === 0n && !sregs.cs.l;
}

import type { KvmRegs, KvmSegment, KvmSregs } from "../../abi/kvm/index.js";
import { Cr0, Cr4, Efer, Rflags } from "../../abi/x86/index.js";
import { type EngineVcpu, SegmentIndex } from "../../engine/bridge/port.js";
import type { GuestAccess } from "../memory/guest-access.js";

/** KVM_GET_REGS. Spelled out: a client may ask after every exit. */
export function readRegs(engine: EngineVcpu): KvmRegs {
  return {
    rax: engine.gpr(0),
    rbx: engine.gpr(3),
    rcx: engine.gpr(1),
    rdx: engine.gpr(2),
    rsi: engine.gpr(6),
    rdi: engine.gpr(7),
    rsp: engine.gpr(4),
    rbp: engine.gpr(5),
    r8: engine.gpr(8),
    r9: engine.gpr(9),
    r10: engine.gpr(10),
    r11: engine.gpr(11),
    r12: engine.gpr(12),
    r13: engine.gpr(13),
    r14: engine.gpr(14),
    r15: engine.gpr(15),
    rip: engine.rip,
    rflags: engine.rflags,
  };
}

/** KVM_SET_REGS; the fixed bit of RFLAGS is set by itself. */
export function writeRegs(engine: EngineVcpu, regs: KvmRegs): void {
  engine.setGpr(0, regs.rax);
  engine.setGpr(1, regs.rcx);
  engine.setGpr(2, regs.rdx);
  engine.setGpr(3, regs.rbx);
  engine.setGpr(4, regs.rsp);
  engine.setGpr(5, regs.rbp);
  engine.setGpr(6, regs.rsi);
  engine.setGpr(7, regs.rdi);
  engine.setGpr(8, regs.r8);
  engine.setGpr(9, regs.r9);
  engine.setGpr(10, regs.r10);
  engine.setGpr(11, regs.r11);
  engine.setGpr(12, regs.r12);
  engine.setGpr(13, regs.r13);
  engine.setGpr(14, regs.r14);
  engine.setGpr(15, regs.r15);
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

/** Accessed bit of a data segment's type, and busy bit of a TSS's. */
const ACCESSED = 1;
const BUSY = 2;

/** A segment as KVM shows it on AMD: what the processor does not keep is derived. */
function readSegment(engine: EngineVcpu, index: number): KvmSegment {
  const segment = engine.segment(index);
  const unusable = !segment.present;
  segment.unusable = unusable;
  segment.g = segment.limit > 0xfffff;
  if (index === SegmentIndex.TR) segment.type |= BUSY;
  else if (index === SegmentIndex.SS) {
    if (unusable) segment.db = false;
    if ((engine.cr0 & Cr0.PE) !== 0n) segment.dpl = engine.cpl;
  } else if (index !== SegmentIndex.CS && index !== SegmentIndex.LDTR && !unusable) {
    segment.type |= ACCESSED;
  }
  return segment;
}

const NO_INTERRUPT = [0n, 0n, 0n, 0n] as const;

/** KVM_GET_SREGS, with what the engine does not keep. Spelled out, as {@link readRegs}. */
export function readSregs(
  engine: EngineVcpu,
  apicBase = 0n,
  interruptBitmap: KvmSregs["interruptBitmap"] = NO_INTERRUPT,
): KvmSregs {
  return {
    cs: readSegment(engine, SegmentIndex.CS),
    ds: readSegment(engine, SegmentIndex.DS),
    es: readSegment(engine, SegmentIndex.ES),
    fs: readSegment(engine, SegmentIndex.FS),
    gs: readSegment(engine, SegmentIndex.GS),
    ss: readSegment(engine, SegmentIndex.SS),
    tr: readSegment(engine, SegmentIndex.TR),
    ldt: readSegment(engine, SegmentIndex.LDTR),
    gdt: engine.gdt(),
    idt: engine.idt(),
    cr0: engine.cr0,
    cr2: engine.cr2,
    cr3: engine.cr3,
    cr4: engine.cr4,
    cr8: BigInt(engine.cr8),
    efer: engine.efer,
    apicBase,
    interruptBitmap,
  };
}

function writeSegment(engine: EngineVcpu, index: number, value: KvmSegment): void {
  const { selector, base, limit, type, dpl, db, s, l, g, avl } = value;
  const present = value.present && !value.unusable;
  engine.setSegment(index, {
    selector,
    base: BigInt.asUintN(64, base),
    limit,
    type,
    present,
    dpl,
    db,
    s,
    l,
    g,
    avl,
    unusable: !present,
  });
}

/** Writes segments, tables and control registers that {@link validSregs} accepted. */
export function writeSregs(engine: EngineVcpu, sregs: EngineSregs): void {
  for (const [name, index] of SEGMENTS) writeSegment(engine, index, sregs[name]);
  engine.setGdt(sregs.gdt);
  engine.setIdt(sregs.idt);
  engine.cr2 = BigInt.asUintN(64, sregs.cr2);
  engine.cr3 = sregs.cr3;
  engine.efer = sregs.efer;
  engine.cr0 = sregs.cr0;
  engine.cr4 = sregs.cr4;
  engine.syncSregs();
}

/** EFER bits that the processor can be entered with. */
const EFER_KNOWN =
  Efer.SCE | Efer.LME | Efer.LMA | Efer.NX | Efer.SVME | Efer.FFXSR | Efer.AUTOIBRS;

/**
 * Whether the processor accepts registers that KVM_SET_SREGS took (AMD64 manual volume 2, "Canonicalization
 * and Consistency Checks"): EFER has no unknown bits, and 64-bit code segments no D bit.
 */
export function canEnter({ efer, cr0, cs }: Pick<EngineSregs, "efer" | "cr0" | "cs">): boolean {
  if ((efer & ~EFER_KNOWN) !== 0n) return false;
  const long = (efer & Efer.LME) !== 0n && (cr0 & Cr0.PG) !== 0n;
  return !(long && cs.l && cs.db);
}

/** Whether control registers fit together (KVM's checks of KVM_SET_SREGS). */
export function validSregs(
  sregs: EngineSregs,
  cpuid: {
    readonly maxPhysicalBits: number;
    readonly cr4Allowed: bigint;
    readonly eferAllowed: bigint;
  },
): boolean {
  const { cr0, cr3, cr4, efer } = sregs;
  if (cr0 >> 32n !== 0n || (cr4 & ~cpuid.cr4Allowed) !== 0n) return false;
  if ((efer & ~cpuid.eferAllowed) !== 0n) return false;
  if ((cr0 & Cr0.NW) !== 0n && (cr0 & Cr0.CD) === 0n) return false;
  if ((cr0 & Cr0.PG) !== 0n && (cr0 & Cr0.PE) === 0n) return false;
  if ((efer & Efer.LME) !== 0n && (cr0 & Cr0.PG) !== 0n) {
    if ((cr4 & Cr4.PAE) === 0n || (efer & Efer.LMA) === 0n) return false;
    return cr3 >> BigInt(cpuid.maxPhysicalBits) === 0n;
  }
  return (efer & Efer.LMA) === 0n && !sregs.cs.l;
}

/** The page directory pointers of PAE paging, if that is on. */
export function readPdptrs(
  engine: EngineVcpu,
  access: GuestAccess,
): readonly [bigint, bigint, bigint, bigint] | undefined {
  const { cr0, cr3, cr4, efer } = engine;
  if ((cr0 & Cr0.PG) === 0n || (cr4 & Cr4.PAE) === 0n || (efer & Efer.LMA) !== 0n) {
    return undefined;
  }
  const table = access.read(Number(cr3 & 0xffffffe0n), 32);
  if (table === undefined) return [0n, 0n, 0n, 0n];
  const view = new DataView(table.buffer);
  const entry = (i: number): bigint => view.getBigUint64(i * 8, true);
  return [entry(0), entry(1), entry(2), entry(3)];
}

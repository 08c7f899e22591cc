/** Registers with which a PVH guest starts (Xen's docs/misc/pvh.pandoc). */
import type { KvmRegs, KvmSegment, KvmSregs } from "../../abi/kvm/index.js";

const FLAT: KvmSegment = {
  base: 0n,
  limit: 0xffffffff,
  selector: 0x10,
  type: 3,
  present: true,
  dpl: 0,
  db: true,
  s: true,
  l: false,
  g: true,
  avl: false,
  unusable: false,
};
/** Code: readable, executable. */
const CODE: KvmSegment = { ...FLAT, selector: 8, type: 11 };
/** A busy 32-bit TSS. */
const TASK: KvmSegment = { ...FLAT, selector: 0x18, type: 11, limit: 0x67, s: false, g: false };
const UNUSABLE: KvmSegment = { ...FLAT, selector: 0, present: false, unusable: true };

const CR0_PE = 1n;
const CR0_ET = 1n << 4n;

/**
 * Segments and control registers: 32-bit protected mode without paging, flat segments. SS too is
 * flat, though the specification does not ask for it: Linux uses the stack before it loads SS.
 */
export function pvhSregs(atReset: KvmSregs): KvmSregs {
  return {
    ...atReset,
    cs: { ...CODE },
    ds: { ...FLAT },
    es: { ...FLAT },
    fs: { ...FLAT },
    gs: { ...FLAT },
    ss: { ...FLAT },
    tr: { ...TASK },
    ldt: { ...UNUSABLE },
    cr0: CR0_PE | CR0_ET,
    cr4: 0n,
    efer: 0n,
  };
}

/** General registers: EIP at the entry point, EBX at start_info, interrupts off. */
export function pvhRegs(atReset: KvmRegs, entry: number, startInfoPaddr: number): KvmRegs {
  return { ...atReset, rip: BigInt(entry), rbx: BigInt(startInfoPaddr), rflags: 2n };
}

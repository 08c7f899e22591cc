import { Gpr, initialFxsave, Msr, Rflags } from "../../abi/x86/index.js";
import { type EngineVcpu, type Segment, SegmentIndex } from "../../engine/bridge/port.js";

const segment = (fields: Partial<Segment>): Segment => ({
  selector: 0,
  base: 0n,
  limit: 0xffff,
  type: 3,
  present: true,
  dpl: 0,
  db: false,
  s: true,
  l: false,
  g: false,
  avl: false,
  unusable: false,
  ...fields,
});

/** IA32_PAT after power-up: WB WT UC- UC, twice (Intel SDM volume 3, 12.12.4). */
const PAT_RESET = 0x0007040600070406n;

/**
 * Registers after power-up or INIT (Intel SDM volume 3, "Processor State After Reset"; hidden parts
 * of TR and LDTR as AMD has them). INIT keeps the FPU, CR0's cache bits and the MSRs.
 */
export function resetRegisters(engine: EngineVcpu, init: boolean, rdx: bigint): void {
  for (let i = 0; i < 16; i++) engine.setGpr(i, 0n);
  engine.setGpr(Gpr.RDX, rdx);
  engine.rip = 0xfff0n;
  engine.rflags = Rflags.FIXED;
  const oldCr0 = engine.cr0;
  engine.cr0 = init ? 0x10n | (oldCr0 & 0x60000000n) : 0x60000010n;
  engine.cr2 = 0n;
  engine.cr3 = 0n;
  engine.cr4 = 0n;
  engine.cr8 = 0;
  engine.efer = 0n;
  engine.setSegment(SegmentIndex.CS, segment({ selector: 0xf000, base: 0xffff0000n, type: 0xa }));
  for (const index of [SegmentIndex.ES, SegmentIndex.DS, SegmentIndex.FS, SegmentIndex.GS]) {
    engine.setSegment(index, segment({}));
  }
  // AMD's SS starts as not accessed.
  engine.setSegment(SegmentIndex.SS, segment({ type: 2 }));
  engine.setSegment(SegmentIndex.LDTR, segment({ type: 2, s: false }));
  engine.setSegment(SegmentIndex.TR, segment({ type: 3, s: false }));
  engine.setGdt({ base: 0n, limit: 0xffff });
  engine.setIdt({ base: 0n, limit: 0xffff });
  for (let i = 0; i < 4; i++) engine.setDr(i, 0n);
  engine.setDr(6, 0xffff0ff0n);
  engine.setDr(7, 0x400n);
  engine.interruptShadow = 0;
  engine.requestInterruptWindow = false;
  if (!init) {
    engine.setFpu(initialFxsave());
    engine.xcr0 = 1n;
    engine.writeMsr(Msr.IA32_PAT, PAT_RESET);
  }
  engine.syncSregs();
}

/** Starts at the page a STARTUP message names, in real mode. */
export function startAt(engine: EngineVcpu, vector: number): void {
  const cs = engine.segment(SegmentIndex.CS);
  engine.setSegment(SegmentIndex.CS, {
    ...cs,
    selector: vector << 8,
    base: BigInt(vector) << 12n,
  });
  engine.rip = 0n;
  engine.syncSregs();
}

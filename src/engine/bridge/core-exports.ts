/** What the WebAssembly core exports (src/engine/core/index.ts). */
export interface CoreExports {
  run(max: number): number;
  setDecodeEach(yes: boolean | number): void;
  dropBlocks(): void;
  arenaUsed(): number;
  hostTranslate(va: bigint, kind: number, cpl: number): bigint;
  setSlot(i: number, gpa: bigint, size: bigint, lin: number, flags: number, dirty: number): void;
  setSlotCount(n: number): void;
  dropAllWriteTags(): void;
  flushAllVcpus(): void;
  initMmu(): void;
  setTlbArea(index: number, address: number): void;
  tlbAreaBytes(): number;
  retiredOutside(): void;
  hostReadMsr(index: number): bigint;
  hostWriteMsr(index: number, value: bigint): number;
  msrKnown(index: number): number;
  syncMode(): void;
  updateMode(): void;
  getFlags(): bigint;
  setFlags(value: bigint): void;
  hostWrote(lin: number, size: number): void;
  hostFxrstor(): void;
}

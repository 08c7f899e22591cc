/** What the WebAssembly core exports (src/engine/core/index.ts). */
export interface CoreExports {
  /** Where the functions of compiled regions go. */
  readonly table: WebAssembly.Table;
  run(max: number): number;
  handle(record: number, budget: number): number;
  setDecodeEach(yes: boolean | number): void;
  setSingle32(count: number): void;
  dropBlocks(): void;
  arenaUsed(): number;
  distrustCode(): void;
  hostTranslate(va: bigint, kind: number, cpl: number): bigint;
  /** As hostTranslate, without 64-bit integers: -1 for none. */
  hostTranslateParts(low: number, high: number, kind: number, cpl: number): number;
  insertSlot(i: number, gpa: bigint, size: bigint, lin: number, flags: number, dirty: number): void;
  removeSlot(i: number): void;
  dropAllWriteTags(): void;
  flushAllVcpus(): void;
  initMmu(): void;
  setTlbArea(index: number, address: number): void;
  prepareTlbArea(address: number): void;
  tlbAreaBytes(): number;
  retiredOutside(): void;
  updateBreakpoints(): void;
  hostReadMsr(index: number): bigint;
  hostWriteMsr(index: number, value: bigint): number;
  msrKnown(index: number): number;
  syncMode(): void;
  updateMode(): void;
  getFlags(): bigint;
  setFlags(value: bigint): void;
  hostWrote(lin: number, size: number): void;
  hostFxrstor(): void;
  warm(): number;
}

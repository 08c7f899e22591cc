/** What the engine exports to engine/bridge. */
export { arenaUsed, distrustCode, dropBlocks } from "./blocks";
export { updateBreakpoints } from "./breakpoints";
export { hostTranslate, hostTranslateParts } from "./mmu/access";
export { insertSlot, removeSlot } from "./mmu/slots";
export { dropAllWriteTags, flushAllVcpus, initMmu, prepareTlbArea, setTlbArea, tlbAreaBytes } from "./mmu/tlb";
export { handle } from "./interpret";
export { retiredOutside } from "./cpu/debug";
export { hostReadMsr, hostWriteMsr, msrKnown } from "./cpu/msr";
export { syncMode, updateMode } from "./cpu/mode";
export { getFlags, setFlags } from "./flags";
export { run, setDecodeEach, setSingle32 } from "./run";
export { hostWrote } from "./smc";
export { warm } from "./warm";

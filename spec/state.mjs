// @ts-check
/**
 * The state of one virtual processor, as it lies in linear memory. The block of the vCPU that runs
 * is at CPU; the others wait in save areas of the same layout. Offsets follow from the order here:
 * each field starts at the next multiple of its alignment.
 *
 * A row: [name, type, count, meaning]. Types: u8 u16 u32 u64 x80 (16 bytes) v128.
 */
/** @type {[name: string, type: string, count: number, doc: string][]} */
export const CPU_BLOCK = [
  // General registers first: records name registers by address, and 16 + 2 slots look alike.
  ["GPR", "u64", 16, "RAX RCX RDX RBX RSP RBP RSI RDI R8..R15"],
  ["ZERO", "u64", 1, "always zero: the base or index of an address that has none"],
  ["PAGE_BASE", "u64", 1, "linear address of the page (or segment start) that the block runs in"],
  ["RIP", "u64", 1, "instruction pointer: of the current instruction while one executes"],
  ["CC_DST", "u64", 1, "lazy flags: result (see flags.ts)"],
  ["CC_SRC", "u64", 1, "lazy flags: second operand, or explicit CF AF OF"],
  ["CC_OP", "u32", 1, "lazy flags: kind * 4 + log2(size)"],
  ["FAULT", "u32", 1, "fault of the current instruction, 0 = none (see fault.ts)"],
  ["FLAGS", "u64", 1, "RFLAGS without OF SF ZF AF PF CF"],
  ["FAULT_ERR", "u32", 1, "error code of FAULT"],
  ["CPL", "u32", 1, "current privilege level"],
  ["FAULT_CR2", "u64", 1, "linear address of a page fault that is not delivered yet"],
  // Segments: 16 bytes each, see segments.ts. Order ES CS SS DS FS GS LDTR TR.
  ["SEG", "v128", 8, "selector u16, attributes u16, limit u32 (in bytes), base u64"],
  ["GDT_BASE", "u64", 1, "GDTR base"],
  ["IDT_BASE", "u64", 1, "IDTR base"],
  ["GDT_LIMIT", "u32", 1, "GDTR limit"],
  ["IDT_LIMIT", "u32", 1, "IDTR limit"],
  ["CR0", "u64", 1, "control register 0"],
  ["CR2", "u64", 1, "control register 2"],
  ["CR3", "u64", 1, "control register 3"],
  ["CR4", "u64", 1, "control register 4"],
  ["CR8", "u64", 1, "task priority, 0 to 15"],
  ["DR0", "u64", 1, "debug register 0"],
  ["DR1", "u64", 1, "debug register 1"],
  ["DR2", "u64", 1, "debug register 2"],
  ["DR3", "u64", 1, "debug register 3"],
  ["DR6", "u64", 1, "debug status"],
  ["DR7", "u64", 1, "debug control"],
  ["XCR0", "u64", 1, "extended control register 0"],
  ["EFER", "u64", 1, "MSR 0xc0000080"],
  ["STAR", "u64", 1, "MSR 0xc0000081"],
  ["LSTAR", "u64", 1, "MSR 0xc0000082"],
  ["CSTAR", "u64", 1, "MSR 0xc0000083"],
  ["SFMASK", "u64", 1, "MSR 0xc0000084"],
  ["KERNEL_GS_BASE", "u64", 1, "MSR 0xc0000102"],
  ["TSC_AUX", "u64", 1, "MSR 0xc0000103"],
  ["SYSENTER_CS", "u64", 1, "MSR 0x174"],
  ["SYSENTER_ESP", "u64", 1, "MSR 0x175"],
  ["SYSENTER_EIP", "u64", 1, "MSR 0x176"],
  ["PAT", "u64", 1, "MSR 0x277"],
  ["PDPTE", "u64", 4, "PAE page-directory-pointer entries, loaded with CR3"],
  // What follows from the above; recomputed by updateMode().
  ["CODE_SIZE", "u32", 1, "0: 16-bit, 1: 32-bit, 2: 64-bit code"],
  ["STACK_SIZE", "u32", 1, "0: SP, 1: ESP, 2: RSP"],
  ["BLOCK_KEY", "u64", 1, "the part of a block's key that the mode decides, see blocks.ts"],
  ["TLB", "u32", 1, "address of the TLB half in use (mode and privilege), see mmu/tlb.ts"],
  ["TLB_ALL", "u32", 1, "address of this vCPU's TLB area"],
  ["FLAT", "u32", 1, "1 when data segments need no checks (64-bit, or flat 4 GiB)"],
  [
    "MMU_HALF",
    "u32",
    1,
    "which TLB half mode and privilege ask for: 0 user, 1 SMAP in force, 2 supervisor",
  ],
  [
    "ACCESS_CHECKS",
    "u32",
    1,
    "what slow accesses look at: bit 0 alignment (TLB is EMPTY_TLB then), bit 1 data breakpoints",
  ],
  // Interrupts and the way out.
  ["SHADOW", "u32", 1, "interrupt shadow for the next instruction: 1 by STI, 2 by MOV/POP SS"],
  ["IRET_EXIT", "u32", 1, "1: IRET leaves run() before it does anything"],
  ["INJECT", "u32", 1, "event to deliver before the next instruction, 0 = none (see events.ts)"],
  ["INJECT_ERR", "u32", 1, "error code of INJECT"],
  [
    "IRQ_WINDOW",
    "u32",
    1,
    "leave run() when an interrupt could be taken: 0 no, 1 yes, else if the byte at this linear address is not 0",
  ],
  ["PAUSE_EXIT", "u32", 1, "leave run() after this many PAUSE instructions, 0 = never"],
  ["EMULATOR", "u32", 1, "1: KVM's emulator knows MOVNTDQA"],
  ["EXIT", "u32", 1, "exit code when FAULT is F_EXIT"],
  ["EXIT_WRITE", "u32", 1, "IO, MMIO: 1 for a write"],
  [
    "EXIT_SIZE",
    "u32",
    1,
    "IO, MMIO: bytes, 1 2 4 8; CPUID, RDMSR, WRMSR, MWAIT: length of the instruction",
  ],
  [
    "EXIT_AUX",
    "u32",
    1,
    "HYPERCALL: 0 VMCALL, 1 VMMCALL; IO: 1 for a string instruction; MMIO: 1 by the delivery of an event; MWAIT: 0 MONITOR, 1 MWAIT; DEBUG: vector",
  ],
  ["EXIT_ADDR", "u64", 1, "IO: port; MMIO: guest-physical address"],
  ["EXIT_DATA", "u64", 1, "IO, MMIO: data of a write; WRMSR: value; INTERNAL: detail; DEBUG: DR6"],
  ["DEBUG_PENDING", "u32", 1, "DR6 bits of the traps that come before the next instruction"],
  [
    "WATCH_DR7",
    "u32",
    1,
    "not 0: breakpoints of a debugger outside the guest are in force, not the guest's: its DR7",
  ],
  [
    "INTERCEPTS",
    "u32",
    1,
    "what leaves run() for that debugger and is not delivered: bit 0 #DB, bit 1 INT3",
  ],
  ["WATCH", "u64", 4, "their addresses, as in DR0 to DR3"],
  [
    "BREAKPOINTS",
    "u32",
    1,
    "enabled in the DR7 in force: bits 0 to 3 on code, bits 4 to 7 on data",
  ],
  ["BREAK_EPOCH", "u32", 1, "of the numbers in BREAK_VARIANT (breakpoints.ts)"],
  ["BREAK_AT", "u64", 4, "addresses of the BREAKPOINTS"],
  ["BREAK_VARIANT", "u32", 4, "of those on code: which blocks their page has"],
  ["PAUSE_COUNT", "u32", 1, "PAUSE instructions since the last PAUSE exit"],
  ["RNG", "u64", 1, "state of the generator behind RDRAND and RDSEED; the bridge seeds it"],
  // Accesses of the current instruction that were completed outside, replayed in order.
  ["REPLAY_COUNT", "u32", 1, "entries in REPLAY"],
  ["REPLAY_NEXT", "u32", 1, "entries used so far by this execution"],
  ["REPLAY", "u64", 64, "data of completed reads (0 for writes)"],
  ["REPLAY_CODE", "u64", 2, "bytes of that instruction, as they were when it left run()"],
  ["ICOUNT", "u64", 1, "retired instructions, exact outside run()"],
  ["WORK", "u32", 1, "work of the last run(): what it used of its budget"],
  ["TSC_OFFSET", "u64", 1, "added to the clock to give the time stamp counter"],
  ["TIME_BASE", "u64", 1, "virtual time: nanoseconds at the start of run()"],
  [
    "VIRTUAL_TIME",
    "u32",
    1,
    "1: the clock is TIME_BASE + the work of this run(); 0: the host is asked",
  ],
  ["CPU_INDEX", "u32", 1, "which vCPU this is"],
  // x87, MMX (in the x87 registers), SSE.
  ["FPR", "x80", 8, "physical x87 registers R0..R7: significand u64, sign and exponent u16"],
  ["XMM", "v128", 16, "SSE registers"],
  ["FCW", "u32", 1, "x87 control word"],
  ["FSW", "u32", 1, "x87 status word, TOP included"],
  ["FTW", "u32", 1, "x87 tags, abridged: bit n set when physical register n is not empty"],
  ["MXCSR", "u32", 1, "SSE control and status"],
  ["FOP", "u32", 1, "last x87 opcode"],
  ["FCS", "u32", 1, "selector of FIP"],
  ["FDS", "u32", 1, "selector of FDP"],
  ["FIP", "u64", 1, "address of the last x87 instruction"],
  ["FDP", "u64", 1, "address of the last x87 memory operand"],
  ["SSE_OFF", "u32", 1, "not 0 when SSE instructions raise #UD or #NM; follows from CR0 and CR4"],
  [
    "MSR_EXITS",
    "u32",
    1,
    "RDMSR and WRMSR leave run(): bit 0 for every MSR, bit 1 for EFER and TSC_AUX, which the guest's CPUID rules",
  ],
  // What the guest's CPUID hides of what the processor has.
  ["HIDDEN", "u32", 1, "instructions that raise #UD: bit 0 RDTSCP, 1 INVPCID, 2 RDPID, 3 MOVBE"],
  ["CR4_HIDDEN", "u64", 1, "bits of CR4 that the guest may not set"],
  ["XCR0_HIDDEN", "u64", 1, "bits of XCR0 that the guest may not set"],
  [
    "INTERCEPTED",
    "u32",
    1,
    "the last #DB, #UD or #AC that an instruction raised: vector and bit 31, and bit 8 with an error code; 0 for none",
  ],
];

/**
 * What the engine counts for a VM, all its vCPUs together: u64 each, in the region COUNTERS. A row: [name, meaning].
 * They are exact, and the same in every run under the virtual clock.
 */
/** @type {[name: string, doc: string][]} */
export const COUNTERS = [
  [
    "GENERIC",
    "instructions of cached blocks done by their complete handler: there is no fast operation",
  ],
  [
    "COMPLETE",
    "instructions done by their complete handler: a case that the fast operation does not know",
  ],
  ["MISS", "accesses of fast operations that missed the TLB"],
  [
    "UNFILLED",
    "of these, such that filling the TLB did not help: across a page's end, devices, faults",
  ],
  ["GO", "ends of blocks whose link led nowhere yet, or to another page"],
  ["RETRY", "ends of blocks done again by their complete handler"],
  ["VERIFY", "blocks compared with the code they were made from"],
  ["VERIFIED_BYTES", "bytes that were compared"],
  ["STEP", "instructions executed one at a time, outside blocks"],
  ["LOOKUP", "blocks looked up by address"],
  ["BUILD", "blocks decoded"],
  ["DECODED", "instructions decoded for them"],
  ["UNBUILT", "blocks that could not be made: the first instruction lies across a page's end"],
  ["DROPPED", "pages whose blocks were dropped because their code was written"],
  ["ARENA", "times that all blocks were dropped"],
  ["FILL_READ", "TLB entries made for a read"],
  ["FILL_WRITE", "TLB entries made for a write"],
  ["FILL_FETCH", "TLB entries made for a fetch"],
  ["CONFLICT", "of these, in place of another page"],
  ["WALK", "page walks from the top, past the cache of upper levels"],
  ["FLUSH", "TLB flushes, of everything or of what is not global"],
  ["FLUSHED", "TLB entries that these looked at"],
  [
    "SWEPT",
    "TLB entries looked at for one page: INVLPG of large pages, code that is new in a page",
  ],
  ["EXCEPTION", "exceptions delivered"],
  ["REGION", "times that a compiled region was entered"],
  ["COMPILED", "instructions done by compiled regions"],
  ["LEFT_NEAR", "regions left by a jump on the same page, or at the end of a block"],
  ["LEFT_FAR", "regions left by a jump or call to another page"],
  ["LEFT_INDIRECT", "regions left by a jump or call to an address that is not in the code"],
  ["LEFT_RETURN", "regions left by a return"],
  ["LEFT_MISS", "regions left because an access missed the TLB"],
  ["LEFT_CASE", "regions left for a case that a fast operation does not know"],
  ["LEFT_HANDLED", "regions left behind a complete handler"],
  ["TO_BLOCK", "jumps that led from a region to a block that is the head of none"],
  ["REGIONS", "regions compiled"],
  ["REGION_BLOCKS", "blocks in them"],
  ["REGION_BYTES", "bytes of WebAssembly made of them"],
];

/** What the core and the compiler of regions tell each other, in the region JIT. A row: [name, bytes, meaning]. */
/** @type {[name: string, size: number, doc: string][]} */
export const JIT_WORDS = [
  [
    "EPOCH",
    4,
    "changes when a block is dropped or may differ from its code: regions look at theirs again",
  ],
  ["GENERATION", 4, "changes when all blocks are dropped: regions are gone"],
  [
    "SAMPLE",
    4,
    "after how many instructions interpreted at a stretch a block is looked at; 0: never",
  ],
  ["THRESHOLD", 4, "how often a block is met that way before it is hot"],
  ["OUT_VA", 8, "how a region was left: address of a miss or target of a jump"],
  ["OUT_BUDGET", 4, "how a region was left: instructions that may still be executed"],
  ["RECORD", 4, "how many blocks are written to LOG from a hot one on"],
  ["RECORDING", 4, "blocks that are still to be written to LOG"],
  ["LOG_COUNT", 4, "entries in LOG"],
  [
    "LOG",
    0xe00,
    "first records of blocks in the order in which they ran, u32 each; of the hot one that each run begins with, + 1; 0 where a region did something between",
  ],
];

/** Where things lie in linear memory below the first guest byte. Each starts where the last ends. */
/** @type {[name: string, size: number, doc: string][]} */
export const LAYOUT = [
  ["NULL_PAGE", 0x1000, "never used, so that a null pointer is seen"],
  ["CPU", 0x1000, "state block of the running vCPU"],
  ["COUNTERS", 0x1000, "what the engine counts: see COUNTERS in spec/state.mjs"],
  [
    "JIT",
    0x1000,
    "words between the core and the compiler of regions: see JIT_WORDS in spec/state.mjs",
  ],
  [
    "FLOATING_PORTS",
    0x2000,
    "a bit per I/O port: 1 = nothing is there, what reads it gets ones, and nobody is asked",
  ],
  ["SCRATCH", 0x2000, "fetch buffer, temporary records and operands; see layout.ts"],
  ["STATIC", 0x78000, "static data of the wasm module"],
  ["EMPTY_TLB", 0x80000, "a TLB that never hits: accesses that must be looked at one by one"],
  ["PAGE_FLAGS", 0x100000, "a byte per linear page: 1 = holds decoded code"],
  [
    "PAGE_ACCESS",
    0x100000,
    "a byte per linear page, what its client may do there: 0 all, 1 read, 2 nothing",
  ],
  ["PAGE_BLOCKS", 0x400000, "a u32 per linear page: first decoded block"],
  ["PAGE_CHUNKS", 0x800000, "a u64 per linear page: bit n = decoded code in its bytes 64n..64n+63"],
  ["BLOCK_HASH", 0x400000, "decoded blocks by linear address"],
  ["SLOTS", 0x100000, "memory slots: see mmu/slots.ts"],
  ["REGIONS", 0x800000, "descriptors of compiled regions: see core/regions.ts"],
  ["ARENA", 0x4000000, "decoded blocks"],
];

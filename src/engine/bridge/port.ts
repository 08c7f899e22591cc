import type { Gpa, Gva, Hva } from "../../base/index.js";
import type { LinearMemory } from "../../memory/index.js";
import type { Counter } from "./state.gen.js";

/**
 * What the kernel half needs of a processor engine. `engine/bridge` implements it over the
 * WebAssembly core; tests implement it with a scripted fake. Nothing here allocates per call,
 * so that an exit costs little.
 */

/** Why {@link EngineVcpu.run} returned. Numbers are the engine core's own. */
export const EngineExit = {
  /** The instruction budget is used up. */
  BUDGET: 0,
  /** HLT was executed with interrupts possible or not; rip is after it. */
  HLT: 1,
  /** A port access: see {@link EngineExitInfo}. Completed by replay. */
  IO: 2,
  /** An access outside of every slot, or a write to a read-only slot. Completed by replay. */
  MMIO: 3,
  /** VMCALL (`aux` 0) or VMMCALL (`aux` 1) at any privilege level; rip is at the instruction. */
  HYPERCALL: 4,
  /** {@link EngineVcpu.requestInterruptWindow} was set and an interrupt can be taken now. */
  IRQ_WINDOW: 5,
  /** CPUID; rip at it. Answer with completeCpuid. */
  CPUID: 6,
  /** RDMSR of an MSR the core does not keep; rip at it. `address` is the index. */
  RDMSR: 7,
  /** WRMSR of an MSR the core does not keep; rip at it. `address` is the index, `data` the value. */
  WRMSR: 8,
  /** Triple fault. */
  SHUTDOWN: 9,
  /** IRET comes next and {@link EngineVcpu.iretExit} is set; rip is at it. */
  IRET: 10,
  /** MOV to CR8 was executed (rip after it); the new priority is in `cr8`. */
  CR8_WRITE: 11,
  /** PAUSE was executed (rip after it): a good moment for another vCPU. */
  PAUSE: 12,
  /** The engine cannot go on; `aux` is its reason code. */
  INTERNAL: 13,
  /** MONITOR (`aux` 0) or MWAIT (`aux` 1) at privilege level 0; rip at it. */
  MWAIT: 14,
  /** The memory at `address` (guest-physical) may not be accessed that way: see `PageAccess`. */
  MEMORY: 15,
  /** An exception (`aux` is the vector) that {@link EngineVcpu.intercept} keeps; `dataLow` is DR6 of #DB. */
  DEBUG: 16,
} as const;

/** One of {@link EngineExit}. */
export type EngineExitCode = (typeof EngineExit)[keyof typeof EngineExit];

/** Details of the last exit of a vCPU. Borrowed: valid until the next run(). */
export interface EngineExitInfo {
  /** IO and MMIO: true for a write (OUT). */
  readonly write: boolean;
  /** IO: port. MMIO, MEMORY: guest-physical address. RDMSR/WRMSR: MSR index (unsigned). */
  readonly address: number;
  /** IO: 1, 2 or 4. MMIO: 1 to 8 bytes, never across a page. MWAIT: length of the instruction. */
  readonly size: number;
  /** IO and MMIO writes: the value, zero-extended. WRMSR: the value. DEBUG: DR6. Else undefined content. */
  readonly data: bigint;
  /** Bits 0 to 31 of `data`. */
  readonly dataLow: number;
  /** Bits 32 to 63 of `data`. */
  readonly dataHigh: number;
  /**
   * HYPERCALL: 0 VMCALL, 1 VMMCALL. IO: 1 for INS and OUTS. MMIO: 1 by the delivery of an event.
   * MWAIT: 0 MONITOR, 1 MWAIT. INTERNAL: reason. DEBUG: vector. Else 0.
   */
  readonly aux: number;
}

/** A guest-physical range and the linear memory behind it. */
export interface EngineSlot {
  /** Multiple of 4096, below 2^52. */
  readonly gpa: Gpa;
  /** Bytes, a positive multiple of 4096. */
  readonly size: number;
  /** Start in linear memory, multiple of 4096; 0: {@link EngineVm.onUnbacked} gives it when needed. */
  readonly hva: Hva;
  /** Guest writes exit as MMIO. */
  readonly readonly: boolean;
  /**
   * A bitmap in linear memory with one bit per page (little endian, bit 0 = first page), in which
   * the engine sets the bits of pages the guest writes; 0 when writes are not logged.
   */
  readonly dirtyBitmap: Hva;
}

/** A segment register with its hidden part. */
export interface Segment {
  selector: number;
  base: bigint;
  /** In bytes, already scaled by the granularity (as in struct kvm_segment). */
  limit: number;
  /** 4-bit type field. */
  type: number;
  present: boolean;
  dpl: number;
  db: boolean;
  /** S bit: true for code and data segments. */
  s: boolean;
  l: boolean;
  g: boolean;
  avl: boolean;
  unusable: boolean;
}

/** GDTR or IDTR. */
export interface DescriptorTable {
  base: bigint;
  limit: number;
}

/** Indices for {@link EngineVcpu.segment}. */
export const SegmentIndex = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/**
 * Where RDTSC takes its time from. `work`: the time last given by setTime plus the work of run()
 * since (virtual clock, 1 unit = 1 ns). A function: nanoseconds of the
 * host's monotonic clock at that moment. To either, the vCPU's tscOffset is added.
 */
export type EngineTsc = "work" | (() => number);

/** What the core's tables hold: as much as KVM of Linux allows (KVM_USER_MEM_SLOTS, KVM_MAX_VCPUS). */
export const EngineLimit = { SLOTS: 32764, VCPUS: 4096 } as const;

/** Name of a counter of the engine. */
export type CounterName = keyof typeof Counter;

/**
 * How often the engine did what costs more than an instruction, by the names of {@link Counter}, since the VM
 * was made, for all its vCPUs together. Under the virtual clock, the same in every run.
 */
export type EngineCounters = Readonly<Record<CounterName, number>>;

/** The shared part of an engine: memory and its slots. */
export interface EngineVm {
  readonly linear: LinearMemory;
  /** Whether there is memory for one more vCPU; takes it for the next {@link createVcpu}. */
  prepareVcpu(): boolean;
  /** Makes a vCPU whose registers are undefined until the caller sets them all. */
  createVcpu(): EngineVcpu;
  /** Adds a slot at a place of the table, which is in ascending order of gpa, without overlaps. */
  insertSlot(place: number, slot: EngineSlot): void;
  /** Takes the slot at a place out of the table. Drops all translations. */
  removeSlot(place: number): void;
  /**
   * Who finds memory for the slot at a place whose `hva` is 0, when it is first accessed; 0: there is
   * none, and the access goes the way of one outside of all slots. May allocate linear memory.
   */
  onUnbacked(listener: (place: number) => Hva): void;
  /** Re-arms write tracking after bits of a dirty bitmap were cleared. */
  clearDirty(): void;
  /** Memory was written from outside: decoded code there must go. */
  noteWrite(address: Hva, length: number): void;
  /**
   * Guest memory may have been written without noteWrite(), code included: before decoded code runs
   * again, it is compared with memory, once after each call. Not while a vCPU runs.
   */
  distrustCode(): void;
  /**
   * Whether nothing is at these I/O ports: IN from them gives ones then, without an exit. OUT, INS and OUTS leave as from all others.
   * Not while a vCPU runs.
   */
  setFloating(first: number, count: number, yes: boolean): void;
  /** See {@link EngineTsc}. Called once, before the first run. */
  setTsc(source: EngineTsc): void;
  /** What the engine has done so far for this VM. Exact outside of runs. */
  counters(): EngineCounters;
  /** Gives up the memory. No call may follow. */
  close(): void;
}

/** Bits of {@link EngineVcpu.ready}. */
export const Ready = {
  /** No completed access waits for its instruction, and no event for its delivery. */
  EVENTS: 1,
  /** RFLAGS.IF is set and there is no interrupt shadow. */
  INTERRUPT: 2,
} as const;

/** Bits of {@link EngineVcpu.intercept}. */
export const Intercept = {
  /** #DB of any cause; rip is where its handler would return to. */
  DEBUG: 1,
  /** INT3; rip at it. */
  INT3: 2,
  /** #UD and #AC; rip at the instruction. */
  FAULTS: 4,
} as const;

/** An event that was to be delivered. */
export interface EngineEvent {
  readonly type: "interrupt" | "nmi" | "exception";
  readonly vector: number;
  readonly errorCode: number | undefined;
}

/** What a vCPU has beside its registers, in no form that depends on where memory is. */
export interface EngineKept {
  readonly instructions: bigint;
  /** Where the random numbers of RDRAND and RDSEED are. */
  readonly random: bigint;
  /** PAUSE instructions since one left run(). */
  readonly pauses: number;
  /** {@link EngineVcpu.pendingTraps}. */
  readonly traps: number;
  /** The event that comes before the next instruction, as the core keeps it, and its error code. */
  readonly injection: number;
  readonly injectionError: number;
  readonly shadow: number;
  /** Data of the accesses that the current instruction has made already, and its bytes. */
  readonly replay: readonly bigint[];
  readonly replayCode: Uint8Array;
  /** Entries of the top level of PAE tables, loaded with CR3. */
  readonly pdptes: readonly bigint[];
  /** Selectors of the last x87 instruction and operand. */
  readonly fpuSelectors: readonly number[];
}

/** One processor of an engine. Register properties may be read and written between runs only. */
export interface EngineVcpu {
  /** General register 0 RAX, 1 RCX, 2 RDX, 3 RBX, 4 RSP, 5 RBP, 6 RSI, 7 RDI, 8..15 R8..R15. */
  gpr(index: number): bigint;
  /** The value is taken modulo 2^64. */
  setGpr(index: number, value: bigint): void;
  /** Bits 0 to 31 of a general register: paths that are taken often avoid bigint. */
  gprLow(index: number): number;
  /** Bits 32 to 63 of a general register. */
  gprHigh(index: number): number;
  /** Sets a general register to a number from -2^31 to 2^32 - 1; negative ones are sign-extended. */
  setGprNumber(index: number, value: number): void;
  rip: bigint;
  rflags: bigint;
  /** RFLAGS.IF. */
  readonly interruptFlag: boolean;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  /** Task priority, 0 to 15; the guest's MOV from CR8 reads it without an exit. */
  cr8: number;
  /** IA32_EFER with LMA as the processor keeps it. */
  efer: bigint;
  xcr0: bigint;
  segment(index: number): Segment;
  setSegment(index: number, value: Segment): void;
  gdt(): DescriptorTable;
  setGdt(value: DescriptorTable): void;
  idt(): DescriptorTable;
  setIdt(value: DescriptorTable): void;
  /** Debug register 0..3, 6 or 7. */
  dr(index: number): bigint;
  setDr(index: number, value: bigint): void;
  /**
   * An MSR the core keeps itself: EFER, STAR, LSTAR, CSTAR, SYSCALL_MASK, FS/GS/KERNEL_GS base,
   * SYSENTER_CS/ESP/EIP, PAT, TSC_AUX. Undefined for any other.
   */
  readMsr(index: number): bigint | undefined;
  /** False when the core does not keep that MSR or refuses the value. */
  writeMsr(index: number, value: bigint): boolean;
  /** A copy of the 512-byte FXSAVE image (64-bit form). */
  fpu(): Uint8Array;
  setFpu(image: Uint8Array): void;
  /** Current privilege level, 0 to 3. */
  readonly cpl: number;
  /** EFER.LMA and CS.L. */
  readonly longMode64: boolean;
  /** Must follow changes of cr*, efer, segments or rflags: recomputes the mode, drops translations. */
  syncSregs(): void;
  /** Walks the guest's page tables without side effects (no accessed or dirty bits, no fault). */
  translate(address: Gva, access: "read" | "write" | "fetch", cpl?: number): Gpa | undefined;
  /**
   * {@link translate} for a read at the current privilege level. The address comes in two u32
   * halves; -1 when it is not mapped.
   */
  translateRead(low: number, high: number): number;

  /**
   * Executes until something needs the caller, or `maxWork` units of work are done (1 to 1,000,000;
   * never more than that many instructions retire). See {@link work}.
   */
  run(maxWork: number): EngineExitCode;
  readonly exit: EngineExitInfo;
  /** What no register shows. To be set behind all registers; values that make no sense are cut to such as do. */
  kept: EngineKept;
  /** Instructions retired since creation, exact. */
  readonly instructions: number;
  /**
   * Work of the last run(): 1 for each instruction that retired, 1 for each exception that was
   * delivered, and for every 64 or 32 elements of a repeated string instruction. It is the same on every path of
   * execution, and so bounded in time that 200,000 units are far below a second.
   */
  readonly work: number;

  /** Gives the value of the read that IO or MMIO reported; the next run() replays the instruction. */
  completeRead(value: bigint): void;
  /** Confirms the write that IO or MMIO reported; the next run() replays the instruction. */
  completeWrite(): void;
  /** Forgets the completed accesses of the instruction: the next run() begins elsewhere. */
  dropReplay(): void;
  /** {@link completeRead} for values of at most 32 bits. */
  completeReadU32(value: number): void;
  /**
   * True from completeRead/completeWrite until the instruction has retired or faulted (or, for a REP
   * string instruction, until the iteration is done). No event may be injected meanwhile, and the
   * windows below do not report before it is over.
   */
  readonly replaying: boolean;
  /** The bytes of the instruction that left run() for IO or MMIO last: 16, with what follows it. */
  replayCode(): Uint8Array;
  /** Answers CPUID and moves rip past it. Values are u32. */
  completeCpuid(eax: number, ebx: number, ecx: number, edx: number): void;
  /** Answers RDMSR and moves rip past it. */
  completeRdmsr(value: bigint): void;
  /** Accepts WRMSR and moves rip past it. */
  completeWrmsr(): void;
  /** Moves rip `length` bytes on (in the width of the mode) and ends an interrupt shadow. */
  skipInstruction(length: number): void;

  /** Takes an external interrupt at the start of the next run(). At most one event per run(). */
  injectInterrupt(vector: number): void;
  /** Raises an exception at the start of the next run(); rip is that of the faulting instruction. */
  injectException(vector: number, errorCode: number | undefined): void;
  /** Takes an NMI at the start of the next run(). What masks further ones is the caller's. */
  injectNmi(): void;
  /** Forgets an event whose delivery has left run() for an access outside. */
  cancelInjection(): void;
  /** Takes that event back, to inject it another time; undefined when there is none. */
  takeInjection(): EngineEvent | undefined;
  /** KVM's emulator knows MOVNTDQA, whose operand may lie in device memory then. Write only. */
  emulatesMovntdqa: boolean;
  /** run() returns PAUSE after this many PAUSE instructions; 0 never. Write only. */
  pauseExit: number;
  /** RDMSR and WRMSR leave run() for every MSR, those that the engine keeps too. */
  msrExits: boolean;
  /**
   * Hides from the guest what its CPUID does not have; from then on its accesses to EFER and TSC_AUX leave run().
   * Nothing is hidden before.
   */
  hide(features: HiddenFeatures): void;
  /** 0 none, 1 after STI, 2 after MOV SS / POP SS. */
  interruptShadow: 0 | 1 | 2;
  /** IRET leaves run() before it is executed. Write only. */
  iretExit: boolean;
  /** What could be injected now: bits of {@link Ready}. */
  readonly ready: number;
  /**
   * Sets the following. `interrupt` is 0 for none, 1 for a window, or the linear address of
   * a byte: then there is only a window if that byte is not zero at the moment it would open.
   */
  setWindow(interrupt: number): void;
  /** See IRQ_WINDOW: RFLAGS.IF set, no shadow, no replay under way. Stays set until cleared here. */
  requestInterruptWindow: boolean;

  /**
   * Breakpoints of a debugger outside of the guest, in force instead of the guest's own: addresses as
   * in DR0 to DR3, and DR7 (0 for none).
   */
  watch(addresses: readonly bigint[], dr7: number): void;
  /**
   * Which of the guest's exceptions leave run() with DEBUG instead of being delivered: bits of {@link Intercept}.
   */
  intercept(exceptions: number): void;
  /**
   * The last #DB, #UD or #AC that an instruction raised, once. KVM for AMD intercepts these, and has queued them itself
   * when the guest gets them.
   */
  takeIntercepted(): EngineEvent | undefined;
  /**
   * DR6 bits of the traps that come before the next instruction; 0 for none. Behind an instruction that
   * needed an answer run() returns BUDGET with them: the next run() raises #DB, unless they are dropped.
   */
  readonly pendingTraps: number;
  /** Forgets the traps that wait. */
  dropTraps(): void;

  /** Added to the nanoseconds of the time source; RDTSC gives the sum modulo 2^64. */
  tscOffset: bigint;
  /** Virtual clock only: the time in nanoseconds at the start of the next run(). */
  setTime(nowNs: number): void;
}

/** Instructions that can be hidden: bits of {@link HiddenFeatures.instructions}. They raise #UD then. */
export const HiddenInstruction = { RDTSCP: 1, INVPCID: 2, RDPID: 4, MOVBE: 8 } as const;

/** What the processor has and the guest may not use. */
export interface HiddenFeatures {
  /** Bits of {@link HiddenInstruction}. */
  readonly instructions: number;
  /** Bits of CR4 for which MOV raises #GP(0), u64; of those beyond the processor's it does anyway. */
  readonly cr4: bigint;
  /** Bits of XCR0 for which XSETBV does, u64. */
  readonly xcr0: bigint;
}

/** Makes engines; what `Kvm.open` is given, `engine/bridge`'s Engine fits. */
export interface EngineFactory {
  createVm(): EngineVm;
}

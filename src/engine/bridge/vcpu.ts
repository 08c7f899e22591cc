import { assert, type Gpa, type Gva, gpa, type Hva } from "../../base/index.js";
import type { LinearMemory } from "../../memory/index.js";
import type { WasmVm } from "./engine.js";
import { readFpuImage, writeFpuImage } from "./fpu-image.js";
import { readKept, writeKept } from "./kept-state.js";
import {
  type DescriptorTable,
  type EngineEvent,
  EngineExit,
  type EngineExitCode,
  type EngineExitInfo,
  type EngineKept,
  type EngineVcpu,
  type HiddenFeatures,
  Ready,
  type Segment,
} from "./port.js";
import { packAttributes, unpackAttributes } from "./segment.js";
import { Cpu } from "./state.gen.js";

const ACCESS = { read: 0, write: 1, fetch: 2 } as const;
/** INJECT: an event to deliver (cpu/events.ts). */
const INJECT_PRESENT = 0x80000000;
const INJECT_NMI = 1 << 8;
const INJECT_EXCEPTION = 2 << 8;
const INJECT_HAS_ERROR = 1 << 10;
/** FAULT: the fault has an error code. */
const FAULT_HAS_ERROR = 0x100;
/** @nolimit more accesses than one instruction can make */
const MAX_REPLAY = 64;
const RCX = 1;

/** MSR_EXITS: all; those that CPUID rules. */
const MSR_EXITS_ALL = 1;
const MSR_EXITS_RULED = 2;

/** SHADOW behind MOV SS. */
const SHADOW_SS = 2;

/** RFLAGS bits as FLAGS holds them. */
const FLAGS_TF = 0x100;
const FLAGS_IF = 0x200;
const FLAGS_RF = 0x10000;
const TWO_32 = 0x1_0000_0000;

/** The exit's words in the state block, read when someone asks. */
class ExitInfo implements EngineExitInfo {
  readonly #vcpu: WasmVcpu;
  /** Code of the last exit. */
  code = 0;

  constructor(vcpu: WasmVcpu) {
    this.#vcpu = vcpu;
  }

  get write(): boolean {
    return this.#vcpu.word(Cpu.EXIT_WRITE) !== 0;
  }
  get address(): number {
    const vcpu = this.#vcpu;
    if (this.code === EngineExit.RDMSR || this.code === EngineExit.WRMSR) return vcpu.gprLow(RCX);
    return vcpu.word(Cpu.EXIT_ADDR) + vcpu.word(Cpu.EXIT_ADDR + 4) * TWO_32;
  }
  get size(): number {
    return this.#vcpu.word(Cpu.EXIT_SIZE);
  }
  get data(): bigint {
    return BigInt(this.dataLow) | (BigInt(this.dataHigh) << 32n);
  }
  get dataLow(): number {
    return this.#vcpu.word(Cpu.EXIT_DATA);
  }
  get dataHigh(): number {
    return this.#vcpu.word(Cpu.EXIT_DATA + 4);
  }
  get aux(): number {
    const isInternal = this.code === EngineExit.INTERNAL;
    return this.#vcpu.word(isInternal ? Cpu.EXIT_DATA : Cpu.EXIT_AUX);
  }
}

/**
 * One vCPU of the WebAssembly engine: a typed view of its state block and the way into the core.
 * Everything but {@link run} may be used between runs only.
 */
export class WasmVcpu implements EngineVcpu {
  readonly index: number;
  /** Where the state lies while another vCPU of the VM is in the core's block. */
  readonly save: Hva;
  /** Where the state lies now; kept by {@link WasmVm.load}. */
  state: Hva;
  /** The VM's memory, at hand: accesses as short as those below are inlined by V8 without limit. */
  #view: DataView;
  /** The same in words: a public field, whose accesses are short enough. */
  words: Uint32Array;
  readonly exit = new ExitInfo(this);
  work = 0;
  readonly #vm: WasmVm;
  readonly #linear: LinearMemory;
  readonly #tlb: Hva;
  /** The TLB's entries have been made empty: most of a VM's memory for a vCPU that never runs. */
  #tlbReady = false;

  constructor(vm: WasmVm, index: number, save: Hva, tlb: Hva, seed: bigint) {
    this.#vm = vm;
    this.#linear = vm.linear;
    this.index = index;
    this.#tlb = tlb;
    this.save = save;
    this.state = save;
    this.#view = vm.linear.view;
    this.words = vm.linear.u32;
    this.#put32(Cpu.TLB_ALL, tlb);
    this.#put32(Cpu.TLB, tlb);
    this.#put32(Cpu.CPU_INDEX, index);
    this.#put32(Cpu.FCW, 0x37f);
    this.#put32(Cpu.MXCSR, 0x1f80);
    this.#put64(Cpu.XCR0, 1n);
    this.#put64(Cpu.RNG, seed);
  }

  gpr(index: number): bigint {
    return this.#get64(Cpu.GPR + index * 8);
  }
  setGpr(index: number, value: bigint): void {
    this.#put64(Cpu.GPR + index * 8, value);
  }
  gprLow(index: number): number {
    return this.#get32(Cpu.GPR + index * 8);
  }
  gprHigh(index: number): number {
    return this.#get32(Cpu.GPR + index * 8 + 4);
  }
  setGprNumber(index: number, value: number): void {
    this.#put32(Cpu.GPR + index * 8, value);
    this.#put32(Cpu.GPR + index * 8 + 4, value < 0 ? -1 : 0);
  }

  get rip(): bigint {
    return this.#get64(Cpu.RIP);
  }
  set rip(value: bigint) {
    this.#put64(Cpu.RIP, value);
  }
  get rflags(): bigint {
    this.#vm.load(this);
    return BigInt.asUintN(64, this.#vm.core.getFlags());
  }
  set rflags(value: bigint) {
    this.#vm.load(this);
    this.#vm.core.setFlags(value);
  }
  get interruptFlag(): boolean {
    return (this.#get32(Cpu.FLAGS) & FLAGS_IF) !== 0;
  }
  get cr0(): bigint {
    return this.#get64(Cpu.CR0);
  }
  set cr0(value: bigint) {
    this.#put64(Cpu.CR0, value);
  }
  get cr2(): bigint {
    return this.#get64(Cpu.CR2);
  }
  set cr2(value: bigint) {
    this.#put64(Cpu.CR2, value);
  }
  get cr3(): bigint {
    return this.#get64(Cpu.CR3);
  }
  set cr3(value: bigint) {
    this.#put64(Cpu.CR3, value);
  }
  get cr4(): bigint {
    return this.#get64(Cpu.CR4);
  }
  set cr4(value: bigint) {
    this.#put64(Cpu.CR4, value);
  }
  get cr8(): number {
    return Number(this.#get64(Cpu.CR8));
  }
  set cr8(value: number) {
    this.#put64(Cpu.CR8, BigInt(value));
  }
  get efer(): bigint {
    return this.#get64(Cpu.EFER);
  }
  set efer(value: bigint) {
    this.#put64(Cpu.EFER, value);
  }
  get xcr0(): bigint {
    return this.#get64(Cpu.XCR0);
  }
  set xcr0(value: bigint) {
    this.#put64(Cpu.XCR0, value);
  }

  segment(index: number): Segment {
    const at = Cpu.SEG + index * 16;
    return unpackAttributes(
      this.#get16(at),
      this.#get16(at + 2),
      this.#get32(at + 4),
      this.#get64(at + 8),
    );
  }
  setSegment(index: number, value: Segment): void {
    const at = Cpu.SEG + index * 16;
    this.#put16(at, value.selector);
    this.#put16(at + 2, packAttributes(value));
    this.#put32(at + 4, value.limit);
    this.#put64(at + 8, value.base);
  }
  gdt(): DescriptorTable {
    return { base: this.#get64(Cpu.GDT_BASE), limit: this.#get32(Cpu.GDT_LIMIT) };
  }
  setGdt(value: DescriptorTable): void {
    this.#put64(Cpu.GDT_BASE, value.base);
    this.#put32(Cpu.GDT_LIMIT, value.limit);
  }
  idt(): DescriptorTable {
    return { base: this.#get64(Cpu.IDT_BASE), limit: this.#get32(Cpu.IDT_LIMIT) };
  }
  setIdt(value: DescriptorTable): void {
    this.#put64(Cpu.IDT_BASE, value.base);
    this.#put32(Cpu.IDT_LIMIT, value.limit);
  }
  dr(index: number): bigint {
    return this.#get64(drOffset(index));
  }
  setDr(index: number, value: bigint): void {
    this.#put64(drOffset(index), value);
    if (index !== 6) this.#updateBreakpoints();
  }
  #updateBreakpoints(): void {
    this.#vm.load(this);
    this.#vm.core.updateBreakpoints();
  }

  readMsr(index: number): bigint | undefined {
    this.#vm.load(this);
    if (!this.#vm.core.msrKnown(index)) return undefined;
    return BigInt.asUintN(64, this.#vm.core.hostReadMsr(index));
  }
  writeMsr(index: number, value: bigint): boolean {
    this.#vm.load(this);
    return this.#vm.core.hostWriteMsr(index, value) !== 0;
  }

  /** One of the 16 bytes of XMM register `index` as two halves, low first; for tests and tools. */
  xmm(index: number): readonly [bigint, bigint] {
    const at = Cpu.XMM + index * 16;
    return [this.#get64(at), this.#get64(at + 8)];
  }

  fpu(): Uint8Array {
    return readFpuImage(this.#linear.u8, this.state);
  }
  setFpu(image: Uint8Array): void {
    writeFpuImage(this.#linear.u8, this.state, image);
  }

  get cpl(): number {
    return this.#get32(Cpu.CPL);
  }
  get longMode64(): boolean {
    return this.#get32(Cpu.CODE_SIZE) === 2;
  }
  syncSregs(): void {
    this.#vm.load(this);
    this.#vm.core.syncMode();
  }
  translate(
    address: Gva,
    access: "read" | "write" | "fetch",
    cpl: number = this.cpl,
  ): Gpa | undefined {
    this.#vm.load(this);
    const found = this.#vm.core.hostTranslate(address, ACCESS[access], cpl);
    return found === -1n ? undefined : gpa(Number(BigInt.asUintN(64, found)));
  }

  translateRead(low: number, high: number): number {
    const vm = this.#vm;
    vm.load(this);
    return vm.core.hostTranslateParts(low, high, ACCESS.read, this.cpl);
  }

  run(maxWork: number): EngineExitCode {
    const vm = this.#vm;
    vm.load(this);
    if (!this.#tlbReady) {
      this.#tlbReady = true;
      vm.core.prepareTlbArea(this.#tlb);
    }
    const code = vm.core.run(maxWork) as EngineExitCode;
    vm.compiler?.compileHot();
    this.work = this.#get32(Cpu.WORK);
    this.exit.code = code;
    return code;
  }

  get kept(): EngineKept {
    return readKept({ view: this.#view, at: this.state });
  }
  set kept(kept: EngineKept) {
    writeKept({ view: this.#view, at: this.state }, kept);
  }

  get instructions(): number {
    return this.#get32(Cpu.ICOUNT) + this.#get32(Cpu.ICOUNT + 4) * TWO_32;
  }

  completeRead(value: bigint): void {
    this.#put64(this.#replaySlot(), value);
  }
  completeReadU32(value: number): void {
    const slot = this.#replaySlot();
    this.#put32(slot, value);
    this.#put32(slot + 4, 0);
  }
  completeWrite(): void {
    this.completeReadU32(0);
  }
  /** Takes the next entry of the list of completed accesses. */
  #replaySlot(): number {
    const count = this.#get32(Cpu.REPLAY_COUNT);
    assert(count < MAX_REPLAY, "engine: too many device accesses in one instruction");
    this.#put32(Cpu.REPLAY_COUNT, count + 1);
    return Cpu.REPLAY + count * 8;
  }
  dropReplay(): void {
    this.#put32(Cpu.REPLAY_COUNT, 0);
  }
  get replaying(): boolean {
    return this.#get32(Cpu.REPLAY_COUNT) !== 0;
  }
  replayCode(): Uint8Array {
    const at = this.state + Cpu.REPLAY_CODE;
    return this.#linear.u8.slice(at, at + 16);
  }
  completeCpuid(eax: number, ebx: number, ecx: number, edx: number): void {
    this.setGprNumber(0, eax >>> 0);
    this.setGprNumber(3, ebx >>> 0);
    this.setGprNumber(1, ecx >>> 0);
    this.setGprNumber(2, edx >>> 0);
    this.#retire(this.#get32(Cpu.EXIT_SIZE));
  }
  completeRdmsr(value: bigint): void {
    this.setGprNumber(0, Number(value & 0xffffffffn));
    this.setGprNumber(2, Number((value >> 32n) & 0xffffffffn));
    this.#retire(this.#get32(Cpu.EXIT_SIZE));
  }
  completeWrmsr(): void {
    this.#retire(this.#get32(Cpu.EXIT_SIZE));
  }
  skipInstruction(length: number): void {
    this.#retire(length);
  }
  /** The instruction was executed outside the core: moves on and counts it. */
  #retire(length: number): void {
    const low = this.#get32(Cpu.RIP) + length;
    const size = this.#get32(Cpu.CODE_SIZE);
    this.#put32(Cpu.RIP, size === 0 ? low & 0xffff : low);
    if (size !== 2) this.#put32(Cpu.RIP + 4, 0);
    else if (low >= TWO_32) this.#put32(Cpu.RIP + 4, this.#get32(Cpu.RIP + 4) + 1);
    this.#put32(Cpu.SHADOW, 0);
    if ((this.#get32(Cpu.FLAGS) & (FLAGS_TF | FLAGS_RF)) !== 0) {
      this.#vm.load(this);
      this.#vm.core.retiredOutside();
    }
    const count = this.#get32(Cpu.ICOUNT) + 1;
    this.#put32(Cpu.ICOUNT, count);
    if (count === TWO_32) this.#put32(Cpu.ICOUNT + 4, this.#get32(Cpu.ICOUNT + 4) + 1);
  }

  injectInterrupt(vector: number): void {
    this.#put32(Cpu.INJECT, INJECT_PRESENT | vector);
  }
  injectException(vector: number, errorCode: number | undefined): void {
    const error = errorCode === undefined ? 0 : INJECT_HAS_ERROR;
    this.#put32(Cpu.INJECT, INJECT_PRESENT | INJECT_EXCEPTION | error | vector);
    this.#put32(Cpu.INJECT_ERR, errorCode ?? 0);
  }
  injectNmi(): void {
    this.#put32(Cpu.INJECT, INJECT_PRESENT | INJECT_NMI | 2);
  }
  takeInjection(): EngineEvent | undefined {
    const event = this.#get32(Cpu.INJECT);
    if (event === 0) return undefined;
    this.#put32(Cpu.INJECT, 0);
    const type = (["interrupt", "nmi", "exception"] as const)[(event >>> 8) & 3];
    if (type === undefined) return undefined;
    const errorCode = (event & INJECT_HAS_ERROR) === 0 ? undefined : this.#get32(Cpu.INJECT_ERR);
    return { type, vector: event & 0xff, errorCode };
  }
  cancelInjection(): void {
    this.#put32(Cpu.INJECT, 0);
  }
  get interruptShadow(): 0 | 1 | 2 {
    return this.#get32(Cpu.SHADOW) as 0 | 1 | 2;
  }
  set interruptShadow(value: 0 | 1 | 2) {
    this.#put32(Cpu.SHADOW, value);
  }
  set iretExit(value: boolean) {
    this.#put32(Cpu.IRET_EXIT, value ? 1 : 0);
  }
  get ready(): number {
    const waits =
      (this.#get32(Cpu.REPLAY_COUNT) | this.#get32(Cpu.INJECT) | this.pendingTraps) !== 0;
    let bits = waits ? 0 : Ready.EVENTS;
    if (this.#get32(Cpu.SHADOW) !== 0) return bits;
    if ((this.#get32(Cpu.FLAGS) & FLAGS_IF) !== 0) bits |= Ready.INTERRUPT;
    return bits;
  }
  setWindow(interrupt: number): void {
    this.#put32(Cpu.IRQ_WINDOW, interrupt);
  }
  watch(addresses: readonly bigint[], dr7: number): void {
    for (let i = 0; i < 4; i++) this.#put64(Cpu.WATCH + i * 8, addresses[i] ?? 0n);
    this.#put32(Cpu.WATCH_DR7, dr7);
    this.#updateBreakpoints();
  }
  intercept(exceptions: number): void {
    this.#put32(Cpu.INTERCEPTS, exceptions);
  }
  takeIntercepted(): EngineEvent | undefined {
    const fault = this.#get32(Cpu.INTERCEPTED);
    if (fault === 0) return undefined;
    this.#put32(Cpu.INTERCEPTED, 0);
    // Of the three only #AC has an error code, which is 0.
    const errorCode = (fault & FAULT_HAS_ERROR) === 0 ? undefined : 0;
    return { type: "exception", vector: fault & 0xff, errorCode };
  }
  get pendingTraps(): number {
    return this.#get32(Cpu.SHADOW) === SHADOW_SS ? 0 : this.#get32(Cpu.DEBUG_PENDING);
  }
  dropTraps(): void {
    this.#put32(Cpu.DEBUG_PENDING, 0);
  }
  get requestInterruptWindow(): boolean {
    return this.#get32(Cpu.IRQ_WINDOW) !== 0;
  }
  set requestInterruptWindow(value: boolean) {
    this.#put32(Cpu.IRQ_WINDOW, value ? 1 : 0);
  }
  get tscOffset(): bigint {
    return this.#get64(Cpu.TSC_OFFSET);
  }
  set tscOffset(value: bigint) {
    this.#put64(Cpu.TSC_OFFSET, value);
  }
  setTime(nowNs: number): void {
    const now = Math.floor(nowNs);
    this.#put32(Cpu.TIME_BASE, now % TWO_32);
    this.#put32(Cpu.TIME_BASE + 4, now / TWO_32);
  }
  get msrExits(): boolean {
    return (this.#get32(Cpu.MSR_EXITS) & MSR_EXITS_ALL) !== 0;
  }
  set msrExits(value: boolean) {
    const others = this.#get32(Cpu.MSR_EXITS) & ~MSR_EXITS_ALL;
    this.#put32(Cpu.MSR_EXITS, others | (value ? MSR_EXITS_ALL : 0));
  }
  hide({ instructions, cr4, xcr0 }: HiddenFeatures): void {
    this.#put32(Cpu.HIDDEN, instructions);
    this.#put64(Cpu.CR4_HIDDEN, cr4);
    this.#put64(Cpu.XCR0_HIDDEN, xcr0);
    this.#put32(Cpu.MSR_EXITS, this.#get32(Cpu.MSR_EXITS) | MSR_EXITS_RULED);
  }
  set emulatesMovntdqa(yes: boolean) {
    this.#put32(Cpu.EMULATOR, Number(yes));
  }
  /** Leave run() after this many PAUSE instructions; 0 never. */
  set pauseExit(count: number) {
    this.#put32(Cpu.PAUSE_EXIT, count);
  }

  /** The VM's memory has grown: the views of it are new ones. */
  remapped(): void {
    this.#view = this.#linear.view;
    this.words = this.#linear.u32;
  }

  /** A u32 of the state block, for the parts of the bridge. */
  word(offset: number): number {
    return this.#get32(offset);
  }

  #get16(offset: number): number {
    return this.#view.getUint16(this.state + offset, true);
  }
  #get32(offset: number): number {
    return this.words[(this.state + offset) >>> 2] as number;
  }
  #get64(offset: number): bigint {
    return this.#view.getBigUint64(this.state + offset, true);
  }
  #put16(offset: number, value: number): void {
    this.#view.setUint16(this.state + offset, value, true);
  }
  #put32(offset: number, value: number): void {
    this.words[(this.state + offset) >>> 2] = value;
  }
  #put64(offset: number, value: bigint): void {
    this.#view.setBigUint64(this.state + offset, BigInt.asUintN(64, value), true);
  }
}

function drOffset(index: number): number {
  assert(index <= 3 || index === 6 || index === 7, "debug register number");
  const offsets = [Cpu.DR0, Cpu.DR1, Cpu.DR2, Cpu.DR3, 0, 0, Cpu.DR6, Cpu.DR7];
  return offsets[index] as number;
}

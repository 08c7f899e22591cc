import { assert, type Gpa, type Gva, gpa, type Hva } from "../../base/index.js";
import type { WasmVm } from "./engine.js";
import { readFpuImage, writeFpuImage } from "./fpu-image.js";
import type {
  DescriptorTable,
  EngineExitCode,
  EngineExitInfo,
  EngineVcpu,
  Segment,
} from "./port.js";
import { packAttributes, unpackAttributes } from "./segment.js";
import { Cpu } from "./state.gen.js";

const ACCESS = { read: 0, write: 1, fetch: 2 } as const;
/** INJECT: an event to deliver (cpu/events.ts). */
const INJECT_PRESENT = 0x80000000;
const INJECT_NMI = 1 << 8;
const INJECT_EXCEPTION = 2 << 8;
const INJECT_HAS_ERROR = 1 << 10;
const MAX_REPLAY = 64;
const RCX = 1;

class ExitInfo implements EngineExitInfo {
  write = false;
  address = 0;
  size = 0;
  data = 0n;
  aux = 0;
}

/**
 * One vCPU of the WebAssembly engine: a typed view of its state block and the way into the core.
 * Everything but {@link run} may be used between runs only.
 */
export class WasmVcpu implements EngineVcpu {
  readonly index: number;
  /** Where the state lies while another vCPU of the VM is in the core's block. */
  readonly save: Hva;
  readonly exit = new ExitInfo();
  readonly #vm: WasmVm;

  constructor(vm: WasmVm, index: number, save: Hva, tlb: Hva, seed: bigint) {
    this.#vm = vm;
    this.index = index;
    this.save = save;
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
    return readFpuImage(this.#vm.linear.u8, this.#at(0));
  }
  setFpu(image: Uint8Array): void {
    writeFpuImage(this.#vm.linear.u8, this.#at(0), image);
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

  run(maxInstructions: number): EngineExitCode {
    this.#vm.load(this);
    const code = this.#vm.core.run(maxInstructions) as EngineExitCode;
    if (code >= 2 && code <= 8) this.#readExit(code);
    else if (code === 13) this.exit.aux = Number(this.#get64(Cpu.EXIT_DATA));
    return code;
  }

  #readExit(code: number): void {
    const exit = this.exit;
    exit.write = this.#get32(Cpu.EXIT_WRITE) !== 0;
    exit.size = this.#get32(Cpu.EXIT_SIZE);
    exit.data = this.#get64(Cpu.EXIT_DATA);
    exit.aux = this.#get32(Cpu.EXIT_AUX);
    exit.address =
      code === 7 || code === 8
        ? Number(this.gpr(RCX) & 0xffffffffn)
        : Number(this.#get64(Cpu.EXIT_ADDR));
  }

  get instructions(): number {
    return Number(this.#get64(Cpu.ICOUNT));
  }

  completeRead(value: bigint): void {
    const count = this.#get32(Cpu.REPLAY_COUNT);
    assert(count < MAX_REPLAY, "engine: too many device accesses in one instruction");
    this.#put64(Cpu.REPLAY + count * 8, value);
    this.#put32(Cpu.REPLAY_COUNT, count + 1);
  }
  completeWrite(): void {
    this.completeRead(0n);
  }
  get replaying(): boolean {
    return this.#get32(Cpu.REPLAY_COUNT) !== 0;
  }
  completeCpuid(eax: number, ebx: number, ecx: number, edx: number): void {
    this.setGpr(0, BigInt(eax >>> 0));
    this.setGpr(3, BigInt(ebx >>> 0));
    this.setGpr(1, BigInt(ecx >>> 0));
    this.setGpr(2, BigInt(edx >>> 0));
    this.#retire(2);
  }
  completeRdmsr(value: bigint): void {
    this.setGpr(0, value & 0xffffffffn);
    this.setGpr(2, (value >> 32n) & 0xffffffffn);
    this.#retire(2);
  }
  completeWrmsr(): void {
    this.#retire(2);
  }
  skipInstruction(length: number): void {
    this.#retire(length);
  }
  /** The instruction was executed outside the core: moves on and counts it. */
  #retire(length: number): void {
    const next = this.rip + BigInt(length);
    const size = this.#get32(Cpu.CODE_SIZE);
    this.rip = size === 2 ? next : BigInt.asUintN(size === 1 ? 32 : 16, next);
    this.#put32(Cpu.SHADOW, 0);
    this.#vm.load(this);
    this.#vm.core.retiredOutside();
    this.#put64(Cpu.ICOUNT, this.#get64(Cpu.ICOUNT) + 1n);
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
  get interruptShadow(): 0 | 1 | 2 {
    return this.#get32(Cpu.SHADOW) as 0 | 1 | 2;
  }
  set interruptShadow(value: 0 | 1 | 2) {
    this.#put32(Cpu.SHADOW, value);
  }
  get nmiMasked(): boolean {
    return this.#get32(Cpu.NMI_MASKED) !== 0;
  }
  set nmiMasked(value: boolean) {
    this.#put32(Cpu.NMI_MASKED, value ? 1 : 0);
  }
  get requestInterruptWindow(): boolean {
    return this.#get32(Cpu.IRQ_WINDOW) !== 0;
  }
  set requestInterruptWindow(value: boolean) {
    this.#put32(Cpu.IRQ_WINDOW, value ? 1 : 0);
  }
  get requestNmiWindow(): boolean {
    return this.#get32(Cpu.NMI_WINDOW) !== 0;
  }
  set requestNmiWindow(value: boolean) {
    this.#put32(Cpu.NMI_WINDOW, value ? 1 : 0);
  }
  get tscOffset(): bigint {
    return this.#get64(Cpu.TSC_OFFSET);
  }
  set tscOffset(value: bigint) {
    this.#put64(Cpu.TSC_OFFSET, value);
  }
  setTime(nowNs: number): void {
    this.#put64(Cpu.TIME_BASE, BigInt(Math.floor(nowNs)));
  }
  /** Leave run() after this many PAUSE instructions; 0 never. */
  set pauseExit(count: number) {
    this.#put32(Cpu.PAUSE_EXIT, count);
  }

  #at(offset: number): number {
    return this.#vm.stateOf(this) + offset;
  }
  #get16(offset: number): number {
    return this.#vm.linear.view.getUint16(this.#at(offset), true);
  }
  #get32(offset: number): number {
    return this.#vm.linear.view.getUint32(this.#at(offset), true);
  }
  #get64(offset: number): bigint {
    return this.#vm.linear.view.getBigUint64(this.#at(offset), true);
  }
  #put16(offset: number, value: number): void {
    this.#vm.linear.view.setUint16(this.#at(offset), value, true);
  }
  #put32(offset: number, value: number): void {
    this.#vm.linear.view.setUint32(this.#at(offset), value, true);
  }
  #put64(offset: number, value: bigint): void {
    this.#vm.linear.view.setBigUint64(this.#at(offset), BigInt.asUintN(64, value), true);
  }
}

function drOffset(index: number): number {
  assert(index <= 3 || index === 6 || index === 7, "debug register number");
  const offsets = [Cpu.DR0, Cpu.DR1, Cpu.DR2, Cpu.DR3, 0, 0, Cpu.DR6, Cpu.DR7];
  return offsets[index] as number;
}

import { type Gpa, type Gva, type Hva, hva } from "../../base/index.js";
import {
  type DescriptorTable,
  type EngineCounters,
  EngineExit,
  type EngineExitCode,
  type EngineKept,
  type EngineSlot,
  type EngineTsc,
  type EngineVcpu,
  type EngineVm,
  type HiddenFeatures,
  Ready,
  type Segment,
} from "../../engine/bridge/port.js";
import { Counter } from "../../engine/bridge/state.gen.js";
import { LinearMemory } from "../../memory/index.js";

/** What a scripted vCPU does in one run: retires instructions and exits. */
export interface Step {
  readonly retire?: number;
  readonly code: EngineExitCode;
  readonly write?: boolean;
  readonly address?: number;
  readonly size?: number;
  readonly data?: bigint;
  readonly aux?: number;
  /** Called with the vCPU when the step is taken. */
  readonly effect?: (vcpu: FakeVcpu) => void;
}

const noSegment = (): Segment => ({
  selector: 0,
  base: 0n,
  limit: 0,
  type: 0,
  present: false,
  dpl: 0,
  db: false,
  s: false,
  l: false,
  g: false,
  avl: false,
  unusable: true,
});

/** A vCPU that executes a script; without one it uses up its budget. Addresses map one to one. */
export class FakeVcpu implements EngineVcpu {
  readonly script: Step[] = [];
  /** Everything that was injected, such as "irq 0x20". */
  readonly events: string[] = [];
  readonly completed: bigint[] = [];
  readonly #gprs = new BigUint64Array(16);
  readonly #segments = Array.from({ length: 8 }, noSegment);
  readonly #drs = new Map<number, bigint>();
  readonly msrs = new Map<number, bigint>([[0x277, 0x7040600070406n]]);
  #gdt: DescriptorTable = { base: 0n, limit: 0 };
  #idt: DescriptorTable = { base: 0n, limit: 0 };
  #fpu: Uint8Array = new Uint8Array(512);
  #steps = 0;
  kept: EngineKept = {
    ...{ instructions: 0n, random: 0n, pauses: 0, traps: 0, injection: 0, injectionError: 0 },
    ...{ shadow: 0, replay: [], replayCode: new Uint8Array(16), pdptes: [], fpuSelectors: [] },
  };
  rip = 0n;
  rflags = 2n;
  cr0 = 0n;
  cr2 = 0n;
  cr3 = 0n;
  cr4 = 0n;
  cr8 = 0;
  efer = 0n;
  xcr0 = 1n;
  cpl = 0;
  longMode64 = true;
  exit = { write: false, address: 0, size: 0, data: 0n, aux: 0, dataLow: 0, dataHigh: 0 };
  instructions = 0;
  work = 0;
  replaying = false;
  interruptShadow: 0 | 1 | 2 = 0;
  iretExit = false;
  requestInterruptWindow = false;
  emulatesMovntdqa = false;
  pauseExit = 0;
  msrExits = false;
  hidden: HiddenFeatures | undefined;
  tscOffset = 0n;
  time = 0;

  gpr(index: number): bigint {
    return this.#gprs[index] as bigint;
  }
  setGpr(index: number, value: bigint): void {
    this.#gprs[index] = value;
  }
  gprLow(index: number): number {
    return Number(BigInt.asUintN(32, this.gpr(index)));
  }
  gprHigh(index: number): number {
    return Number(this.gpr(index) >> 32n);
  }
  setGprNumber(index: number, value: number): void {
    this.setGpr(index, BigInt.asUintN(64, BigInt(value)));
  }
  get interruptFlag(): boolean {
    return (this.rflags & 0x200n) !== 0n;
  }
  segment(index: number): Segment {
    return { ...(this.#segments[index] as Segment) };
  }
  setSegment(index: number, value: Segment): void {
    this.#segments[index] = { ...value };
  }
  gdt(): DescriptorTable {
    return { ...this.#gdt };
  }
  setGdt(value: DescriptorTable): void {
    this.#gdt = { ...value };
  }
  idt(): DescriptorTable {
    return { ...this.#idt };
  }
  setIdt(value: DescriptorTable): void {
    this.#idt = { ...value };
  }
  dr(index: number): bigint {
    return this.#drs.get(index) ?? 0n;
  }
  setDr(index: number, value: bigint): void {
    this.#drs.set(index, value);
  }
  readMsr(index: number): bigint | undefined {
    return this.msrs.get(index);
  }
  writeMsr(index: number, value: bigint): boolean {
    if (!this.msrs.has(index)) return false;
    this.msrs.set(index, value);
    return true;
  }
  fpu(): Uint8Array {
    return this.#fpu.slice();
  }
  setFpu(image: Uint8Array): void {
    this.#fpu = image.slice();
  }
  syncSregs(): void {}
  translate(address: Gva): Gpa | undefined {
    return address < 1n << 40n ? (Number(address) as Gpa) : undefined;
  }

  translateRead(low: number, high: number): number {
    return this.translate((BigInt(low) | (BigInt(high) << 32n)) as Gva) ?? -1;
  }

  get ready(): number {
    const open = this.interruptShadow === 0;
    return (this.replaying ? 0 : Ready.EVENTS) | (open && this.interruptFlag ? Ready.INTERRUPT : 0);
  }
  hide(features: HiddenFeatures): void {
    this.hidden = features;
  }
  watch(_addresses: readonly bigint[], _dr7: number): void {}
  intercept(_exceptions: number): void {}
  readonly pendingTraps = 0;
  dropTraps(): void {}
  setWindow(interrupt: number): void {
    this.requestInterruptWindow = interrupt !== 0;
  }

  run(maxInstructions: number): EngineExitCode {
    const before = this.instructions;
    const code = this.#step(maxInstructions);
    this.work = this.instructions - before;
    return code;
  }

  #step(maxInstructions: number): EngineExitCode {
    this.#steps++;
    if (this.#steps > 100_000) throw new Error("fake engine: runaway");
    const windows = this.requestInterruptWindow && (this.rflags & 0x200n) !== 0n;
    if (windows && this.interruptShadow === 0 && !this.replaying) return EngineExit.IRQ_WINDOW;
    this.replaying = false;
    const step = this.script[0];
    const retire = step?.retire ?? 0;
    if (step === undefined || retire > maxInstructions) {
      this.instructions += maxInstructions;
      if (step !== undefined) {
        this.script[0] = { ...step, retire: retire - maxInstructions };
      }
      return EngineExit.BUDGET;
    }
    this.script.shift();
    this.instructions += retire;
    const { write = false, address = 0, size = 0, data = 0n, aux = 0 } = step;
    const dataLow = Number(BigInt.asUintN(32, data));
    const dataHigh = Number(BigInt.asUintN(64, data) >> 32n);
    this.exit = { write, address, size, data, aux, dataLow, dataHigh };
    step.effect?.(this);
    return step.code;
  }

  completeRead(value: bigint): void {
    this.completed.push(value);
    this.replaying = true;
  }
  dropReplay(): void {}
  cancelInjection(): void {}
  takeInjection(): undefined {}
  takeIntercepted(): undefined {}
  replayCode(): Uint8Array {
    return new Uint8Array(16);
  }
  completeWrite(): void {
    this.replaying = true;
  }
  completeReadU32(value: number): void {
    this.completeRead(BigInt(value));
  }
  completeCpuid(eax: number, ebx: number, ecx: number, edx: number): void {
    for (const [i, value] of [eax, ecx, edx, ebx].entries()) this.#gprs[i] = BigInt(value);
  }
  completeRdmsr(value: bigint): void {
    this.completed.push(value);
  }
  completeWrmsr(): void {
    this.events.push("wrmsr done");
  }
  skipInstruction(length: number): void {
    this.rip += BigInt(length);
  }
  injectInterrupt(vector: number): void {
    this.rflags &= ~0x200n;
    this.events.push(`irq 0x${vector.toString(16)}`);
  }
  injectException(vector: number, errorCode: number | undefined): void {
    this.events.push(`exception ${vector}${errorCode === undefined ? "" : ` (${errorCode})`}`);
  }
  injectNmi(): void {
    this.events.push("nmi");
  }
  setTime(nowNs: number): void {
    this.time = nowNs;
  }
}

/** The engine of a VM whose vCPUs follow scripts. */
export class FakeEngineVm implements EngineVm {
  /** How often distrustCode() was called. */
  distrusted = 0;
  readonly linear = new LinearMemory(new WebAssembly.Memory({ initial: 16, maximum: 4096 }), 65536);
  readonly vcpus: FakeVcpu[] = [];
  readonly slots: EngineSlot[] = [];
  /** Asks for the memory of the slot at a place, as an access does. */
  back: (place: number) => Hva = () => hva(0);
  tsc: EngineTsc | undefined;

  prepareVcpu(): boolean {
    return true;
  }

  createVcpu(): FakeVcpu {
    const vcpu = new FakeVcpu();
    this.vcpus.push(vcpu);
    return vcpu;
  }
  insertSlot(place: number, slot: EngineSlot): void {
    this.slots.splice(place, 0, slot);
  }
  removeSlot(place: number): void {
    this.slots.splice(place, 1);
  }
  onUnbacked(listener: (place: number) => Hva): void {
    this.back = listener;
  }
  clearDirty(): void {}
  distrustCode(): void {
    this.distrusted++;
  }
  noteWrite(_address: Hva, _length: number): void {}
  setFloating(_first: number, _count: number, _yes: boolean): void {}
  setTsc(source: EngineTsc): void {
    this.tsc = source;
  }
  counters(): EngineCounters {
    return Object.fromEntries(Object.keys(Counter).map((name) => [name, 0])) as EngineCounters;
  }
  close(): void {}
}

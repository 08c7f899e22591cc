import { assert, type Hva, hva } from "../../base/index.js";
import { LinearMemory } from "../../memory/index.js";
import type { CoreExports } from "./core-exports.js";
import type { EngineFactory, EngineSlot, EngineTsc, EngineVm } from "./port.js";
import { CPU_BYTES, Cpu, Layout } from "./state.gen.js";
import { WasmVcpu } from "./vcpu.js";

const WASM_PAGE = 65536;
/** Slots the core's table holds (SLOTS region, 32 bytes each). */
const MAX_SLOTS = 512;
/** PAUSE instructions after which a vCPU among several gives up its turn. */
const PAUSES_PER_EXIT = 16;
/** Keeps the random numbers of vCPUs apart: an odd number with bits everywhere. */
const SEED_STEP = 0xd1342543de82ef95n;

/** Settings of an engine. */
export interface EngineOptions {
  /** Decode every instruction each time instead of caching blocks: the slow reference path. */
  readonly decodeEach?: boolean;
  /** What RDRAND and RDSEED start from, 64 bits; the same seed gives the same numbers. */
  readonly seed?: bigint;
}

/**
 * The compiled engine core. One is enough for a process; every VM gets an instance with a memory of
 * its own.
 */
export class Engine implements EngineFactory {
  readonly #module: WebAssembly.Module;
  readonly #options: EngineOptions;

  private constructor(module: WebAssembly.Module, options: EngineOptions) {
    this.#module = module;
    this.#options = options;
  }

  /** Compiles the core from the bytes of `core.wasm`. */
  static async compile(bytes: Uint8Array, options: EngineOptions = {}): Promise<Engine> {
    return new Engine(await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>), options);
  }

  /** Makes the engine part of a new VM: memory, slots, no vCPU yet. */
  createVm(): WasmVm {
    return new WasmVm(this.#module, this.#options);
  }
}

/** The engine part of one VM. Implements the port that the kernel half programs against. */
export class WasmVm implements EngineVm {
  readonly linear: LinearMemory;
  /** The core's functions; for the vCPUs of this VM. */
  readonly core: CoreExports;
  #now: () => number = () => 0;
  #virtual = false;
  #current: WasmVcpu | undefined;
  #vcpus = 0;
  readonly #all: WasmVcpu[] = [];
  readonly #seed: bigint;

  constructor(module: WebAssembly.Module, options: EngineOptions) {
    const memory = new WebAssembly.Memory({ initial: Layout.END / WASM_PAGE, maximum: 65536 });
    this.linear = new LinearMemory(memory, Layout.END);
    this.#seed = options.seed ?? 0n;
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory,
        abort: () => assert(false, "engine core: abort"),
        hostClockNs: () => this.#now(),
      },
    });
    this.core = instance.exports as unknown as CoreExports;
    this.core.initMmu();
    this.core.dropBlocks();
    this.core.setDecodeEach(options.decodeEach === true ? 1 : 0);
    this.linear.onWrite((address, length) => this.core.hostWrote(address, length));
  }

  /** Makes the next vCPU; its index is the order of creation. */
  createVcpu(): WasmVcpu {
    const index = this.#vcpus++;
    const save = this.linear.allocate(CPU_BYTES);
    const tlb = this.linear.allocate(this.core.tlbAreaBytes());
    assert(save !== undefined && tlb !== undefined, "engine: no memory for a vCPU");
    this.core.setTlbArea(index, tlb);
    const seed = this.#seed + BigInt(index) * SEED_STEP;
    const vcpu = new WasmVcpu(this, index, save, tlb, seed);
    this.#all.push(vcpu);
    // A vCPU that spins waits for one that needs the thread.
    if (index > 0) for (const each of this.#all) each.pauseExit = PAUSES_PER_EXIT;
    this.linear.view.setUint32(save + Cpu.VIRTUAL_TIME, this.#virtual ? 1 : 0, true);
    return vcpu;
  }

  /** Makes `vcpu` the one whose state is in the core's block. */
  load(vcpu: WasmVcpu): void {
    if (this.#current === vcpu) return;
    const memory = this.linear.u8;
    if (this.#current) {
      memory.copyWithin(this.#current.save, Layout.CPU, Layout.CPU + CPU_BYTES);
    }
    memory.copyWithin(Layout.CPU, vcpu.save, vcpu.save + CPU_BYTES);
    this.#current = vcpu;
  }

  /** Where the state block of `vcpu` is now. */
  stateOf(vcpu: WasmVcpu): Hva {
    return this.#current === vcpu ? hva(Layout.CPU) : vcpu.save;
  }

  setSlots(slots: readonly EngineSlot[]): void {
    assert(slots.length <= MAX_SLOTS, "engine: too many slots");
    const sorted = [...slots].sort((a, b) => a.gpa - b.gpa);
    sorted.forEach((slot, i) => {
      const flags = slot.readonly ? 1 : 0;
      this.core.setSlot(i, BigInt(slot.gpa), BigInt(slot.size), slot.hva, flags, slot.dirtyBitmap);
    });
    this.core.setSlotCount(slots.length);
    this.core.flushAllVcpus();
  }

  clearDirty(): void {
    this.core.dropAllWriteTags();
  }

  noteWrite(address: Hva, length: number): void {
    this.core.hostWrote(address, length);
  }

  setTsc(source: EngineTsc): void {
    this.#virtual = source === "instructions";
    if (source !== "instructions") this.#now = source;
  }

  close(): void {
    this.#current = undefined;
  }
}

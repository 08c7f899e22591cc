import { assert, type Hva, hva } from "../../base/index.js";
import { LinearMemory } from "../../memory/index.js";
import type { Compiler } from "../jit/compiler.js";
import { type CompilerSettings, DEFAULT_SETTINGS, writeSettings } from "../jit/settings.js";
import { compileCore, warmCore } from "./compile-core.js";
import type { CoreExports } from "./core-exports.js";
import { LaterCompiler } from "./later-compiler.js";
import {
  type EngineCounters,
  type EngineFactory,
  EngineLimit,
  type EngineSlot,
  type EngineTsc,
  type EngineVm,
} from "./port.js";
import { Counter, CPU_BYTES, Cpu, Layout } from "./state.gen.js";
import { WasmVcpu } from "./vcpu.js";

const WASM_PAGE = 65536;
/**
 * 4 GiB but for the last page, which an entry of the TLB that is not in use leads to: see mmu/tlb.ts.
 * @limit client | linear memory of a VM: guest memory and the engine's tables | pages of 64 KiB | ENOMEM, as where
 *   Linux has no memory
 */
const MAX_PAGES = 65535;
const PAGE_SHIFT = 12;
/** More than Linux needs to get to 64 bits; a boot loader soon has them behind it. @nolimit of a choice, not of a guest */
const SINGLE_32 = 16384;
/** PAUSE instructions after which a vCPU among several gives up its turn. */
const PAUSES_PER_EXIT = 16;
/** Keeps the random numbers of vCPUs apart: an odd number with bits everywhere. */
const SEED_STEP = 0xd1342543de82ef95n;

/**
 * The ways to execute code. All give the same results, to the last instruction: `each` decodes every
 * instruction each time, by the complete handlers, and is the reference; `cached` interprets decoded blocks; `compiled`
 * compiles those that run often to WebAssembly at run time, where the host allows it.
 */
export type DecodePath = "each" | "cached" | "compiled";

/** Settings of an engine. */
export interface EngineOptions {
  /** How code is executed; see {@link DecodePath}. Default: compiled. */
  readonly decode?: DecodePath;
  /** What RDRAND and RDSEED start from, 64 bits; the same seed gives the same numbers. */
  readonly seed?: bigint;
  /** Instructions of flat 32-bit code that each VM does one by one before it keeps any decoded. Default: 16384. */
  readonly single32?: number;
  /** When code is compiled; what is absent has its default. */
  readonly compile?: Partial<CompilerSettings>;
  /**
   * The compiler's code is loaded when a guest has code to compile, not before the first VM, and what is hot is interpreted until it
   * is there: for pages, which should begin soon. The results are the same.
   */
  readonly compilerLater?: boolean;
}

/** The modules of the compiler. */
type CompilerModule = Pick<typeof import("../jit/compiler.js"), "Compiler">;

/**
 * The compiled engine core. One is enough for a process; every VM gets an instance with a memory of
 * its own.
 */
export class Engine implements EngineFactory {
  readonly #module: WebAssembly.Module;
  readonly #options: EngineOptions;
  readonly #jit: CompilerModule | undefined;

  /** Whether V8 was told what will be used most. */
  #warm: boolean;

  private constructor(
    module: WebAssembly.Module,
    options: EngineOptions,
    jit: CompilerModule | undefined,
    warm: boolean,
  ) {
    this.#module = module;
    this.#options = options;
    this.#jit = jit;
    this.#warm = warm || options.decode === "each";
  }

  /** Compiles the core from the bytes of `core.wasm`. */
  static async compile(bytes: Uint8Array, options: EngineOptions = {}): Promise<Engine> {
    const [module, jit] = await Promise.all([compileCore(bytes), compilerFor(options)]);
    return new Engine(module, options, jit, false);
  }

  /** The engine of a core that was compiled, and warmed up, before: see compile-core.ts. */
  static async of(module: WebAssembly.Module, options: EngineOptions = {}): Promise<Engine> {
    return new Engine(module, options, await compilerFor(options), true);
  }

  /** Makes the engine part of a new VM: memory, slots, no vCPU yet. */
  createVm(): WasmVm {
    // Not before: under `exec` there are programs that make none.
    if (!this.#warm) warmCore(this.#module);
    this.#warm = true;
    return new WasmVm(this.#module, this.#options, this.#jit);
  }
}

const compiles = ({ decode = "compiled" }: EngineOptions): boolean => decode === "compiled";

const loadCompiler = (): Promise<CompilerModule> => import("../jit/compiler.js");

/** What VMs compile with from their beginning. */
async function compilerFor(options: EngineOptions): Promise<CompilerModule | undefined> {
  return compiles(options) && options.compilerLater !== true ? loadCompiler() : undefined;
}

/** The engine part of one VM. Implements the port that the kernel half programs against. */
export class WasmVm implements EngineVm {
  readonly linear: LinearMemory;
  /** The core's functions; for the vCPUs of this VM. */
  readonly core: CoreExports;
  /** Where code is compiled, or what loads that. */
  compiler: Pick<Compiler, "compileHot"> | undefined;
  #now: () => number = () => 0;
  #back: (place: number) => Hva = () => hva(0);
  #slots = 0;
  #virtual = false;
  #current: WasmVcpu | undefined;
  #vcpus = 0;
  /** Memory of the next vCPU. */
  #prepared: { readonly save: Hva; readonly tlb: Hva } | undefined;
  readonly #all: WasmVcpu[] = [];
  readonly #seed: bigint;
  readonly #options: EngineOptions;

  constructor(module: WebAssembly.Module, options: EngineOptions, jit: CompilerModule | undefined) {
    const memory = new WebAssembly.Memory({ initial: Layout.END / WASM_PAGE, maximum: MAX_PAGES });
    this.linear = new LinearMemory(memory, Layout.END, Layout.PAGE_ACCESS);
    this.#seed = options.seed ?? 0n;
    this.#options = options;
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory,
        abort: () => assert(false, "engine core: abort"),
        hostClockNs: () => this.#now(),
        hostBackSlot: (place: number) => this.#back(place >>> 0),
      },
    });
    this.core = instance.exports as unknown as CoreExports;
    this.core.initMmu();
    this.core.dropBlocks();
    this.core.setDecodeEach(options.decode === "each" ? 1 : 0);
    this.core.setSingle32(options.single32 ?? SINGLE_32);
    if (compiles(options)) this.#openCompiler(memory, jit);
    this.linear.onAccess(() => this.core.flushAllVcpus());
    this.linear.onGrow(() => {
      for (const each of this.#all) each.remapped();
    });
    this.linear.onWrite((address, length) => this.#wrote(address, length));
  }

  #openCompiler(memory: WebAssembly.Memory, jit: CompilerModule | undefined): void {
    const { linear, core } = this;
    const settings = { ...DEFAULT_SETTINGS, ...this.#options.compile };
    writeSettings(linear.view, settings);
    const ports = {
      linear,
      memory,
      maxPages: MAX_PAGES,
      table: core.table,
      handle: core.handle,
      dropBlocks: core.dropBlocks,
    };
    const open = (loaded: CompilerModule): void => {
      this.compiler = new loaded.Compiler(ports, settings);
    };
    if (jit !== undefined) open(jit);
    else {
      this.compiler = new LaterCompiler(linear, async () => open(await loadCompiler()));
    }
  }

  prepareVcpu(): boolean {
    if (this.#prepared !== undefined) return true;
    if (this.#vcpus >= EngineLimit.VCPUS) return false;
    const tlbBytes = this.core.tlbAreaBytes();
    const save = this.linear.allocate(CPU_BYTES + tlbBytes, "internal");
    if (save === undefined) return false;
    this.#prepared = { save, tlb: hva(save + CPU_BYTES) };
    return true;
  }

  /** Makes the next vCPU; its index is the order of creation. */
  createVcpu(): WasmVcpu {
    this.prepareVcpu();
    assert(this.#prepared !== undefined, "engine: no room for a vCPU");
    const { save, tlb } = this.#prepared;
    this.#prepared = undefined;
    const index = this.#vcpus++;
    this.core.setTlbArea(index, tlb);
    const seed = this.#seed + BigInt(index) * SEED_STEP;
    const vcpu = new WasmVcpu(this, index, save, tlb, seed);
    this.#all.push(vcpu);
    // A vCPU that spins waits for one that needs the thread.
    if (index === 1) for (const each of this.#all) each.pauseExit = PAUSES_PER_EXIT;
    if (index > 0) vcpu.pauseExit = PAUSES_PER_EXIT;
    this.linear.view.setUint32(save + Cpu.VIRTUAL_TIME, this.#virtual ? 1 : 0, true);
    return vcpu;
  }

  /** Makes `vcpu` the one whose state is in the core's block. */
  load(vcpu: WasmVcpu): void {
    if (this.#current !== vcpu) this.#exchange(vcpu);
  }

  #exchange(vcpu: WasmVcpu): void {
    const memory = this.linear.u8;
    const old = this.#current;
    if (old) {
      memory.copyWithin(old.save, Layout.CPU, Layout.CPU + CPU_BYTES);
      old.state = old.save;
    }
    memory.copyWithin(Layout.CPU, vcpu.save, vcpu.save + CPU_BYTES);
    vcpu.state = hva(Layout.CPU);
    this.#current = vcpu;
  }

  insertSlot(place: number, slot: EngineSlot): void {
    assert(place >= 0 && place <= this.#slots, "engine: place of a slot");
    assert(this.#slots < EngineLimit.SLOTS, "engine: too many slots");
    this.#slots++;
    const { gpa, size, hva: lin, dirtyBitmap } = slot;
    const flags = slot.readonly ? 1 : 0;
    this.core.insertSlot(place, BigInt(gpa), BigInt(size), lin, flags, dirtyBitmap);
  }

  removeSlot(place: number): void {
    assert(place >= 0 && place < this.#slots, "engine: place of a slot");
    this.#slots--;
    this.core.removeSlot(place);
    this.core.flushAllVcpus();
  }

  onUnbacked(listener: (place: number) => Hva): void {
    this.#back = listener;
  }

  clearDirty(): void {
    this.core.dropAllWriteTags();
  }

  noteWrite(address: Hva, length: number): void {
    this.#wrote(address, length);
  }

  /** Most writes are small and to pages that hold no decoded code. */
  #wrote(address: Hva, length: number): void {
    const page = address >>> PAGE_SHIFT;
    const last = (address + length - 1) >>> PAGE_SHIFT;
    if (page === last && this.linear.u8[Layout.PAGE_FLAGS + page] === 0) return;
    this.core.hostWrote(address, length);
  }

  distrustCode(): void {
    this.core.distrustCode();
  }

  setTsc(source: EngineTsc): void {
    this.#virtual = source === "work";
    if (source !== "work") this.#now = source;
  }

  setFloating(first: number, count: number, yes: boolean): void {
    const { view } = this.linear;
    for (let port = first; port < first + count; port++) {
      const at = Layout.FLOATING_PORTS + (port >> 3);
      const bit = 1 << (port & 7);
      view.setUint8(at, yes ? view.getUint8(at) | bit : view.getUint8(at) & ~bit);
    }
  }

  counters(): EngineCounters {
    const read = (offset: number) =>
      Number(this.linear.view.getBigUint64(Layout.COUNTERS + offset, true));
    const entries = Object.entries(Counter).map(([name, offset]) => [name, read(offset)]);
    return Object.fromEntries(entries) as EngineCounters;
  }

  close(): void {
    this.#current = undefined;
  }
}

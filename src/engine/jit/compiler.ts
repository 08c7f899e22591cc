import type { LinearMemory } from "../../memory/index.js";
import { Counter, JitWord, Layout } from "../bridge/state.gen.js";
import { moduleOf } from "./module.js";
import { BlockTable, FastOp, Why } from "./operations.gen.js";
import { operationOf } from "./record.js";
import { compileRegion, type Region } from "./region.js";
import { type CompilerSettings, stopSampling } from "./settings.js";
import type { Site } from "./translate.js";

/**
 * Also the number of modules that V8 of Node 20 has to keep, which ends the process at about 34,000.
 * @limit guest | compiled regions of a VM | regions | all compiled and decoded code of the VM is dropped, and made again
 */
const MAX_REGIONS = 4096;
/**
 * V8 needs about seven times as much.
 * @limit guest | compiled code of a VM | bytes of WebAssembly | all compiled and decoded code of the VM is dropped, and
 *   made again
 */
const MAX_CODE_BYTES = 8 << 20;

const DESCRIPTOR_BYTES = 16;
const BLOCK_BYTES = 16;
const SITE_BYTES = 8;
const COUNTER_BYTES = 8;
/** The places that functions get in the core's table at a time. */
const TABLE_STEP = 256;
const REGIONS_END = Layout.REGIONS + Layout.REGIONS_BYTES;

/** What the compiler needs of a VM. */
export interface CompilerPorts {
  readonly linear: Pick<LinearMemory, "view">;
  readonly memory: WebAssembly.Memory;
  /** Pages of 64 KiB that the memory may have. */
  readonly maxPages: number;
  /** Where the core finds functions. */
  readonly table: WebAssembly.Table;
  /** Does an instruction by its complete handler: handle() of core/interpret.ts. */
  readonly handle: (record: number, budget: number) => number;
  /** Drops all decoded code. */
  dropBlocks(): void;
}

/** Runs after which what has become hot is compiled, even if it is little. @nolimit of a choice, not of a guest */
const MOST_WAITS = 40;

/** Compiles the hot regions of one VM between its runs. */
export class Compiler {
  /** Why the host does not allow code to be compiled at run time: all of it is interpreted then. */
  refused: string | undefined;
  readonly #ports: CompilerPorts;
  #generation = 0;
  /** Where the next descriptor goes. */
  #next: number = Layout.REGIONS;
  readonly #firstSlot: number;
  #nextSlot: number;
  /** Bytes of code in the functions that are in the table. */
  #codeBytes = 0;
  /** By hot block the path from it on, of those that are not compiled yet. */
  readonly #waiting = new Map<number, number[]>();
  /** For how many runs some of them have waited. */
  #waited = 0;
  /** One that waits has become hot again: what takes the processor's time now is worth a module of its own. */
  #urgent = false;
  readonly #batch: number;

  constructor(ports: CompilerPorts, { batch }: Pick<CompilerSettings, "batch">) {
    this.#ports = ports;
    this.#firstSlot = ports.table.length;
    this.#nextSlot = ports.table.length;
    this.#batch = batch;
  }

  /** Takes in what has become hot, and compiles it when there is enough for a module. Not while a vCPU runs. */
  compileHot(): void {
    const { view } = this.#ports.linear;
    const count = view.getUint32(JitWord.LOG_COUNT, true);
    if (count !== 0 && view.getUint32(JitWord.RECORDING, true) === 0) {
      view.setUint32(JitWord.LOG_COUNT, 0, true);
      this.#dropOld(view.getUint32(JitWord.GENERATION, true));
      this.#takeIn(count);
    }
    if (this.#waiting.size === 0) return;
    this.#waited++;
    if (!this.#urgent && this.#waiting.size < this.#batch && this.#waited < MOST_WAITS) return;
    this.#dropOld(view.getUint32(JitWord.GENERATION, true));
    this.#compile([...this.#waiting.values()]);
    this.#waiting.clear();
    this.#waited = 0;
    this.#urgent = false;
  }

  #compile(paths: readonly (readonly number[])[]): void {
    const { view } = this.#ports.linear;
    const regions: Region[] = [];
    const out = { va: JitWord.OUT_VA, budget: JitWord.OUT_BUDGET };
    for (const path of paths) {
      const region = compileRegion(view, path, out);
      if (region !== undefined) regions.push(region);
      else view.setUint16((path[0] ?? 0) - 6, BlockTable.NEVER, true);
    }
    if (regions.length > 0) this.#install(regions);
  }

  /** What the core has written down: for each hot block the ones that ran from it on. */
  #takeIn(count: number): void {
    const { view } = this.#ports.linear;
    let path: number[] = [];
    for (let i = 0; i < count; i++) {
      const word = view.getUint32(JitWord.LOG + i * 4, true);
      if ((word & 1) === 0) path.push(word);
      else {
        const head = word - 1;
        path = [head];
        if (view.getUint16(head, true) === FastOp.REGION) continue;
        this.#urgent ||= this.#waiting.has(head);
        this.#waiting.set(head, path);
      }
    }
  }

  /** All blocks were dropped: so are the regions. */
  #dropOld(generation: number): void {
    if (generation === this.#generation) return;
    this.#generation = generation;
    for (let i = this.#firstSlot; i < this.#nextSlot; i++) this.#ports.table.set(i, null);
    this.#nextSlot = this.#firstSlot;
    this.#next = Layout.REGIONS;
    this.#codeBytes = 0;
    this.#waiting.clear();
  }

  /** Whether there is room for more regions of so many bytes; if not, everything begins anew. */
  #fits(regions: readonly Region[], bytes: number): boolean {
    const descriptors = regions.reduce((sum, region) => sum + descriptorBytes(region), 0);
    const full =
      this.#nextSlot + regions.length - this.#firstSlot > MAX_REGIONS ||
      this.#codeBytes + bytes > MAX_CODE_BYTES ||
      this.#next + descriptors > REGIONS_END;
    if (full) this.#ports.dropBlocks();
    return !full;
  }

  #install(regions: readonly Region[]): void {
    const bytes = moduleOf(
      regions.map((region) => region.body),
      this.#ports.maxPages,
    );
    if (!this.#fits(regions, bytes.length)) return;
    const exports = this.#instantiate(bytes);
    if (exports === undefined) return;
    for (const [i, region] of regions.entries()) {
      this.#describe(region, exports[String(i)]);
      this.#count(Counter.REGIONS, 1);
      this.#count(Counter.REGION_BLOCKS, region.nodes.length);
    }
    this.#count(Counter.REGION_BYTES, bytes.length);
    this.#codeBytes += bytes.length;
  }

  /** The functions of a module; undefined where the host does not allow it, as pages with a content security policy. */
  #instantiate(bytes: Uint8Array): WebAssembly.Exports | undefined {
    const { memory, linear, handle } = this.#ports;
    try {
      const module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
      return new WebAssembly.Instance(module, { env: { memory, handle } }).exports;
    } catch (error) {
      // Whatever it is: what is not compiled is interpreted.
      this.refused = String(error);
      stopSampling(linear.view);
      return undefined;
    }
  }

  #count(counter: number, more: number): void {
    const { view } = this.#ports.linear;
    const at = Layout.COUNTERS + counter;
    view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(more), true);
  }

  /** Writes a region's descriptor and lets its head and its entries lead to it. */
  #describe(region: Region, made: WebAssembly.ExportValue | undefined): void {
    const { view } = this.#ports.linear;
    const at = this.#next;
    const sites = at + DESCRIPTOR_BYTES + region.nodes.length * BLOCK_BYTES;
    this.#next = at + descriptorBytes(region);
    const slot = this.#nextSlot++;
    if (slot >= this.#ports.table.length) this.#ports.table.grow(TABLE_STEP);
    this.#ports.table.set(slot, typeof made === "function" ? made : null);
    view.setUint32(at, view.getUint32(JitWord.EPOCH, true) - 1, true);
    view.setUint32(at + 4, slot, true);
    view.setUint32(at + 8, sites, true);
    view.setUint32(at + 12, region.nodes.length, true);
    for (const [i, { block }] of region.nodes.entries()) {
      const place = at + DESCRIPTOR_BYTES + i * BLOCK_BYTES;
      view.setUint32(place, block.address, true);
      view.setBigUint64(place + 8, block.key, true);
    }
    for (const [i, site] of region.sites.entries()) {
      const place = sites + i * SITE_BYTES;
      view.setUint32(place, site.record, true);
      view.setUint8(place + 4, site.why);
      view.setUint8(place + 5, (counterOf(view, site) - Counter.LEFT_NEAR) / COUNTER_BYTES);
      view.setUint16(place + 6, site.detail, true);
    }
    this.#leadTo(region.nodes[0]?.block.address ?? 0, at, 0);
    for (const [i, { block }] of region.entries.entries())
      if (view.getUint16(block.address, true) !== FastOp.REGION)
        this.#leadTo(block.address, at, i + 1);
  }

  /** From now on the block is entry `number` of the region with the descriptor at `at`. */
  #leadTo(block: number, at: number, number: number): void {
    const { view } = this.#ports.linear;
    view.setUint16(block - 8, operationOf(view, block), true);
    view.setUint16(block - 6, number, true);
    view.setUint32(block - 4, at, true);
    view.setUint16(block, FastOp.REGION, true);
  }
}

/** The counter of the times that a region was left there. */
function counterOf(view: DataView, { record, why }: Site): number {
  switch (why) {
    case Why.GO_NEAR:
      return Counter.LEFT_NEAR;
    case Why.MISS:
      return Counter.LEFT_MISS;
    case Why.HANDLED:
      return Counter.LEFT_HANDLED;
    case Why.GO:
      break;
    default:
      return Counter.LEFT_CASE;
  }
  const op = operationOf(view, record);
  if (op === FastOp.RET) return Counter.LEFT_RETURN;
  return op > FastOp.RET && op <= FastOp.CALL_MX ? Counter.LEFT_INDIRECT : Counter.LEFT_FAR;
}

function descriptorBytes(region: Region): number {
  return DESCRIPTOR_BYTES + region.nodes.length * BLOCK_BYTES + region.sites.length * SITE_BYTES;
}

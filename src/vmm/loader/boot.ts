/** Decides where kernel, modules and PVH boot data go. Pure: bytes in, bytes out. */
import {
  encodeMemmap,
  encodeModlist,
  encodeStartInfo,
  HVM_MEMMAP_ENTRY_SIZE,
  HVM_MEMMAP_MAX_ENTRIES,
  HVM_MODLIST_ENTRY_SIZE,
  HVM_START_INFO_SIZE,
  type MemmapEntry,
  MemmapType,
} from "../../abi/boot/hvm-start-info.js";
import { assert } from "../../base/index.js";
import type { KernelImage, Segment } from "./elf.js";
import { mib, refuse } from "./errors.js";

/** A file that the kernel finds in memory. */
export interface BootModule {
  readonly bytes: Uint8Array;
  /** Only some kernels look at it: Xen does, Linux does not. */
  readonly commandLine?: string;
}

/** What to boot. */
export interface BootRequest {
  readonly kernel: KernelImage;
  /** In this order; Linux takes the first for its initial RAM disk and ignores the others. */
  readonly modules?: readonly BootModule[];
  readonly commandLine: string;
  /** The guest's memory map; RAM in it is where things may be placed. */
  readonly memmap: readonly MemmapEntry[];
  /** Guest-physical address of the ACPI RSDP, 0 for none. */
  readonly rsdpPaddr: number;
}

/** Bytes for guest memory. */
export interface Placement {
  readonly paddr: number;
  readonly bytes: Uint8Array;
  /** Bytes to occupy; what exceeds `bytes` is zero. */
  readonly memSize: number;
}

/** A guest ready to be written into memory and entered. */
export interface BootPlan {
  readonly placements: readonly Placement[];
  /** EIP at the start: 32-bit protected mode, paging off. */
  readonly entry: number;
  /** EBX at the start. */
  readonly startInfoPaddr: number;
}

/**
 * Longest command line in bytes, without the NUL. Linux keeps 2047 of them.
 * @limit user | command line of the kernel or of a module | bytes | COMMAND_LINE_TOO_LONG, status 1
 */
export const COMMAND_LINE_MAX = 4095;

/**
 * Most modules. The list of all of them fits the first page of the boot data, and Xen looks at no more.
 * @limit user | modules of a machine (--initrd) | modules | TOO_MANY_MODULES, status 1
 */
export const MAX_MODULES = 63;

const PAGE = 4096;
/**
 * Where the boot data goes if the kernel leaves room: in the first 64 KiB, which Linux never uses
 * for itself. It must be writable RAM below 1 GiB: Linux's entry code uses the first word of
 * start_info as its stack, and its first page tables map 1 GiB.
 */
const BOOT_DATA_PREFERRED = 0x6000;
/** @nolimit an address */
const BOOT_DATA_LIMIT = 1 << 30;

/**
 * Places everything.
 * @throws HostError MEMORY_TOO_SMALL, KERNEL_DAMAGED, NOT_A_KERNEL, INITRD_TOO_LARGE, TOO_MANY_MODULES or
 * COMMAND_LINE_TOO_LONG.
 */
export function planBoot(request: BootRequest): BootPlan {
  const { kernel, modules: files = [] } = request;
  if (files.length > MAX_MODULES) {
    const text = `${files.length} modules are too many: give at most ${MAX_MODULES}`;
    throw refuse("TOO_MANY_MODULES", text);
  }
  const ram = request.memmap.filter((entry) => entry.type === MemmapType.RAM);
  for (const segment of kernel.segments) {
    if (!insideRam(ram, segment.paddr, segment.memSize)) throw kernelDoesNotFit(kernel, ram);
  }
  // Segments may overlap, but what is written is no more than there is memory.
  const written = kernel.segments.reduce((sum, segment) => sum + segment.memSize, 0);
  if (written > ram.reduce((sum, entry) => sum + entry.size, 0)) {
    const text = "the kernel file is damaged: its segments overlap too much; get it again";
    throw refuse("KERNEL_DAMAGED", text);
  }
  const commandLine = encodeCommandLine(request.commandLine);
  const moduleLines = files.map((file) =>
    file.commandLine === undefined ? undefined : encodeCommandLine(file.commandLine),
  );
  // One page for the structures, then the command lines, the kernel's first.
  const lines = [commandLine, ...moduleLines].filter((line) => line !== undefined);
  const bootDataSize = PAGE + pageUp(lines.reduce((sum, line) => sum + line.length, 0));
  const bootData = placeBootData(kernel, ram, bootDataSize);
  const kernelTop = Math.max(kernel.end, bootData + bootDataSize);
  let linesEnd = bootData + PAGE;
  const placements: Placement[] = kernel.segments.flatMap((segment, i) => [
    segment,
    ...zerosOver(kernel.segments.slice(0, i), segment),
  ]);
  const place = (paddr: number, bytes: Uint8Array): void => {
    if (bytes.length > 0) placements.push({ paddr, bytes, memSize: bytes.length });
  };
  const placeLine = (line: Uint8Array): number => {
    const paddr = linesEnd;
    place(paddr, line);
    linesEnd += line.length;
    return paddr;
  };
  const cmdlinePaddr = placeLine(commandLine);
  const modules = placeModules(files, kernelTop, ram).map((module, i) => {
    const line = moduleLines[i];
    return { ...module, cmdlinePaddr: line === undefined ? 0 : placeLine(line) };
  });
  for (const { paddr, bytes } of modules) place(paddr, bytes);

  const modlist = bootData + align8(HVM_START_INFO_SIZE);
  const memmap = align8(modlist + modules.length * HVM_MODLIST_ENTRY_SIZE);
  assert(request.memmap.length <= HVM_MEMMAP_MAX_ENTRIES, "memory map has too many entries");
  assert(
    memmap + request.memmap.length * HVM_MEMMAP_ENTRY_SIZE <= bootData + PAGE,
    "boot data does not fit its page",
  );
  const startInfo = encodeStartInfo({
    modules: modules.length,
    modlistPaddr: modules.length === 0 ? 0 : modlist,
    cmdlinePaddr,
    rsdpPaddr: request.rsdpPaddr,
    memmapPaddr: memmap,
    memmapEntries: request.memmap.length,
  });
  place(bootData, startInfo);
  place(modlist, encodeModlist(modules));
  place(memmap, encodeMemmap(request.memmap));
  return { placements, entry: kernel.entry, startInfoPaddr: bootData };
}

const align8 = (value: number): number => Math.ceil(value / 8) * 8;
const pageUp = (value: number): number => Math.ceil(value / PAGE) * PAGE;

function insideRam(ram: readonly MemmapEntry[], paddr: number, size: number): boolean {
  return ram.some((entry) => paddr >= entry.addr && paddr + size <= entry.addr + entry.size);
}

/** The end of a segment, which is zero, where it lies over bytes of segments before it. */
function zerosOver(before: readonly Segment[], segment: Segment): Placement[] {
  const from = segment.paddr + segment.bytes.length;
  const to = segment.paddr + segment.memSize;
  return before.flatMap(({ paddr, bytes }) => {
    const start = Math.max(from, paddr);
    const memSize = Math.min(to, paddr + bytes.length) - start;
    return memSize > 0 ? [{ paddr: start, bytes: new Uint8Array(memSize), memSize }] : [];
  });
}

/** End of the RAM range that holds most of the kernel. */
function ramEnd(ram: readonly MemmapEntry[], below: number): number {
  const ends = ram.filter((entry) => entry.addr < below).map((entry) => entry.addr + entry.size);
  return Math.max(0, ...ends);
}

function kernelDoesNotFit(kernel: KernelImage, ram: readonly MemmapEntry[]): Error {
  if (kernel.end > ramEnd(ram, 2 ** 32)) {
    const text = `the kernel needs memory up to ${mib(kernel.end)}: give the guest more memory`;
    return refuse("MEMORY_TOO_SMALL", text);
  }
  return refuse("NOT_A_KERNEL", "the kernel wants a place that is not RAM in a PVH guest");
}

function placeBootData(kernel: KernelImage, ram: readonly MemmapEntry[], size: number): number {
  const isFree = (at: number): boolean =>
    insideRam(ram, at, size) &&
    !kernel.segments.some((s) => at < s.paddr + s.memSize && s.paddr < at + size);
  const candidates = [BOOT_DATA_PREFERRED, pageUp(kernel.end)];
  const found = candidates.find((at) => at + size <= BOOT_DATA_LIMIT && isFree(at));
  if (found === undefined) {
    const text =
      "there is no room for the boot data next to the kernel: give the guest more memory";
    throw refuse("MEMORY_TOO_SMALL", text);
  }
  return found;
}

/** As high as possible below 4 GiB, so that they are out of the way of the unpacked kernel. */
function placeModules(
  files: readonly BootModule[],
  floor: number,
  ram: readonly MemmapEntry[],
): { paddr: number; size: number; bytes: Uint8Array }[] {
  const end = ramEnd(ram, 2 ** 32);
  let at = end;
  return files.map(({ bytes }) => {
    at = Math.floor((at - bytes.length) / PAGE) * PAGE;
    if (at < floor) {
      const text = `the initrd of ${mib(bytes.length)} does not fit: the guest has ${mib(end)} and the kernel ends at ${mib(floor)}; give it more memory`;
      throw refuse("INITRD_TOO_LARGE", text);
    }
    return { paddr: at, size: bytes.length, bytes };
  });
}

function encodeCommandLine(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > COMMAND_LINE_MAX) {
    const message = `the command line has ${bytes.length} bytes, at most ${COMMAND_LINE_MAX} fit: shorten it`;
    throw refuse("COMMAND_LINE_TOO_LONG", message);
  }
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

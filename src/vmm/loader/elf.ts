/**
 * Reads a PVH kernel from an ELF file. Nothing in the file is trusted: every offset and size is
 * checked against the file and against the 4 GiB that the 32-bit entry point can address.
 * Relocation (XEN_ELFNOTE_PHYS32_RELOC) is not used: segments go where the file wants them.
 */
import {
  E_MACHINE,
  E_TYPE,
  EI_CLASS,
  EI_DATA,
  ELF_MAGIC,
  ELF32,
  ELF64,
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  type ElfClassLayout,
  EM_386,
  EM_X86_64,
  ET_CORE,
  ET_REL,
  PT_GNU_STACK,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  PT_TLS,
  SH_TYPE,
  SHT_NOTE,
} from "../../abi/boot/elf.js";
import { type Notes, type NoteTable, readNotes } from "./elf-notes.js";
import { mib, refuse } from "./errors.js";

/**
 * Segments that a kernel may have; Linux has five.
 * @limit file | loadable segments of an ELF kernel | segments | KERNEL_DAMAGED, status 2
 */
export const MAX_SEGMENTS = 1024;

/** A part of the kernel that goes to a fixed place. */
export interface Segment {
  /** Guest-physical address. */
  readonly paddr: number;
  /** The bytes of the file; a view, not a copy. */
  readonly bytes: Uint8Array;
  /** Bytes in memory; what exceeds `bytes` is zero. */
  readonly memSize: number;
}

/** A kernel that can be placed in memory and entered. */
export interface KernelImage {
  /** In the order of the file, at most {@link MAX_SEGMENTS}; none is empty, all end at or below 4 GiB. */
  readonly segments: readonly Segment[];
  /** Physical address of the 32-bit PVH entry point. */
  readonly entry: number;
  /** The lowest address that a segment uses and the first one after all. */
  readonly start: number;
  readonly end: number;
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly paddr: number;
  readonly fileSize: number;
  readonly memSize: number;
  readonly align: number;
}

/** An ELF file whose header has been checked. */
interface ElfFile {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly layout: ElfClassLayout;
}

const FOUR_GIB = 2 ** 32;

/** Whether the file starts like an ELF file. */
export const isElf = (file: Uint8Array): boolean =>
  file.length >= 16 && ELF_MAGIC.every((byte, i) => file[i] === byte);

/**
 * Finds segments and entry point.
 * @throws HostError NOT_A_KERNEL, KERNEL_DAMAGED or NO_PVH_NOTE.
 */
export function readElfKernel(file: Uint8Array): KernelImage {
  const elf = openElf(file);
  const type = elf.view.getUint16(E_TYPE, true);
  if (type === ET_REL) throw notAKernel("an object file or a kernel module");
  if (type === ET_CORE) throw notAKernel("a core dump");
  const headers = readProgramHeaders(elf);
  const notes = readNotes(noteSegments(elf, headers), () => noteSections(elf));
  if (notes.entry === undefined) throw whyNoEntry(headers, notes);
  const segments: Segment[] = [];
  for (const header of headers) {
    if (header.type !== PT_LOAD || header.memSize === 0) continue;
    if (header.fileSize > header.memSize || header.paddr + header.memSize > FOUR_GIB) {
      throw damaged("a segment does not fit below 4 GiB");
    }
    if (segments.length === MAX_SEGMENTS)
      throw damaged(`it has more than ${MAX_SEGMENTS} segments`);
    const bytes = file.subarray(header.offset, header.offset + header.fileSize);
    segments.push({ paddr: header.paddr, bytes, memSize: header.memSize });
  }
  if (segments.length === 0) throw damaged("it has no loadable segment");
  const start = Math.min(...segments.map((s) => s.paddr));
  const end = Math.max(...segments.map((s) => s.paddr + s.memSize));
  const { entry } = notes;
  if (entry < start || entry >= end) throw damaged("its entry point lies outside its segments");
  return { segments, entry, start, end };
}

function damaged(what: string): Error {
  return refuse("KERNEL_DAMAGED", `the kernel file is damaged: ${what}; get it again`);
}

function notAKernel(what: string): Error {
  return refuse("NOT_A_KERNEL", `the file is ${what}, not a kernel`);
}

function openElf(bytes: Uint8Array): ElfFile {
  const layout = bytes[EI_CLASS] === ELFCLASS64 ? ELF64 : ELF32;
  if (!isElf(bytes)) {
    throw refuse("NOT_A_KERNEL", "the file is not a kernel: neither an ELF image nor a bzImage");
  }
  if (bytes.length < layout.headerSize) throw damaged("it ends inside the ELF header");
  if (bytes[EI_CLASS] !== ELFCLASS32 && bytes[EI_CLASS] !== ELFCLASS64) {
    throw damaged("its ELF class is unknown");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const machine = view.getUint16(E_MACHINE, true);
  if (bytes[EI_DATA] !== ELFDATA2LSB || (machine !== EM_386 && machine !== EM_X86_64)) {
    throw refuse("NOT_A_KERNEL", "the file is an ELF image for another processor, not for x86");
  }
  return { bytes, view, layout };
}

/** A field of the size of an address; beyond 2^53 it is out of every range that is checked. */
function word({ view, layout }: ElfFile, at: number): number {
  return layout.word === 8 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
}

function readProgramHeaders(elf: ElfFile): ProgramHeader[] {
  const { view, layout, bytes } = elf;
  const table = word(elf, layout.phoff);
  const entrySize = view.getUint16(layout.phentsize, true);
  const count = view.getUint16(layout.phnum, true);
  if (count === 0) throw damaged("it has no program headers");
  if (entrySize < layout.phdrSize || table + entrySize * count > bytes.length) {
    throw damaged("its program headers lie outside the file");
  }
  const headers: ProgramHeader[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + i * entrySize;
    const header = {
      type: view.getUint32(at, true),
      offset: word(elf, at + layout.phdr.offset),
      vaddr: word(elf, at + layout.phdr.vaddr),
      paddr: word(elf, at + layout.phdr.paddr),
      fileSize: word(elf, at + layout.phdr.filesz),
      memSize: word(elf, at + layout.phdr.memsz),
      align: word(elf, at + layout.phdr.align),
    };
    const isUsed = (header.type === PT_LOAD || header.type === PT_NOTE) && header.fileSize > 0;
    if (isUsed && header.offset + header.fileSize > bytes.length) {
      throw damaged(`it is cut off after ${mib(bytes.length)}`);
    }
    headers.push(header);
  }
  return headers;
}

function noteSegments({ bytes }: ElfFile, headers: readonly ProgramHeader[]): NoteTable[] {
  return headers
    .filter((header) => header.type === PT_NOTE)
    .map(({ offset, fileSize, align }) => ({
      bytes: bytes.subarray(offset, offset + fileSize),
      align,
    }));
}

/** The tables that sections name. Section headers are often missing or cut off: then there are none. */
function noteSections(elf: ElfFile): NoteTable[] {
  const { view, layout, bytes } = elf;
  const table = word(elf, layout.shoff);
  const entrySize = view.getUint16(layout.shentsize, true);
  const count = view.getUint16(layout.shnum, true);
  if (entrySize < layout.shdrSize || table + entrySize * count > bytes.length) return [];
  const tables: NoteTable[] = [];
  for (let at = table; at < table + entrySize * count; at += entrySize) {
    if (view.getUint32(at + SH_TYPE, true) !== SHT_NOTE) continue;
    const offset = word(elf, at + layout.shdr.offset);
    const size = word(elf, at + layout.shdr.size);
    if (offset + size > bytes.length) continue;
    const align = word(elf, at + layout.shdr.align);
    tables.push({ bytes: bytes.subarray(offset, offset + size), align });
  }
  return tables;
}

/** Says what an ELF file without PVH entry point is, as far as it can be told. */
function whyNoEntry(headers: readonly ProgramHeader[], notes: Notes): Error {
  if (notes.isXen) {
    const text =
      "the kernel is made for PV guests of Xen only, without a PVH entry point: use one for PVH guests";
    return refuse("NO_PVH_NOTE", text);
  }
  // A kernel lies elsewhere in physical than in virtual memory; a program knows no physical memory.
  const isKernel = headers.some((h) => h.type === PT_LOAD && h.memSize > 0 && h.paddr !== h.vaddr);
  if (notes.isLinux || isKernel) {
    const text =
      "the kernel has no Xen PVH entry point (ELF note 18): use a Linux that is built with CONFIG_PVH";
    return refuse("NO_PVH_NOTE", text);
  }
  const ofPrograms: readonly number[] = [PT_INTERP, PT_TLS, PT_GNU_STACK];
  if (headers.some((header) => ofPrograms.includes(header.type))) {
    return notAKernel("an ordinary program or a library");
  }
  const text =
    "the ELF image has no Xen PVH entry point (ELF note 18), which kvm-xen needs to start it";
  return refuse("NO_PVH_NOTE", text);
}

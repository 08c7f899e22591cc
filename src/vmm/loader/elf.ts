/**
 * Reads a PVH kernel from an ELF file. Nothing in the file is trusted: every offset and size is
 * checked against the file and against the 4 GiB that the 32-bit entry point can address.
 * Relocation (XEN_ELFNOTE_PHYS32_RELOC) is not used: segments go where the file wants them.
 */
import {
  E_MACHINE,
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
  NHDR_SIZE,
  PT_LOAD,
  PT_NOTE,
  XEN_ELFNOTE_PHYS32_ENTRY,
  XEN_NOTE_NAME,
} from "../../abi/boot/elf.js";
import { mib, refuse } from "./errors.js";

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
  /** In the order of the file; none is empty, all end at or below 4 GiB. */
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
  readonly paddr: number;
  readonly fileSize: number;
  readonly memSize: number;
  readonly align: number;
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
  const headers = readProgramHeaders(file);
  const segments: Segment[] = [];
  for (const header of headers) {
    if (header.type !== PT_LOAD || header.memSize === 0) continue;
    if (header.fileSize > header.memSize || header.paddr + header.memSize > FOUR_GIB) {
      throw damaged("a segment does not fit below 4 GiB");
    }
    const bytes = file.subarray(header.offset, header.offset + header.fileSize);
    segments.push({ paddr: header.paddr, bytes, memSize: header.memSize });
  }
  if (segments.length === 0) throw damaged("it has no loadable segment");
  const entry = findEntry(file, headers);
  if (entry === undefined) {
    throw refuse(
      "NO_PVH_NOTE",
      "the kernel has no Xen PVH entry point (ELF note 18): use one built with CONFIG_PVH",
    );
  }
  const start = Math.min(...segments.map((s) => s.paddr));
  const end = Math.max(...segments.map((s) => s.paddr + s.memSize));
  if (entry < start || entry >= end) throw damaged("its entry point lies outside its segments");
  return { segments, entry, start, end };
}

function damaged(what: string): Error {
  return refuse("KERNEL_DAMAGED", `the kernel file is damaged: ${what}; get it again`);
}

function classOf(file: Uint8Array): ElfClassLayout {
  const known = file[EI_CLASS] === ELFCLASS64 ? ELF64 : ELF32;
  if (!isElf(file) || (file[EI_CLASS] !== ELFCLASS32 && file[EI_CLASS] !== ELFCLASS64)) {
    throw refuse("NOT_A_KERNEL", "the file is not a kernel: neither an ELF image nor a bzImage");
  }
  if (file.length < known.headerSize) throw damaged("it ends inside the ELF header");
  return known;
}

function readProgramHeaders(file: Uint8Array): ProgramHeader[] {
  const elf = classOf(file);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const machine = view.getUint16(E_MACHINE, true);
  if (file[EI_DATA] !== ELFDATA2LSB || (machine !== EM_386 && machine !== EM_X86_64)) {
    throw refuse("NOT_A_KERNEL", "the file is an ELF image for another processor, not for x86");
  }
  /** A field of the size of an address; beyond 2^53 it is out of every range checked below. */
  const word = (at: number): number =>
    elf.word === 8 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  const table = word(elf.phoff);
  const entrySize = view.getUint16(elf.phentsize, true);
  const count = view.getUint16(elf.phnum, true);
  if (count === 0) throw damaged("it has no program headers");
  if (entrySize < elf.phdrSize || table + entrySize * count > file.length) {
    throw damaged("its program headers lie outside the file");
  }
  const headers: ProgramHeader[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + i * entrySize;
    const header = {
      type: view.getUint32(at, true),
      offset: word(at + elf.phdr.offset),
      paddr: word(at + elf.phdr.paddr),
      fileSize: word(at + elf.phdr.filesz),
      memSize: word(at + elf.phdr.memsz),
      align: word(at + elf.phdr.align),
    };
    const used = header.type === PT_LOAD || header.type === PT_NOTE;
    if (used && header.offset + header.fileSize > file.length) {
      throw damaged(`it is cut off after ${mib(file.length)}`);
    }
    headers.push(header);
  }
  return headers;
}

function findEntry(file: Uint8Array, headers: readonly ProgramHeader[]): number | undefined {
  for (const header of headers) {
    if (header.type !== PT_NOTE) continue;
    const notes = file.subarray(header.offset, header.offset + header.fileSize);
    const entry = findEntryNote(notes, header.align === 8 ? 8 : 4);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function findEntryNote(notes: Uint8Array, align: 4 | 8): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  const pad = (size: number): number => Math.ceil(size / align) * align;
  let at = 0;
  while (at + NHDR_SIZE <= notes.length) {
    const nameSize = view.getUint32(at, true);
    const descSize = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const desc = pad(at + NHDR_SIZE + nameSize);
    if (desc + descSize > notes.length) return undefined;
    const isXen = nameSize === 4 && ownName(notes.subarray(at + NHDR_SIZE, at + NHDR_SIZE + 4));
    if (isXen && type === XEN_ELFNOTE_PHYS32_ENTRY && (descSize === 4 || descSize === 8)) {
      const high = descSize === 8 ? view.getUint32(desc + 4, true) : 0;
      return view.getUint32(desc, true) + high * FOUR_GIB;
    }
    at = pad(desc + descSize);
  }
  return undefined;
}

function ownName(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes) === `${XEN_NOTE_NAME}\0`;
}

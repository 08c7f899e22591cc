/** ELF constants (System V ABI) and the notes of Xen's `public/elfnote.h` that a loader needs. */
import { bytes, struct, u16, u32, ulong } from "../layout.js";

/** `e_ident` up to EI_MAG3. */
export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const;
/** Offsets in `e_ident`. */
export const EI_CLASS = 4;
export const EI_DATA = 5;
export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
/** `e_type`. */
export const ET_REL = 1;
export const ET_CORE = 4;
/** `e_machine`. */
export const EM_386 = 3;
export const EM_X86_64 = 62;
/** `p_type`. */
export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_TLS = 7;
/** `p_type` of what GNU's linker adds to programs: the permissions of their stack. */
export const PT_GNU_STACK = 0x6474e551;
/** `sh_type`. */
export const SHT_NOTE = 7;

/** Offsets of the header fields that are read, by class. Addresses and offsets have `word` bytes. */
export interface ElfClassLayout {
  readonly word: 4 | 8;
  readonly headerSize: number;
  readonly phoff: number;
  readonly shoff: number;
  readonly phentsize: number;
  readonly phnum: number;
  readonly shentsize: number;
  readonly shnum: number;
  readonly phdrSize: number;
  readonly phdr: {
    readonly offset: number;
    readonly vaddr: number;
    readonly paddr: number;
    readonly filesz: number;
    readonly memsz: number;
    readonly align: number;
  };
  readonly shdrSize: number;
  readonly shdr: {
    readonly offset: number;
    readonly size: number;
    readonly align: number;
  };
}

/** `Elf32_Ehdr`, `Elf64_Ehdr`: the header of a file. */
export const elf_ehdr = struct("elf_ehdr", {
  e_ident: bytes(16),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: ulong,
  e_phoff: ulong,
  e_shoff: ulong,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
});
const place = { p_offset: ulong, p_vaddr: ulong, p_paddr: ulong, p_filesz: ulong, p_memsz: ulong };
/** `Elf64_Phdr`: a segment. */
export const elf64_phdr = struct("elf64_phdr", {
  p_type: u32,
  p_flags: u32,
  ...place,
  p_align: ulong,
});
/** `Elf32_Phdr`, which has its flags elsewhere. */
export const elf32_phdr = struct("elf32_phdr", {
  p_type: u32,
  ...place,
  p_flags: u32,
  p_align: ulong,
}).of(32);
/** `Elf32_Shdr`, `Elf64_Shdr`: a section. */
export const elf_shdr = struct("elf_shdr", {
  sh_name: u32,
  sh_type: u32,
  sh_flags: ulong,
  sh_addr: ulong,
  sh_offset: ulong,
  sh_size: ulong,
  sh_link: u32,
  sh_info: u32,
  sh_addralign: ulong,
  sh_entsize: ulong,
});
/** `Elf32_Nhdr`, `Elf64_Nhdr`: a note, whose name and contents follow. */
export const elf_nhdr = struct("elf_nhdr", { n_namesz: u32, n_descsz: u32, n_type: u32 });

type Segment = Pick<typeof elf64_phdr, "size" | "offset">;

function classLayout(
  word: 4 | 8,
  file: typeof elf_ehdr,
  segment: Segment,
  section: typeof elf_shdr,
): ElfClassLayout {
  return {
    word,
    headerSize: file.size,
    phoff: file.offset("e_phoff"),
    shoff: file.offset("e_shoff"),
    phentsize: file.offset("e_phentsize"),
    phnum: file.offset("e_phnum"),
    shentsize: file.offset("e_shentsize"),
    shnum: file.offset("e_shnum"),
    phdrSize: segment.size,
    phdr: {
      offset: segment.offset("p_offset"),
      vaddr: segment.offset("p_vaddr"),
      paddr: segment.offset("p_paddr"),
      filesz: segment.offset("p_filesz"),
      memsz: segment.offset("p_memsz"),
      align: segment.offset("p_align"),
    },
    shdrSize: section.size,
    shdr: {
      offset: section.offset("sh_offset"),
      size: section.offset("sh_size"),
      align: section.offset("sh_addralign"),
    },
  };
}

/** `Elf32_Ehdr`, `Elf32_Phdr` and `Elf32_Shdr`. */
export const ELF32 = classLayout(4, elf_ehdr.of(32), elf32_phdr, elf_shdr.of(32));
/** `Elf64_Ehdr`, `Elf64_Phdr` and `Elf64_Shdr`. */
export const ELF64 = classLayout(8, elf_ehdr, elf64_phdr, elf_shdr);
/** Offsets of `e_type` and `e_machine` (u16) in both classes. */
export const E_TYPE = elf_ehdr.offset("e_type");
export const E_MACHINE = elf_ehdr.offset("e_machine");
/** Offset of `sh_type` (u32) in a section header; `p_type` (u32) is at 0 of a program header. */
export const SH_TYPE = elf_shdr.offset("sh_type");
/** Bytes of a note before its name. */
export const NHDR_SIZE = elf_nhdr.size;
/** Name of Xen's notes, its NUL not included. */
export const XEN_NOTE_NAME = "Xen";
/** Name of the notes that Linux puts into its own images. */
export const LINUX_NOTE_NAME = "Linux";
/** Physical address of the 32-bit PVH entry point, 4 or 8 bytes. */
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** ELF constants (System V ABI) and the notes of Xen's `public/elfnote.h` that a loader needs. */

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

/** `Elf32_Ehdr`, `Elf32_Phdr` and `Elf32_Shdr`. */
export const ELF32: ElfClassLayout = {
  word: 4,
  headerSize: 52,
  phoff: 28,
  shoff: 32,
  phentsize: 42,
  phnum: 44,
  shentsize: 46,
  shnum: 48,
  phdrSize: 32,
  phdr: { offset: 4, vaddr: 8, paddr: 12, filesz: 16, memsz: 20, align: 28 },
  shdrSize: 40,
  shdr: { offset: 16, size: 20, align: 32 },
};
/** `Elf64_Ehdr`, `Elf64_Phdr` and `Elf64_Shdr`. */
export const ELF64: ElfClassLayout = {
  word: 8,
  headerSize: 64,
  phoff: 32,
  shoff: 40,
  phentsize: 54,
  phnum: 56,
  shentsize: 58,
  shnum: 60,
  phdrSize: 56,
  phdr: { offset: 8, vaddr: 16, paddr: 24, filesz: 32, memsz: 40, align: 48 },
  shdrSize: 64,
  shdr: { offset: 24, size: 32, align: 48 },
};
/** Offsets of `e_type` and `e_machine` (u16) in both classes. */
export const E_TYPE = 16;
export const E_MACHINE = 18;
/** Offset of `sh_type` (u32) in a section header; `p_type` (u32) is at 0 of a program header. */
export const SH_TYPE = 4;

/** `Elf_Nhdr`: namesz, descsz, type, u32 each. */
export const NHDR_SIZE = 12;
/** Name of Xen's notes, its NUL not included. */
export const XEN_NOTE_NAME = "Xen";
/** Name of the notes that Linux puts into its own images. */
export const LINUX_NOTE_NAME = "Linux";
/** Physical address of the 32-bit PVH entry point, 4 or 8 bytes. */
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;

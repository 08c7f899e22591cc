/** ELF constants (System V ABI) and the notes of Xen's `public/elfnote.h` that a loader needs. */

/** `e_ident` up to EI_MAG3. */
export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const;
/** Offsets in `e_ident`. */
export const EI_CLASS = 4;
export const EI_DATA = 5;
export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
/** `e_machine`. */
export const EM_386 = 3;
export const EM_X86_64 = 62;
/** `p_type`. */
export const PT_LOAD = 1;
export const PT_NOTE = 4;

/** Offsets of the header fields that are read, by class. Addresses and offsets have `word` bytes. */
export interface ElfClassLayout {
  readonly word: 4 | 8;
  readonly headerSize: number;
  readonly phoff: number;
  readonly phentsize: number;
  readonly phnum: number;
  readonly phdrSize: number;
  readonly phdr: {
    readonly offset: number;
    readonly paddr: number;
    readonly filesz: number;
    readonly memsz: number;
    readonly align: number;
  };
}

/** `Elf32_Ehdr` and `Elf32_Phdr`. */
export const ELF32: ElfClassLayout = {
  word: 4,
  headerSize: 52,
  phoff: 28,
  phentsize: 42,
  phnum: 44,
  phdrSize: 32,
  phdr: { offset: 4, paddr: 12, filesz: 16, memsz: 20, align: 28 },
};
/** `Elf64_Ehdr` and `Elf64_Phdr`. */
export const ELF64: ElfClassLayout = {
  word: 8,
  headerSize: 64,
  phoff: 32,
  phentsize: 54,
  phnum: 56,
  phdrSize: 56,
  phdr: { offset: 8, paddr: 24, filesz: 32, memsz: 40, align: 48 },
};
/** Offset of `e_machine` (u16) in both classes; `p_type` (u32) is at 0 of a program header. */
export const E_MACHINE = 18;

/** `Elf_Nhdr`: namesz, descsz, type, u32 each. */
export const NHDR_SIZE = 12;
/** Name of Xen's notes, its NUL not included. */
export const XEN_NOTE_NAME = "Xen";
/** Physical address of the 32-bit PVH entry point, 4 or 8 bytes. */
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;

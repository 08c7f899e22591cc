/**
 * The notes of an ELF file, read as Xen's loader reads them (libelf in Xen's tools; every rule here was
 * compared with it): a name ends at its first NUL, whatever its size says; notes are padded to 4 bytes; of
 * several entry points the last counts; sections are looked at only if no segment has a note of Xen.
 */
import {
  elf_nhdr,
  LINUX_NOTE_NAME,
  NHDR_SIZE,
  XEN_ELFNOTE_PHYS32_ENTRY,
  XEN_NOTE_NAME,
} from "../../abi/boot/elf.js";

/**
 * Notes that are read of one file, over all its tables.
 * @limit file | notes of an ELF kernel | notes | the rest is not read
 */
export const MAX_NOTES = 65536;

/** A table of notes in the file, which a PT_NOTE segment or a SHT_NOTE section names. */
export interface NoteTable {
  readonly bytes: Uint8Array;
  readonly align: number;
}

/** What the notes of a file say. */
export interface Notes {
  /** Physical address of the PVH entry point; any number. */
  readonly entry: number | undefined;
  /** Whether there are notes of Xen, and of Linux. */
  readonly isXen: boolean;
  readonly isLinux: boolean;
}

const FOUR_GIB = 2 ** 32;

/** Reads the tables of the segments, and those of the sections if they are needed. */
export function readNotes(
  segments: readonly NoteTable[],
  sections: () => readonly NoteTable[],
): Notes {
  const reader = new NoteReader();
  for (const table of segments) reader.read(table, 4);
  // The ELF specification pads to p_align; Xen's loader does not know that. What it finds comes first.
  for (const table of segments) if (!reader.isXen && table.align === 8) reader.read(table, 8);
  if (!reader.isXen) for (const table of sections()) reader.read(table, 4);
  return reader;
}

class NoteReader implements Notes {
  entry: number | undefined;
  isXen = false;
  isLinux = false;
  #left = MAX_NOTES;

  read({ bytes }: NoteTable, align: 4 | 8): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const pad = (size: number): number => Math.ceil(size / align) * align;
    let at = 0;
    while (at + NHDR_SIZE <= bytes.length && this.#left > 0) {
      this.#left -= 1;
      const { n_namesz: nameSize, n_descsz: descSize, n_type: type } = elf_nhdr.read(view, at);
      const desc = pad(at + NHDR_SIZE + nameSize);
      if (desc + descSize > bytes.length) return;
      const named = (name: string) => nameSize > 0 && hasName(bytes, at + NHDR_SIZE, name);
      if (named(LINUX_NOTE_NAME)) this.isLinux = true;
      if (named(XEN_NOTE_NAME)) {
        this.isXen = true;
        if (type === XEN_ELFNOTE_PHYS32_ENTRY) {
          this.entry = numeric(view, desc, descSize);
        }
      }
      at = pad(desc + descSize);
    }
  }
}

/** Whether the text from `at` to the next NUL is `name`. */
function hasName(bytes: Uint8Array, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name.charCodeAt(i)) return false;
  return bytes[at + name.length] === 0;
}

/** A number of 4 or 8 bytes; 0 when it has another size, which is no entry point. */
function numeric(view: DataView, at: number, size: number): number {
  if (size !== 4 && size !== 8) return 0;
  return view.getUint32(at, true) + (size === 8 ? view.getUint32(at + 4, true) * FOUR_GIB : 0);
}

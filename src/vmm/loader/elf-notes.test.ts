import { describe, expect, it } from "vitest";
import { MAX_NOTES, type NoteTable, readNotes } from "./elf-notes.js";

/** A note, padded to 4 bytes; `nameSize` may lie. */
function note(name: string, type: number, desc: readonly number[], nameSize = name.length) {
  const pad = (length: number) => Math.ceil(length / 4) * 4;
  const bytes = new Uint8Array(12 + pad(name.length) + pad(desc.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, nameSize, true);
  view.setUint32(4, desc.length, true);
  view.setUint32(8, type, true);
  bytes.set(new TextEncoder().encode(name), 12);
  bytes.set(desc, 12 + pad(name.length));
  return bytes;
}

/** Little-endian bytes of 0x200000 and what is in the fifth byte. */
const ENTRY = [0, 0, 0x20, 0];
const XEN = "Xen\0";
const entryNote = note(XEN, 18, ENTRY);
const guest = note(XEN, 6, [0x6c, 0x69, 0x6e, 0x75, 0x78, 0]);
const gnu = note("GNU\0", 1, new Array(16).fill(0));

const table = (...notes: Uint8Array[]): NoteTable => ({ bytes: Buffer.concat(notes), align: 4 });
const read = (segments: NoteTable[], sections: NoteTable[] = []) =>
  readNotes(segments, () => sections);

/** What libxenguest of Xen 4.17 found in the same notes (its log of PHYS32_ENTRY); -1: refused. */
const asXen: [string, Uint8Array[], number][] = [
  ["4 bytes", [entryNote], 0x200000],
  ["8 bytes", [note(XEN, 18, [...ENTRY, 0, 0, 0, 0])], 0x200000],
  ["8 bytes above 4 GiB", [note(XEN, 18, [...ENTRY, 1, 0, 0, 0])], 0x100200000],
  ["behind a note of GNU", [gnu, entryNote], 0x200000],
  ["behind the type 18 of another", [note("Foo\0", 18, [0, 0, 0xad, 0xde]), entryNote], 0x200000],
  ["a name without NUL", [note("Xen", 18, ENTRY, 3)], 0x200000],
  ["a name with two NULs", [note("Xen\0\0", 18, ENTRY)], 0x200000],
  ["a name with a tail", [note("Xen\0abcd", 18, ENTRY)], 0x200000],
  ["a long name", [note(`${XEN}${"x".repeat(4092)}`, 18, ENTRY)], 0x200000],
  ["a name that goes on where its size ends", [note("XenX", 18, ENTRY, 3)], -1],
  ["a longer name", [note("XenX\0", 18, ENTRY)], -1],
  ["another case", [note("xen\0", 18, ENTRY)], -1],
  ["no name", [note("", 18, ENTRY)], -1],
  ["descriptions of odd length before it", [note(XEN, 6, [0x6f, 0x64, 0x64]), entryNote], 0x200000],
  ["zeros behind it", [entryNote, new Uint8Array(12)], 0x200000],
  ["a header that is cut off behind it", [entryNote, new Uint8Array(8).fill(4)], 0x200000],
  [
    "a note that is cut off behind it",
    [entryNote, note(XEN, 6, new Array(64).fill(1)).subarray(0, 16)],
    0x200000,
  ],
  ["two: the last counts", [entryNote, note(XEN, 18, [3, 0, 0x20, 0])], 0x200003],
];

describe("readNotes", () => {
  it.each(asXen)("finds what Xen's loader finds: %s", (_name, notes, entry) => {
    expect(read([table(...notes)]).entry ?? -1).toBe(entry);
    expect(read([table()], [table(...notes)]).entry ?? -1).toBe(entry);
  });

  it.each([
    0, 1, 2, 3, 12, 16,
  ])("has no use for a value of %i bytes, even behind a good one", (n) => {
    const odd = note(XEN, 18, new Array(n).fill(1));
    expect(read([table(entryNote, odd)]).entry).toBe(0);
  });

  it("looks at sections only when no segment has a note of Xen", () => {
    expect(read([table(gnu)], [table(entryNote)]).entry).toBe(0x200000);
    expect(read([table(guest)], [table(entryNote)])).toMatchObject({
      entry: undefined,
      isXen: true,
    });
  });

  it("reads tables that are padded to 8 bytes, as the ELF specification has it", () => {
    // 12 of header, 4 of name, 12 of description, 4 of padding.
    const property = Buffer.concat([note("GNU\0", 5, new Array(12).fill(0)), new Uint8Array(4)]);
    const padded = { bytes: Buffer.concat([property, entryNote, new Uint8Array(4)]), align: 8 };
    expect(read([padded]).entry).toBe(0x200000);
    expect(read([{ ...padded, align: 4 }]).entry).toBeUndefined();
    // Linkers also write 8 where the notes are padded to 4: Xen finds those.
    const lied = { bytes: Buffer.concat([note("GNU\0", 5, [0, 0, 0, 0]), entryNote]), align: 8 };
    expect(read([lied]).entry).toBe(0x200000);
  });

  it("tells Linux by its notes", () => {
    expect(read([table(note("Linux\0", 0x100, [1, 2, 3, 4]))]).isLinux).toBe(true);
    expect(read([table(gnu)]).isLinux).toBe(false);
  });

  it(`reads ${MAX_NOTES} notes, over all tables`, () => {
    const empty = new Uint8Array(12 * (MAX_NOTES - 1));
    expect(read([table(empty, entryNote)]).entry).toBe(0x200000);
    expect(read([table(empty), table(new Uint8Array(12), entryNote)]).entry).toBeUndefined();
  });
});

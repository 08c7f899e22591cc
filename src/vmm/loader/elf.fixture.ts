/** Builds small ELF kernels for tests. */
export interface ElfFixture {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly segments: readonly { paddr: number; bytes: Uint8Array; memSize?: number }[];
  /** Physical entry for the PVH note; undefined leaves the note out. */
  readonly entry?: number;
  readonly entryBytes?: 4 | 8;
  /** `e_type`; 2, an executable file, if not given. */
  readonly type?: number;
  /** What virtual addresses are above physical ones. */
  readonly vaddr?: number;
  /** Owner of a note that is no entry point. */
  readonly note?: string;
  /** Types of more program headers, for nothing. */
  readonly headers?: readonly number[];
}

/** An ELF file with one PT_LOAD for each segment and, with an entry, a PT_NOTE. */
export function buildElf(fixture: ElfFixture): Uint8Array {
  const is64 = (fixture.bits ?? 64) === 64;
  const headerSize = is64 ? 64 : 52;
  const phdrSize = is64 ? 56 : 32;
  const note = [
    ...(fixture.entry === undefined ? [] : buildNote(fixture.entry, fixture.entryBytes ?? 4)),
    ...(fixture.note === undefined ? [] : [oneNote(fixture.note, 6, [0x66, 0x6f, 0x6f, 0])]),
  ];
  const more = fixture.headers ?? [];
  const types = [...fixture.segments.map(() => 1), ...note.map(() => 4), ...more];
  const count = types.length;
  const none = more.map(() => new Uint8Array(0));
  const parts = [...fixture.segments.map((s) => s.bytes), ...note, ...none];
  const total = parts.reduce((sum, p) => sum + p.length, headerSize + phdrSize * count);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  const word = (at: number, value: number): void => {
    if (is64) view.setBigUint64(at, BigInt(value), true);
    else view.setUint32(at, value, true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1]);
  view.setUint16(16, fixture.type ?? 2, true);
  view.setUint16(18, fixture.machine ?? (is64 ? 62 : 3), true);
  word(is64 ? 32 : 28, headerSize);
  view.setUint16(is64 ? 54 : 42, phdrSize, true);
  view.setUint16(is64 ? 56 : 44, count, true);
  let data = headerSize + phdrSize * count;
  parts.forEach((bytes, i) => {
    const at = headerSize + i * phdrSize;
    const segment = fixture.segments[i];
    view.setUint32(at, types[i] ?? 0, true);
    word(at + (is64 ? 8 : 4), data);
    word(at + (is64 ? 16 : 8), (segment?.paddr ?? 0) + (fixture.vaddr ?? 0));
    word(at + (is64 ? 24 : 12), segment?.paddr ?? 0);
    word(at + (is64 ? 32 : 16), bytes.length);
    word(at + (is64 ? 40 : 20), segment?.memSize ?? bytes.length);
    word(at + (is64 ? 48 : 28), 4);
    file.set(bytes, data);
    data += bytes.length;
  });
  return file;
}

function buildNote(entry: number, size: 4 | 8): Uint8Array[] {
  const bytes = new Uint8Array(20 + 16 + size);
  const view = new DataView(bytes.buffer);
  // A note of another owner comes first, so that a reader must step over it.
  view.setUint32(0, 4, true);
  view.setUint32(4, 4, true);
  view.setUint32(8, 1, true);
  bytes.set([0x47, 0x4e, 0x55, 0, 9, 9, 9, 9], 12);
  view.setUint32(20, 4, true);
  view.setUint32(24, size, true);
  view.setUint32(28, 18, true);
  bytes.set([0x58, 0x65, 0x6e, 0], 32);
  view.setUint32(36, entry, true);
  return [bytes];
}

function oneNote(owner: string, type: number, desc: readonly number[]): Uint8Array {
  const name = new TextEncoder().encode(`${owner}\0`);
  const bytes = new Uint8Array(12 + Math.ceil(name.length / 4) * 4 + desc.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length, true);
  view.setUint32(4, desc.length, true);
  view.setUint32(8, type, true);
  bytes.set(name, 12);
  bytes.set(desc, bytes.length - desc.length);
  return bytes;
}

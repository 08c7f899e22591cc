/**
 * The file of a snapshot (docs/snapshots.md): a header, then sections with a name, a length and checksums. Nothing
 * in it is an address of a host. Where the bytes go to and come from, and who computes CRC32, is the host's affair.
 */
import { defaultEventLoop, HostError } from "../../base/index.js";
import type { SavedValue } from "../xen/backends/backend.js";
import { damaged } from "./codec.js";

/** Takes the bytes of a snapshot, in their order. */
export interface SnapshotSink {
  /** The array is borrowed until the promise resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** CRC32 as in gzip: of `bytes` behind others that had `before`. */
  crc32(bytes: Uint8Array, before: number): number;
}

/** Gives the bytes of a snapshot, from anywhere. */
export interface SnapshotSource {
  /** Bytes that there are. */
  readonly size: number;
  /** Fills `into` with what is from `at` on, which is inside. */
  read(at: number, into: Uint8Array): Promise<void>;
  /** As {@link SnapshotSink.crc32}. */
  crc32(bytes: Uint8Array, before: number): number;
  /** It is not read any more. */
  close?(): Promise<void>;
}

/** The format that is written, and the only one that is read. */
export const SNAPSHOT_VERSION = 3;

const MAGIC = "kvm-xen\n";
const HEADER_BYTES = 16;
const NAME_BYTES = 12;
/** Name, length (u64), CRC32 of the content, CRC32 of all before it. */
const SECTION_HEADER_BYTES = NAME_BYTES + 16;

/** What a section may be called. */
export type SectionName =
  | "machine"
  | "kvm"
  | "engine"
  | "kernel"
  | "initrd"
  | "module"
  | "pages"
  | "disk"
  | "end";
const NAMES: readonly string[] = [
  ...["machine", "kvm", "engine", "kernel", "initrd", "module", "pages", "disk", "end"],
];

/** @limit file | sections of a snapshot | sections | SNAPSHOT_DAMAGED */
const MAX_SECTIONS = 100_000;
/** @limit file | a section of a snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_SECTION = 3.5 * 2 ** 30;
/** @limit file | a section of JSON in a snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_JSON = 64 << 20;

/** A section of a file that is read. */
export interface Section {
  readonly name: SectionName;
  /** Where its content begins. */
  readonly at: number;
  readonly length: number;
  readonly crc32: number;
}

/** Writes the start of a file. */
export async function writeHeader(sink: SnapshotSink): Promise<void> {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(new TextEncoder().encode(MAGIC));
  new DataView(header.buffer).setUint32(8, SNAPSHOT_VERSION, true);
  await sink.write(header);
}

/** Bytes that are summed up at once, in some hundredths of a second: an initrd may have 3 GiB. */
const PIECE = 16 << 20;

/** CRC32 of bytes that follow each other; other work of the host has its turn meanwhile. */
async function sumOf(
  { crc32 }: Pick<SnapshotSink, "crc32">,
  parts: readonly Uint8Array[],
): Promise<number> {
  const { yieldNow } = defaultEventLoop();
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE) {
      if (at > 0) await yieldNow();
      sum = crc32(part.subarray(at, at + PIECE), sum);
    }
  }
  return sum;
}

/** Writes one section, whose content comes in parts. */
export async function writeSection(
  sink: SnapshotSink,
  name: SectionName,
  parts: readonly Uint8Array[],
): Promise<void> {
  const header = new Uint8Array(SECTION_HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(new TextEncoder().encode(name));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  view.setBigUint64(NAME_BYTES, BigInt(length), true);
  view.setUint32(NAME_BYTES + 8, await sumOf(sink, parts), true);
  view.setUint32(NAME_BYTES + 12, sink.crc32(header.subarray(0, NAME_BYTES + 12), 0), true);
  await sink.write(header);
  for (const part of parts) if (part.length > 0) await sink.write(part);
}

/** Writes a section of JSON. */
export const writeJson = (
  sink: SnapshotSink,
  name: SectionName,
  value: SavedValue,
): Promise<void> => writeSection(sink, name, [new TextEncoder().encode(JSON.stringify(value))]);

/**
 * Finds the sections of a file.
 * @throws HostError NOT_A_SNAPSHOT, SNAPSHOT_VERSION for another version's, SNAPSHOT_DAMAGED.
 */
export async function readSections(source: SnapshotSource): Promise<readonly Section[]> {
  const header = await readBytes(source, 0, HEADER_BYTES, "its start");
  if (new TextDecoder().decode(header.subarray(0, 8)) !== MAGIC) {
    throw new HostError("NOT_A_SNAPSHOT", "this file is no snapshot: --save makes one");
  }
  const version = new DataView(header.buffer).getUint32(8, true);
  if (version !== SNAPSHOT_VERSION) {
    const message = `the snapshot has format ${version}, this release reads ${SNAPSHOT_VERSION}: use the release that made it`;
    throw new HostError("SNAPSHOT_VERSION", message);
  }
  const sections: Section[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const section = await readSectionHeader(source, at);
    at = section.at + section.length;
    if (section.name === "end") break;
    sections.push(section);
    if (sections.length > MAX_SECTIONS) throw damaged("too many sections");
  }
  if (at !== source.size) throw damaged("its end");
  return sections;
}

async function readSectionHeader(source: SnapshotSource, at: number): Promise<Section> {
  const header = await readBytes(source, at, SECTION_HEADER_BYTES, "it is not whole");
  const view = new DataView(header.buffer);
  const name = new TextDecoder().decode(header.subarray(0, NAME_BYTES)).replace(/\0+$/, "");
  const length = Number(view.getBigUint64(NAME_BYTES, true));
  const sum = source.crc32(header.subarray(0, NAME_BYTES + 12), 0);
  if (view.getUint32(NAME_BYTES + 12, true) !== sum || !NAMES.includes(name)) {
    throw damaged(`a section at byte ${at}`);
  }
  const start = at + SECTION_HEADER_BYTES;
  if (length > MAX_SECTION || start + length > source.size) throw damaged("it is not whole");
  return {
    name: name as SectionName,
    at: start,
    length,
    crc32: view.getUint32(NAME_BYTES + 8, true),
  };
}

async function readBytes(
  source: SnapshotSource,
  at: number,
  length: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  if (at + length > source.size) throw damaged(what);
  const bytes = new Uint8Array(length);
  await source.read(at, bytes);
  return bytes;
}

/** The content of a section. @throws HostError SNAPSHOT_DAMAGED when its checksum is another. */
export async function readSection(source: SnapshotSource, section: Section): Promise<Uint8Array> {
  const bytes = await readBytes(source, section.at, section.length, "it is not whole");
  if ((await sumOf(source, [bytes])) !== section.crc32) throw damaged(`section ${section.name}`);
  return bytes;
}

/** The content of the one section of a name, as JSON; undefined when there is none. */
export async function readJson(
  source: SnapshotSource,
  sections: readonly Section[],
  name: SectionName,
): Promise<SavedValue | undefined> {
  const [section, another] = sections.filter((one) => one.name === name);
  if (section === undefined) return undefined;
  if (another !== undefined || section.length > MAX_JSON) throw damaged(`section ${name}`);
  const bytes = await readSection(source, section);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as SavedValue;
  } catch (cause) {
    throw damaged(`section ${name}`, cause);
  }
}

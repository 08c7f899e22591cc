import type { HostError } from "../../../base/index.js";
import { decodeBcjX86 } from "./bcj-x86.js";
import { concat } from "./bytes.js";
import { damaged as damagedData, tooLarge } from "./compressed-data.js";
import { crc32 } from "./crc32.js";

/**
 * Files in the .xz format (specification 1.2.1), as kernels are packed with them. The LZMA2 decoder
 * is the library's; it has no branch filters, which kernel images use, so a block with the x86
 * filter is handed to it as a file of its own without that filter, and the filter undone here.
 * Left out: all other filters, and the check types SHA-256 and CRC64 on filtered blocks (read, not
 * compared; a kernel must use CRC32).
 */

const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
const CHECK_CRC32 = 1;
/** The largest dictionary size of LZMA2, 4 GiB, as its property byte. */
const LARGEST_DICTIONARY = 40;
const HEADER_BYTES = 12;
/** Bytes of the check after a block, by check type. */
const checkBytes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const headerMagic = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00);
const footerMagic = Uint8Array.of(0x59, 0x5a);

/**
 * Blocks of one file: each costs a decoder of its own.
 * @limit file | blocks of xz data | blocks | KERNEL_DAMAGED, status 2
 */
const MAX_BLOCKS = 4096;

/** Decodes one plain xz file (LZMA2 only), and stops behind `limit` bytes: the library. */
export type PlainXzDecoder = (file: Uint8Array, limit: number) => Promise<Uint8Array>;

interface Block {
  readonly offset: number;
  /** Header, data and check, without the padding. */
  readonly unpaddedBytes: number;
  readonly plainBytes: number;
}

interface Filter {
  readonly id: number;
  readonly properties: Uint8Array;
}

/**
 * Decompresses an xz file of one stream, to `limit` bytes at most.
 * @throws HostError `COMPRESSED_DATA` when it is damaged or uses a filter that is not there,
 * `UNPACKED_TOO_LARGE`.
 */
export async function decodeXz(
  file: Uint8Array,
  plain: PlainXzDecoder,
  limit: number,
): Promise<Uint8Array> {
  const stream = trimToStream(file);
  const check = (stream[7] ?? 0) & 15;
  const parts: Uint8Array[] = [];
  const blocks = readIndex(stream);
  const total = blocks.reduce((sum, block) => sum + block.plainBytes, 0);
  if (total > limit) throw tooLarge("xz", limit);
  for (const block of blocks) {
    const headerBytes = ((stream[block.offset] ?? 0) + 1) * 4;
    const filters = readFilters(stream.subarray(block.offset, block.offset + headerBytes));
    const checkLength = checkBytes[check] ?? 0;
    const dataEnd = block.offset + block.unpaddedBytes - checkLength;
    const data = stream.subarray(block.offset + headerBytes, dataEnd);
    const last = filters.at(-1);
    if (last?.id !== FILTER_LZMA2 || filters.length > 2) throw damaged("unknown filter chain");
    if (filters.length === 2 && filters[0]?.id !== FILTER_X86) {
      throw damaged(`filter ${filters[0]?.id} is not supported`);
    }
    const bytes = await plain(plainFile(data, last, block.plainBytes), block.plainBytes);
    if (bytes.length !== block.plainBytes) throw damaged("a block has the wrong length");
    if (filters.length === 2) decodeBcjX86(bytes);
    if (check === CHECK_CRC32 && crc32(bytes) !== u32(stream, Math.ceil(dataEnd / 4) * 4)) {
      throw damaged("checksum does not match");
    }
    parts.push(bytes);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : concat(parts);
}

function damaged(what: string): HostError {
  return damagedData("xz", what);
}

function u32(bytes: Uint8Array, at: number): number {
  if (at < 0 || at + 4 > bytes.length) throw damaged("it ends too early");
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value, true);
}

function startsWith(bytes: Uint8Array, at: number, magic: Uint8Array): boolean {
  return magic.every((byte, i) => bytes[at + i] === byte);
}

/** Cuts what follows the stream's footer: kernel images append the unpacked size, 4 bytes. */
function trimToStream(file: Uint8Array): Uint8Array {
  if (!startsWith(file, 0, headerMagic)) throw damaged("no xz header");
  for (const tail of [0, 4]) {
    const end = file.length - tail;
    if (end >= 2 * HEADER_BYTES && startsWith(file, end - 2, footerMagic)) {
      return file.subarray(0, end);
    }
  }
  throw damaged("it ends too early");
}

/** Variable-length integers of the format: 7 bits a byte, the lowest first. */
class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 42; scale *= 128) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw damaged("it ends too early");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw damaged("a number is too large");
  }

  take(length: number): Uint8Array {
    const taken = this.#bytes.subarray(this.at, this.at + length);
    if (taken.length !== length) throw damaged("it ends too early");
    this.at += length;
    return taken;
  }
}

function readIndex(stream: Uint8Array): Block[] {
  const indexBytes = (u32(stream, stream.length - 8) + 1) * 4;
  const indexStart = stream.length - HEADER_BYTES - indexBytes;
  if (indexStart < HEADER_BYTES || stream[indexStart] !== 0) throw damaged("no index");
  const reader = new Reader(stream, indexStart + 1);
  const count = reader.number();
  if (count > indexBytes / 2) throw damaged("the index is too short");
  if (count > MAX_BLOCKS) throw damaged(`it has more than ${MAX_BLOCKS} blocks`);
  const blocks: Block[] = [];
  let offset = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const unpaddedBytes = reader.number();
    blocks.push({ offset, unpaddedBytes, plainBytes: reader.number() });
    offset += Math.ceil(unpaddedBytes / 4) * 4;
    if (offset > indexStart) throw damaged("the index points past the data");
  }
  return blocks;
}

function readFilters(header: Uint8Array): Filter[] {
  if (crc32(header.subarray(0, -4)) !== u32(header, header.length - 4)) {
    throw damaged("a block header is damaged");
  }
  const flags = header[1] ?? 0;
  const reader = new Reader(header, 2);
  if (flags & 0x40) reader.number();
  if (flags & 0x80) reader.number();
  const filters: Filter[] = [];
  for (let i = 0; i <= (flags & 3); i++) {
    const id = reader.number();
    filters.push({ id, properties: reader.take(reader.number()) });
  }
  return filters;
}

function encodeNumber(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

/**
 * The property byte of LZMA2 for a dictionary of at least `bytes`, but not a larger one than the file wants
 * (specification 5.3.1): the decoder allocates all of it.
 */
function dictionaryFor(bytes: number, wanted: number): number {
  const sizeOf = (property: number): number => (2 | (property & 1)) * 2 ** ((property >> 1) + 11);
  let property = 0;
  while (property < wanted && sizeOf(property) < bytes) property += 1;
  return property;
}

/** An xz file of one block, without check, around LZMA2 data. */
function plainFile(data: Uint8Array, lzma2: Filter, plainBytes: number): Uint8Array {
  const streamHeader = withCrc([0, 0]);
  const wanted = lzma2.properties[0];
  if (lzma2.properties.length !== 1 || wanted === undefined || wanted > LARGEST_DICTIONARY) {
    throw damaged("a dictionary size is damaged");
  }
  const properties = [FILTER_LZMA2, 1, dictionaryFor(plainBytes, wanted)];
  const blockHeader = padded([0, 0, ...properties]);
  blockHeader[0] = blockHeader.length / 4;
  const unpadded = blockHeader.length + 4 + data.length;
  const index = padded([0, 1, ...encodeNumber(unpadded), ...encodeNumber(plainBytes)]);
  const backward = new Uint8Array(6);
  putU32(backward, 0, (index.length + 4) / 4 - 1);
  const footer = withCrc([...backward]);
  return concat([
    headerMagic,
    streamHeader,
    withCrc(blockHeader),
    data,
    new Uint8Array((4 - (data.length % 4)) % 4),
    withCrc(index),
    footer.subarray(6),
    footer.subarray(0, 6),
    footerMagic,
  ]);
}

function padded(bytes: number[]): number[] {
  while (bytes.length % 4 !== 0) bytes.push(0);
  return bytes;
}

function withCrc(bytes: number[]): Uint8Array {
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes);
  putU32(out, bytes.length, crc32(out.subarray(0, bytes.length)));
  return out;
}

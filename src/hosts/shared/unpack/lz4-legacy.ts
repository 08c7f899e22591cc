import { concat } from "./bytes.js";
import { damaged, tooLarge } from "./compressed-data.js";

/**
 * The legacy LZ4 frame format (`lz4 -l`; LZ4 frame description, "Legacy frame"), which the Linux
 * kernel uses for its image: a magic number, then blocks of up to 8 MiB, each after its length.
 * Every block but the last is full. The block format (LZ4 block description) is read here: the
 * libraries for it follow lengths and offsets of damaged data wherever they lead.
 */

const MAGIC = 0x184c2102;
const BLOCK_BYTES = 8 << 20;
/** The most that a block of 8 MiB can take up when it does not compress (LZ4_compressBound). */
const LONGEST_BLOCK = BLOCK_BYTES + Math.ceil(BLOCK_BYTES / 255) + 16;
/** Shortest match; a token counts from here. */
const MIN_MATCH = 4;

/**
 * Decompresses a legacy frame to at most `limit` bytes. The unpacked size that kernels append is ignored.
 * @throws HostError `COMPRESSED_DATA` when the data is damaged, `UNPACKED_TOO_LARGE`.
 */
export function decodeLz4Legacy(data: Uint8Array, limit: number): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 8 || view.getUint32(0, true) !== MAGIC) throw damaged("lz4", "no lz4 header");
  const parts: Uint8Array[] = [];
  let total = 0;
  let at = 4;
  for (let full = true; full && at + 4 <= data.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > data.length) {
      if (parts.length > 0 && at === data.length) break;
      throw damaged("lz4", "it ends too early");
    }
    if (length > LONGEST_BLOCK) throw damaged("lz4", "a block is too long");
    const room = Math.min(BLOCK_BYTES, limit - total);
    const block = decodeBlock(data.subarray(at, at + length), room);
    if (block === undefined && room < BLOCK_BYTES) throw tooLarge("lz4", limit);
    if (block === undefined) throw damaged("lz4", "a block is damaged");
    parts.push(block);
    total += block.length;
    at += length;
    full = block.length === BLOCK_BYTES;
  }
  return concat(parts);
}

/** The bytes of one block; undefined when it is damaged or gives more than `room` bytes. */
function decodeBlock(source: Uint8Array, room: number): Uint8Array | undefined {
  const out = new Uint8Array(room);
  const end = source.length;
  let from = 0;
  let to = 0;
  /** A length whose first four bits are 15 goes on in bytes, up to one that is not 255. */
  const extended = (start: number): number => {
    let length = start;
    for (let byte = 255; byte === 255; length += byte) {
      if (from >= end || length > room) return Number.POSITIVE_INFINITY;
      byte = source[from++] as number;
    }
    return length;
  };
  while (from < end) {
    const token = source[from++] as number;
    const literals = token >> 4 === 15 ? extended(15) : token >> 4;
    if (literals > end - from || literals > room - to) return undefined;
    out.set(source.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    // The last sequence is literals only.
    if (from === end) return out.subarray(0, to);
    if (from + 2 > end) return undefined;
    const offset = (source[from] as number) | ((source[from + 1] as number) << 8);
    from += 2;
    const match = ((token & 15) === 15 ? extended(15) : token & 15) + MIN_MATCH;
    if (offset === 0 || offset > to || match > room - to) return undefined;
    if (offset >= match) out.copyWithin(to, to - offset, to - offset + match);
    // The match runs into what it makes.
    else for (let i = to; i < to + match; i++) out[i] = out[i - offset] as number;
    to += match;
  }
  return undefined;
}

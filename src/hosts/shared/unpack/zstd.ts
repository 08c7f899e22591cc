import { ZSTDDecoder } from "zstddec/stream";
import { damaged, tooLarge } from "./compressed-data.js";

/**
 * Zstandard frames (RFC 8878) by the library, in one call whose memory is bounded: the library's decoding in
 * pieces, which it chooses by itself when a frame does not say its size, never ends on damaged data and keeps
 * every piece. So the frame's headers are read here first: where it ends (kernel images append the unpacked
 * size), and what its blocks can give at most.
 */

const MAGIC = 0xfd2fb528;
/** What a block can give at most (RFC 8878, section 3.1.1.2.4). */
const BLOCK_BYTES = 128 << 10;
/** Types of blocks. */
const RAW = 0;
const RUN_LENGTH = 1;
/** The decoder has 2 GiB of memory for input, output and itself. */
const DECODER_BYTES = 2 ** 31 - (64 << 20);

let decoder: Promise<ZSTDDecoder> | undefined;

/**
 * Decompresses the first frame of `data`, to `limit` bytes at most.
 * @throws HostError `COMPRESSED_DATA` when it is damaged, `UNPACKED_TOO_LARGE`.
 */
export async function decodeZstd(data: Uint8Array, limit: number): Promise<Uint8Array> {
  const { end, atMost } = measure(data);
  if (atMost === 0) return new Uint8Array(0);
  // To the library, 0 means a size of its own choice.
  const room = Math.max(Math.min(atMost, limit), 1);
  if (end + room > DECODER_BYTES) throw tooLarge("zstd", DECODER_BYTES - end);
  let bytes: Uint8Array;
  try {
    decoder ??= start();
    const ready = await decoder;
    bytes = ready.decode(data.subarray(0, end), room);
  } catch (cause) {
    throw damaged("zstd", "it is damaged", cause);
  }
  // An error of the decoder is a negative length, of which the library makes no bytes.
  if (bytes.length > 0 && bytes.length <= limit) return bytes;
  throw atMost > limit ? tooLarge("zstd", limit) : damaged("zstd", "it is damaged");
}

async function start(): Promise<ZSTDDecoder> {
  const made = new ZSTDDecoder();
  await made.init();
  return made;
}

/** Walks the block headers: where the frame ends, and how many bytes it can give at most. */
function measure(data: Uint8Array): { end: number; atMost: number } {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  try {
    if (view.getUint32(0, true) !== MAGIC) throw new RangeError("no magic number");
    const descriptor = view.getUint8(4);
    const singleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    let at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
    let atMost = 0;
    for (let last = false; !last; ) {
      const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      last = (header & 1) !== 0;
      const type = (header >> 1) & 3;
      const size = header >> 3;
      atMost += type === RAW || type === RUN_LENGTH ? size : BLOCK_BYTES;
      at += 3 + (type === RUN_LENGTH ? 1 : size);
    }
    at += descriptor & 4 ? 4 : 0;
    if (at > data.length) throw new RangeError("frame ends too early");
    return { end: at, atMost };
  } catch {
    throw damaged("zstd", "it ends too early");
  }
}

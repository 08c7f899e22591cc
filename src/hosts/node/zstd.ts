import { ZSTDDecoder } from "zstddec/stream";
import { HostError } from "../../base/index.js";

/**
 * Zstandard frames (RFC 8878) by the library, which wants exactly one frame: kernel images append
 * the unpacked size, so the frame's end is found here.
 */

const MAGIC = 0xfd2fb528;

let decoder: Promise<ZSTDDecoder> | undefined;

/**
 * Decompresses the first frame of `data`.
 * @throws HostError `COMPRESSED_DATA` when it is damaged.
 */
export async function decodeZstd(data: Uint8Array): Promise<Uint8Array> {
  const frame = data.subarray(0, frameEnd(data));
  decoder ??= start();
  const ready = await decoder;
  try {
    return ready.decode(frame);
  } catch (cause) {
    throw new HostError("COMPRESSED_DATA", "zstd data cannot be read: it is damaged", { cause });
  }
}

async function start(): Promise<ZSTDDecoder> {
  const made = new ZSTDDecoder();
  await made.init();
  return made;
}

/** Walks the block headers to the offset behind the frame (RFC 8878, section 3.1.1). */
function frameEnd(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  try {
    if (view.getUint32(0, true) !== MAGIC) throw new RangeError("no magic number");
    const descriptor = view.getUint8(4);
    const singleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    let at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
    for (let last = false; !last; ) {
      const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      last = (header & 1) !== 0;
      const isRunLength = ((header >> 1) & 3) === 1;
      at += 3 + (isRunLength ? 1 : header >> 3);
    }
    at += descriptor & 4 ? 4 : 0;
    if (at > data.length) throw new RangeError("frame ends too early");
    return at;
  } catch (cause) {
    throw new HostError("COMPRESSED_DATA", "zstd data cannot be read: it ends too early", {
      cause,
    });
  }
}

import lz4 from "lz4js";
import { HostError } from "../../base/index.js";

/**
 * The legacy LZ4 frame format (`lz4 -l`; LZ4 frame description, "Legacy frame"), which the Linux
 * kernel uses for its image: a magic number, then blocks of up to 8 MiB, each after its length.
 * Every block but the last is full.
 */

const MAGIC = 0x184c2102;
const BLOCK_BYTES = 8 << 20;
/** The most that a block of 8 MiB can take up when it does not compress (LZ4_compressBound). */
const LONGEST_BLOCK = BLOCK_BYTES + Math.ceil(BLOCK_BYTES / 255) + 16;

/**
 * Decompresses a legacy frame. The unpacked size that kernels append is ignored.
 * @throws HostError `COMPRESSED_DATA` when the data is damaged.
 */
export function decodeLz4Legacy(data: Uint8Array): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 8 || view.getUint32(0, true) !== MAGIC) throw damaged();
  const parts: Uint8Array[] = [];
  let at = 4;
  for (let full = true; full && at + 4 <= data.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > data.length) {
      if (parts.length > 0 && at === data.length) break;
      throw damaged();
    }
    if (length > LONGEST_BLOCK) throw damaged();
    const block = new Uint8Array(BLOCK_BYTES);
    const size = lz4.decompressBlock(data, block, at, length, 0);
    if (!(size <= BLOCK_BYTES)) throw damaged();
    parts.push(block.subarray(0, size));
    at += length;
    full = size === BLOCK_BYTES;
  }
  return Buffer.concat(parts);
}

function damaged(): HostError {
  return new HostError("COMPRESSED_DATA", "lz4 data cannot be read: it is damaged");
}

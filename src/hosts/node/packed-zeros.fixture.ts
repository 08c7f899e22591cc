/** Packed zeros, made without the tools: small files that take long to unpack. */

/** A zstd frame (RFC 8878) of `mib` MiB of zeros: run-length blocks of 128 KiB, 32 bytes for a MiB. */
export function zstdZeros(mib: number): Uint8Array {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
  const blocks = Buffer.alloc(mib * 8 * 4);
  for (let at = 0; at < blocks.length; at += 4) {
    const isLast = at + 4 === blocks.length ? 1 : 0;
    blocks.writeUIntLE(((128 << 10) << 3) | (1 << 1) | isLast, at, 3);
  }
  return Buffer.concat([Buffer.from(header), blocks]);
}

/** A legacy LZ4 frame of `mib` MiB of zeros, a multiple of 8: in each block one zero that is repeated. */
export function lz4Zeros(mib: number): Uint8Array {
  const BLOCK = 8 << 20;
  /** A literal, its repetition but for the last five bytes, and these as literals again. */
  const repeated = BLOCK - 1 - 5;
  const rest = repeated - 4 - 15;
  const length = Buffer.alloc(Math.floor(rest / 255) + 1, 255);
  length[length.length - 1] = rest % 255;
  const block = Buffer.concat([
    Buffer.from([0x1f, 0, 1, 0]),
    length,
    Buffer.from([0x50, 0, 0, 0, 0, 0]),
  ]);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(block.length);
  const blocks = Array.from({ length: mib / 8 }, () => [size, block]).flat();
  return Buffer.concat([Buffer.from([0x02, 0x21, 0x4c, 0x18]), ...blocks]);
}

/** Compressed data in kernel files: which format it is, and how it is unpacked within a limit. */
import { HostError } from "../../base/index.js";
import type { CompressionFormat, Decompressors } from "../../ports/decompress.js";

const MAGICS = [
  { format: "gzip", bytes: [0x1f, 0x8b] },
  { format: "xz", bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { format: "zstd", bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { format: "lz4", bytes: [0x02, 0x21, 0x4c, 0x18] },
  { format: "lz4's frame format", bytes: [0x04, 0x22, 0x4d, 0x18] },
  { format: "lzma", bytes: [0x5d, 0x00, 0x00] },
  { format: "bzip2", bytes: [0x42, 0x5a, 0x68] },
  { format: "lzo", bytes: [0x89, 0x4c, 0x5a, 0x4f] },
] as const;

/** A format that is known by its magic number. */
export type PackedFormat = (typeof MAGICS)[number]["format"];

/** The format of compressed data by its magic number. */
export function packedFormat(data: Uint8Array): PackedFormat | undefined {
  return MAGICS.find((magic) => magic.bytes.every((byte, i) => data[i] === byte))?.format;
}

/** Whether the data can be unpacked here. */
export function isSupported(format: PackedFormat): format is CompressionFormat {
  return format === "gzip" || format === "xz" || format === "zstd" || format === "lz4";
}

/** How unpacking ended. */
export type Unpacked =
  | { readonly bytes: Uint8Array }
  | { readonly failure: "too large" | "damaged"; readonly cause: unknown };

/**
 * Unpacks data to at most `limit` bytes.
 * @throws what the host's own trouble is, such as a HostError HOST_MEMORY.
 */
export async function unpack(
  decompressors: Decompressors,
  format: CompressionFormat,
  data: Uint8Array,
  limit: number,
): Promise<Unpacked> {
  try {
    return { bytes: await decompressors.decompress(format, data, limit) };
  } catch (cause) {
    const code = cause instanceof HostError ? cause.code : undefined;
    if (code === "UNPACKED_TOO_LARGE") return { failure: "too large", cause };
    if (code === "COMPRESSED_DATA") return { failure: "damaged", cause };
    // The host's own trouble says nothing about the data.
    throw cause;
  }
}

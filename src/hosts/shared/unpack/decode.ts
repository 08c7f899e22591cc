import type { CompressionFormat } from "../../../ports/decompress.js";

/** Unpacks one whole gzip stream, as the host does it itself. */
export type GzipDecoder = (data: Uint8Array, limit: number) => Promise<Uint8Array>;

/**
 * Unpacks one whole stream on the thread that calls: gzip by the host's own decoder, the others by ours, each loaded when
 * the first stream needs it. Most of them work in one piece, which takes seconds near a GiB.
 * @throws HostError `UNPACKED_TOO_LARGE`, `HOST_MEMORY`, or `COMPRESSED_DATA` for damaged data.
 */
export async function decode(
  format: CompressionFormat,
  data: Uint8Array,
  limit: number,
  decodeGzip: GzipDecoder,
): Promise<Uint8Array> {
  switch (format) {
    case "gzip":
      return decodeGzip(data, limit);
    case "xz": {
      const [{ decodeXz }, { decodePlainXz }] = await Promise.all([
        import("./xz.js"),
        import("./xz-plain.js"),
      ]);
      return decodeXz(data, decodePlainXz, limit);
    }
    case "zstd":
      return (await import("./zstd.js")).decodeZstd(data, limit);
    case "lz4":
      return (await import("./lz4-legacy.js")).decodeLz4Legacy(data, limit);
  }
}

import { gunzip } from "node:zlib";
import type { CompressionFormat } from "../../ports/decompress.js";
import { damaged, tooLarge } from "../shared/unpack/compressed-data.js";
import { decodeLz4Legacy } from "../shared/unpack/lz4-legacy.js";
import { decodeXz } from "../shared/unpack/xz.js";
import { decodePlainXz } from "../shared/unpack/xz-plain.js";
import { decodeZstd } from "../shared/unpack/zstd.js";

/**
 * Decompresses one whole stream on the thread that calls: gzip by Node itself, xz and zstd by decoders compiled
 * to WebAssembly, lz4 by one in TypeScript. Most of them work in one piece, which takes seconds near a GiB.
 * @throws HostError `UNPACKED_TOO_LARGE`, `HOST_MEMORY`, or `COMPRESSED_DATA` for damaged data.
 */
export async function decompressHere(
  format: CompressionFormat,
  data: Uint8Array,
  limit: number,
): Promise<Uint8Array> {
  switch (format) {
    case "gzip":
      return decodeGzip(data, limit);
    case "xz":
      return decodeXz(data, decodePlainXz, limit);
    case "zstd":
      return decodeZstd(data, limit);
    case "lz4":
      return decodeLz4Legacy(data, limit);
  }
}

/** Input of zlib for one step of its work; other work of this process gets its turn between steps. */
const CHUNK = 1 << 20;

function decodeGzip(data: Uint8Array, limit: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    // Node wants to be allowed one byte at least.
    const options = { maxOutputLength: Math.max(limit, 1), chunkSize: CHUNK };
    gunzip(data, options, (error, bytes) => {
      if (error && (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
        return reject(tooLarge("gzip", limit));
      }
      if (error) return reject(damaged("gzip", error.message, error));
      if (bytes.length > limit) return reject(tooLarge("gzip", limit));
      resolve(bytes);
    });
  });
}

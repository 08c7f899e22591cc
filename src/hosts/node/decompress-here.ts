import { gunzip } from "node:zlib";
import type { CompressionFormat } from "../../ports/decompress.js";
import { damaged, tooLarge } from "../shared/unpack/compressed-data.js";
import { decode } from "../shared/unpack/decode.js";

/**
 * Decompresses one whole stream on the thread that calls: gzip by Node itself, xz and zstd by decoders compiled
 * to WebAssembly, lz4 by one in TypeScript.
 * @throws HostError `UNPACKED_TOO_LARGE`, `HOST_MEMORY`, or `COMPRESSED_DATA` for damaged data.
 */
export async function decompressHere(
  format: CompressionFormat,
  data: Uint8Array,
  limit: number,
): Promise<Uint8Array> {
  return decode(format, data, limit, decodeGzip);
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

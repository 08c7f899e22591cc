import type { Decompressors } from "../../ports/decompress.js";
import { concat } from "../shared/unpack/bytes.js";
import { damaged, tooLarge } from "../shared/unpack/compressed-data.js";
import { decode } from "../shared/unpack/decode.js";

/**
 * Decompression in a browser: gzip by the browser itself, the others by decoders that are loaded when a kernel needs
 * them. They work on the thread that calls, which is a worker's.
 * Every failure is a HostError: `UNPACKED_TOO_LARGE`, `HOST_MEMORY`, or `COMPRESSED_DATA` for damaged data.
 */
export const browserDecompressors: Decompressors = {
  decompress: (format, data, limit) => decode(format, data, limit, decodeGzip),
};

async function decodeGzip(data: Uint8Array, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  // What is wrong with the data is told where it is read.
  writer.write(data as Uint8Array<ArrayBuffer>).catch(() => undefined);
  writer.close().catch(() => undefined);
  const reader = readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      total += value.length;
      if (total > limit) break;
    }
  } catch (cause) {
    throw damaged("gzip", cause instanceof Error ? cause.message : "it is damaged", cause);
  }
  if (total > limit) {
    reader.cancel().catch(() => undefined);
    throw tooLarge("gzip", limit);
  }
  return concat(parts);
}

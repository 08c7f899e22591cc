import { gunzip } from "node:zlib";
import xzDecompress from "xz-decompress";
import { HostError } from "../../base/index.js";
import type { CompressionFormat, Decompressors } from "../../ports/decompress.js";
import { decodeLz4Legacy } from "./lz4-legacy.js";
import { decodeXz } from "./xz.js";
import { decodeZstd } from "./zstd.js";

/**
 * Decompression for kernel images in Node: gzip by Node itself, xz and zstd by decoders compiled to
 * WebAssembly, lz4 by one in JavaScript. Nothing here needs a compiler or a download.
 * Every failure is a HostError with the code `COMPRESSED_DATA`.
 */
export const nodeDecompressors: Decompressors = {
  async decompress(format: CompressionFormat, data: Uint8Array): Promise<Uint8Array> {
    switch (format) {
      case "gzip":
        return decodeGzip(data);
      case "xz":
        return decodeXz(data, decodePlainXz);
      case "zstd":
        return decodeZstd(data);
      case "lz4":
        return decodeLz4Legacy(data);
    }
  },
};

function decodeGzip(data: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(data, (error, bytes) => {
      if (!error) return resolve(bytes);
      const message = `gzip data cannot be read: ${error.message}`;
      reject(new HostError("COMPRESSED_DATA", message, { cause: error }));
    });
  });
}

async function decodePlainXz(file: Uint8Array): Promise<Uint8Array> {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(file);
      controller.close();
    },
  });
  const parts: Uint8Array[] = [];
  try {
    for await (const part of new xzDecompress.XzReadableStream(source)) parts.push(part);
  } catch (cause) {
    throw new HostError("COMPRESSED_DATA", "xz data cannot be read: it is damaged", { cause });
  }
  return Buffer.concat(parts);
}

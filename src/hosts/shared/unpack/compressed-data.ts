import { HostError } from "../../../base/index.js";
import type { CompressionFormat } from "../../../ports/decompress.js";

/** Whether a decoder could not get memory: WebAssembly's own, a buffer of Node, or zlib's. */
const isNoMemory = (cause: unknown): boolean =>
  cause instanceof RangeError ||
  (cause as { readonly code?: unknown } | undefined)?.code === "Z_MEM_ERROR";

/** The error for data that cannot be read; `what` says why. Of want of memory, that one. */
export function damaged(format: CompressionFormat, what: string, cause?: unknown): HostError {
  if (isNoMemory(cause)) {
    const text = `there is not enough memory to unpack ${format} data (ulimit -v may be too small)`;
    return new HostError("HOST_MEMORY", text, { cause });
  }
  const message = `${format} data cannot be read: ${what}`;
  return new HostError("COMPRESSED_DATA", message, cause === undefined ? undefined : { cause });
}

/** The error for data that would give more than `limit` bytes. */
export function tooLarge(format: CompressionFormat, limit: number): HostError {
  return new HostError("UNPACKED_TOO_LARGE", `${format} data gives more than ${limit} bytes`);
}

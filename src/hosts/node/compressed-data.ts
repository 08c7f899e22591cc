import { HostError } from "../../base/index.js";
import type { CompressionFormat } from "../../ports/decompress.js";

/** The error for data that cannot be read; `what` says why. */
export function damaged(format: CompressionFormat, what: string, cause?: unknown): HostError {
  const message = `${format} data cannot be read: ${what}`;
  return new HostError("COMPRESSED_DATA", message, cause === undefined ? undefined : { cause });
}

/** The error for data that would give more than `limit` bytes. */
export function tooLarge(format: CompressionFormat, limit: number): HostError {
  return new HostError("UNPACKED_TOO_LARGE", `${format} data gives more than ${limit} bytes`);
}

/** The thread of one decompression: see decompress.ts, which starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { assert, HostError } from "../../base/index.js";
import type { CompressionFormat } from "../../ports/decompress.js";
import { decompressHere } from "./decompress-here.js";

/** What the thread is started with. */
export interface DecompressWork {
  readonly format: CompressionFormat;
  readonly data: Uint8Array;
  readonly limit: number;
}

/** What it says, once. */
export type DecompressReport =
  | { readonly bytes: Uint8Array }
  | { readonly code: string; readonly message: string };

async function work({ format, data, limit }: DecompressWork): Promise<DecompressReport> {
  try {
    return { bytes: await decompressHere(format, data, limit) };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { code: error.code, message: error.message };
  }
}

assert(parentPort !== null, "this file is started as a thread");
const report = await work(workerData as DecompressWork);
if ("bytes" in report) {
  // Small buffers of Node share one block of memory, which cannot be given away.
  const whole = report.bytes.length === report.bytes.buffer.byteLength;
  const bytes = whole ? report.bytes : new Uint8Array(report.bytes);
  parentPort.postMessage({ bytes } satisfies DecompressReport, [bytes.buffer as ArrayBuffer]);
} else {
  parentPort.postMessage(report);
}

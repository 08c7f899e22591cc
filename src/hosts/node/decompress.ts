import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { HostError } from "../../base/index.js";
import type { CompressionFormat, Decompressors } from "../../ports/decompress.js";
import { damaged } from "../shared/unpack/compressed-data.js";
import { decompressHere } from "./decompress-here.js";
import type { DecompressReport, DecompressWork } from "./decompress-worker.js";

/** Results up to this size, in bytes, are made here: a thread would take longer to start. */
const SMALL = 1 << 20;

/** Bytes of the input that are copied at once, in a few milliseconds. */
const STEP = 16 << 20;

/** The thread's file, which a build puts there. */
const WORKER = new URL("../../../dist/hosts/node/decompress-worker.js", import.meta.url);

/**
 * Decompression for kernel images in Node, on a thread of its own: decoders take seconds for what a kernel may
 * have at most, and signals, time-outs and other machines of this process must not wait for them.
 * Nothing here needs a compiler or a download.
 * Every failure is a HostError: `UNPACKED_TOO_LARGE`, `HOST_MEMORY`, or `COMPRESSED_DATA` for damaged data.
 */
export const nodeDecompressors: Decompressors = {
  async decompress(
    format: CompressionFormat,
    data: Uint8Array,
    limit: number,
  ): Promise<Uint8Array> {
    if (limit <= SMALL) return decompressHere(format, data, limit);
    return decompressOnThread({ format, data: await shared(format, data), limit });
  },
};

/** A copy that the thread can read; other work of this process gets its turn between its parts. */
async function shared(format: CompressionFormat, data: Uint8Array): Promise<Uint8Array> {
  let copy: Uint8Array;
  try {
    copy = new Uint8Array(new SharedArrayBuffer(data.length));
  } catch (cause) {
    throw damaged(format, "it is too large", cause);
  }
  for (let at = 0; at < data.length; at += STEP) {
    copy.set(data.subarray(at, at + STEP), at);
    await setImmediate();
  }
  return copy;
}

function decompressOnThread(work: DecompressWork): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { workerData: work });
    worker.once("message", (report: DecompressReport) => {
      if ("bytes" in report) resolve(report.bytes);
      else reject(new HostError(report.code, report.message));
    });
    worker.once("error", (cause: NodeJS.ErrnoException) => {
      const isFull = cause.code === "ERR_WORKER_OUT_OF_MEMORY";
      reject(isFull ? damaged(work.format, "", new RangeError(cause.message, { cause })) : cause);
    });
    // Whatever it was told before has settled this.
    worker.once("exit", () => reject(new Error("the thread that unpacks has ended")));
  });
}

/**
 * One direction of a shared byte ring: free-running 32-bit indices, a power of two of bytes. The
 * other side is the guest and may write anything into the page at any time it runs.
 */
import type { SharedPage } from "./shared-page.js";

/** Where a ring lies in its page. */
export interface ByteRingLayout {
  readonly data: number;
  /** Bytes; a power of two. */
  readonly size: number;
  readonly cons: number;
  readonly prod: number;
}

/** How many bytes wait in a ring, or undefined when the indices make no sense. */
export function bytesWaiting(page: SharedPage, ring: ByteRingLayout): number | undefined {
  const waiting = (page.readU32(ring.prod) - page.readU32(ring.cons)) >>> 0;
  return waiting <= ring.size ? waiting : undefined;
}

/** Takes up to `limit` bytes out. Undefined when the indices make no sense. */
export function takeBytes(
  page: SharedPage,
  ring: ByteRingLayout,
  limit: number,
): Uint8Array | undefined {
  const waiting = bytesWaiting(page, ring);
  if (waiting === undefined) return undefined;
  const cons = page.readU32(ring.cons);
  const count = Math.min(waiting, limit);
  const start = cons & (ring.size - 1);
  const first = Math.min(count, ring.size - start);
  const bytes = new Uint8Array(count);
  bytes.set(page.read(ring.data + start, first));
  bytes.set(page.read(ring.data, count - first), first);
  page.writeU32(ring.cons, (cons + count) >>> 0);
  return bytes;
}

/** Puts as many bytes in as there is room. Answers how many, undefined for senseless indices. */
export function putBytes(
  page: SharedPage,
  ring: ByteRingLayout,
  bytes: Uint8Array,
): number | undefined {
  const waiting = bytesWaiting(page, ring);
  if (waiting === undefined) return undefined;
  const prod = page.readU32(ring.prod);
  const count = Math.min(ring.size - waiting, bytes.length);
  const start = prod & (ring.size - 1);
  const first = Math.min(count, ring.size - start);
  page.write(ring.data + start, bytes.subarray(0, first));
  page.write(ring.data, bytes.subarray(first, count));
  page.writeU32(ring.prod, (prod + count) >>> 0);
  return count;
}

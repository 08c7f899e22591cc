/** The sum of the Internet's protocols (RFC 1071). */

/**
 * Adds 16-bit words in network order to a sum; an odd last byte counts as the upper half of one. A sum stays exact up
 * to 64 KiB of bytes.
 */
export function addWords(sum: number, bytes: Uint8Array, start: number, end: number): number {
  let total = sum;
  let at = start;
  for (; at + 1 < end; at += 2) total += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return at < end ? total + ((bytes[at] as number) << 8) : total;
}

/** What belongs into a checksum's field: the complement of the folded sum. */
export function foldChecksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

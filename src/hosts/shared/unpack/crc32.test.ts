import * as zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import { crc32 } from "./crc32.js";

describe("CRC32", () => {
  // The check value of the catalogue of CRC algorithms, for CRC-32/ISO-HDLC.
  it("of the digits is the published one", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });

  it("is zlib's, whatever the length and the place in a buffer", () => {
    const data = Uint8Array.from({ length: 300 }, (_, i) => (i * 2654435761) >>> 24);
    for (let start = 0; start < 5; start++) {
      for (let length = 0; length < 40; length++) {
        const part = data.subarray(start, start + length);
        expect(crc32(part)).toBe(zlib.crc32(part));
        expect(crc32(part, 0xdeadbeef)).toBe(zlib.crc32(part, 0xdeadbeef));
      }
    }
  });
});

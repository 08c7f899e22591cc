import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { CompressionFormat } from "../../ports/decompress.js";
import { decompressHere } from "./decompress-here.js";

/** More than anything here unpacks to. */
const ENOUGH = 64 << 20;
const decompress = (format: CompressionFormat, data: Uint8Array, limit = ENOUGH) =>
  decompressHere(format, data, limit);
const digest = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
const has = (tool: string) => spawnSync(tool, ["--version"]).status === 0;

/** Machine code with many calls, out of this test's own Node binary; 9 MiB, since lz4 blocks have 8. */
const code = Buffer.alloc(9 << 20);
const binary = openSync(process.execPath, "r");
readSync(binary, code, 0, 3 << 20, 40 << 20);
closeSync(binary);
code.copyWithin(3 << 20, 0, 3 << 20);
code.copyWithin(6 << 20, 0, 3 << 20);
const packed = new Map<string, Buffer>();
/** Packing takes most of the time of these tests, so each is done once. */
function pack(tool: string, args: string[], data = code): Buffer {
  const key = JSON.stringify([tool, args, data.length]);
  const known = packed.get(key);
  if (known !== undefined) return known;
  const made = execFileSync(tool, args, { input: data, maxBuffer: 2 ** 27 });
  packed.set(key, made);
  return made;
}
const kernelTail = Buffer.alloc(4);
kernelTail.writeUInt32LE(code.length);

const cases: { name: string; format: CompressionFormat; tool: string; args: string[] }[] = [
  { name: "xz, plain", format: "xz", tool: "xz", args: ["-1", "--check=crc32"] },
  { name: "xz, CRC64", format: "xz", tool: "xz", args: ["-1"] },
  {
    name: "xz as the kernel's build packs it",
    format: "xz",
    tool: "xz",
    args: ["--check=crc32", "--x86", "--lzma2=preset=1,dict=32MiB"],
  },
  {
    name: "xz, filtered, many blocks",
    format: "xz",
    tool: "xz",
    args: ["--check=crc32", "--x86", "--lzma2=preset=0", "-T2", "--block-size=1MiB"],
  },
  { name: "zstd", format: "zstd", tool: "zstd", args: ["-3", "-c", "-q"] },
  { name: "zstd, no checksum", format: "zstd", tool: "zstd", args: ["--no-check", "-c", "-q"] },
  { name: "lz4, legacy", format: "lz4", tool: "lz4", args: ["-l", "-9", "-c"] },
];

describe("decompress", () => {
  describe.each(cases)("$name", (c) => {
    const where = it.skipIf(!has(c.tool));

    where("with and without the kernel's length behind it", async () => {
      const packed = pack(c.tool, c.args);
      expect(digest(await decompress(c.format, packed))).toBe(digest(code));
      const withTail = Buffer.concat([packed, kernelTail]);
      expect(digest(await decompress(c.format, withTail))).toBe(digest(code));
    });

    where("is refused when it is cut short", async () => {
      const packed = pack(c.tool, c.args);
      const cut = packed.subarray(0, packed.length >> 1);
      await expect(decompress(c.format, cut)).rejects.toMatchObject({ code: "COMPRESSED_DATA" });
    });

    where("is given whole within its size, and nothing beyond", async () => {
      const packed = pack(c.tool, c.args);
      expect((await decompress(c.format, packed, code.length)).length).toBe(code.length);
      const tooLarge = { code: "UNPACKED_TOO_LARGE" };
      for (const limit of [code.length - 1, 1 << 20, 0]) {
        await expect(decompress(c.format, packed, limit)).rejects.toMatchObject(tooLarge);
      }
    });

    where("ends on any damaged byte", async () => {
      const packed = pack(c.tool, c.args, code.subarray(0, 200_000));
      for (let i = 0; i < 60; i++) {
        const copy = Uint8Array.from(packed);
        const at = Math.floor(((i + 0.5) * copy.length) / 60);
        copy[at] = (copy[at] ?? 0) ^ 0x10;
        const end = await decompress(c.format, copy, 1 << 20).catch((error) => error);
        if (end instanceof Uint8Array) expect(end.length).toBeLessThanOrEqual(1 << 20);
        else expect(["COMPRESSED_DATA", "UNPACKED_TOO_LARGE"]).toContain(end.code);
      }
    });
  });

  it("reads gzip", async () => {
    expect(digest(await decompress("gzip", gzipSync(code)))).toBe(digest(code));
  });

  it.each([
    "gzip",
    "xz",
    "zstd",
    "lz4",
  ] as const)("refuses %s data that is none", async (format) => {
    const failure = { code: "COMPRESSED_DATA", message: expect.stringMatching(/^[^\n]+$/) };
    await expect(decompress(format, new Uint8Array(0))).rejects.toMatchObject(failure);
    await expect(decompress(format, new Uint8Array(64).fill(7))).rejects.toMatchObject(failure);
  });

  it("bounds gzip too", async () => {
    const packed = gzipSync(code);
    expect((await decompress("gzip", packed, code.length)).length).toBe(code.length);
    for (const limit of [code.length - 1, 1 << 20, 0]) {
      const tooLarge = { code: "UNPACKED_TOO_LARGE" };
      await expect(decompress("gzip", packed, limit)).rejects.toMatchObject(tooLarge);
    }
  });

  it.skipIf(!has("xz"))("xz, filtered: notices a damaged byte", async () => {
    const packed = Buffer.from(pack("xz", ["--check=crc32", "--x86", "--lzma2=preset=0"]));
    packed[packed.length >> 1] = (packed[packed.length >> 1] ?? 0) ^ 0x10;
    await expect(decompress("xz", packed)).rejects.toMatchObject({ code: "COMPRESSED_DATA" });
  });
});

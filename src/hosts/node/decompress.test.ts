import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { CompressionFormat } from "../../ports/decompress.js";
import { nodeDecompressors } from "./decompress.js";
import { lz4Zeros, zstdZeros } from "./packed-zeros.fixture.js";

const MIB = 1 << 20;
const SIZE = 64;
const zeros = () => Buffer.alloc(SIZE * MIB);
const hasXz = spawnSync("xz", ["--version"]).status === 0;
const xzZeros = () =>
  spawnSync("xz", ["-0", "--check=crc32", "-c"], { input: zeros(), maxBuffer: MIB }).stdout;

const packers: [CompressionFormat, () => Uint8Array, boolean][] = [
  ["zstd", () => zstdZeros(SIZE), true],
  ["lz4", () => lz4Zeros(SIZE), true],
  ["gzip", () => gzipSync(zeros(), { level: 1 }), true],
  ["xz", xzZeros, hasXz],
];

describe.each(packers)("%s data", (format, make, possible) => {
  const where = it.skipIf(!possible);
  const packed = possible ? make() : new Uint8Array(0);

  where("is unpacked while everything else of this process goes on", async () => {
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    const bytes = await nodeDecompressors.decompress(format, packed, SIZE * MIB);
    clearInterval(timer);
    expect(bytes.length).toBe(SIZE * MIB);
    expect(Buffer.compare(bytes, zeros())).toBe(0);
    // A decoder that does it in one piece on this thread leaves room for two or three.
    expect(turns).toBeGreaterThan(10);
  });

  where("is refused beyond the limit, and when it is damaged", async () => {
    const limit = SIZE * MIB - 1;
    const tooLarge = nodeDecompressors.decompress(format, packed, limit);
    await expect(tooLarge).rejects.toMatchObject({ code: "UNPACKED_TOO_LARGE" });
    const cut = nodeDecompressors.decompress(format, packed.subarray(0, -9), SIZE * MIB);
    await expect(cut).rejects.toMatchObject({ code: "COMPRESSED_DATA", name: "HostError" });
  });
});

it("gives small results whole, too, of which Node keeps several in one buffer", async () => {
  const text = Buffer.from("a few bytes");
  const bytes = await nodeDecompressors.decompress("gzip", gzipSync(text), 2 * MIB);
  expect(Buffer.from(bytes).toString()).toBe("a few bytes");
});

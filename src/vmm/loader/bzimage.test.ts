import { describe, expect, it } from "vitest";
import { HostError } from "../../base/index.js";
import type { Decompressors } from "../../ports/decompress.js";
import { buildElf } from "./elf.fixture.js";
import { readKernel } from "./kernel.js";

const MEMORY = 256 << 20;
const readKernelIn = (file: Uint8Array, decompressors: Decompressors) =>
  readKernel(file, decompressors, MEMORY);

const elf = buildElf({
  segments: [{ paddr: 0x100000, bytes: new Uint8Array([0xf4]) }],
  entry: 0x100000,
});

/** A bzImage with two sectors of real-mode code and `payload` at 0x40 of the rest. */
function buildBzImage(payload: Uint8Array, version = 0x20f): Uint8Array {
  const file = new Uint8Array(1024 + 0x40 + payload.length);
  const view = new DataView(file.buffer);
  file[0x1f1] = 1;
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, version, true);
  view.setUint32(0x248, 0x40, true);
  view.setUint32(0x24c, payload.length, true);
  file.set(payload, 1024 + 0x40);
  return file;
}

function packed(magic: number[], size: number): Uint8Array {
  const bytes = new Uint8Array(32);
  bytes.set(magic);
  new DataView(bytes.buffer).setUint32(28, size, true);
  return bytes;
}

/** Notes what it was asked and answers with the ELF file. */
function fakes(calls: unknown[][]): Decompressors {
  return {
    decompress: async (format, data, limit) => {
      calls.push([format, data.length, limit]);
      return elf;
    },
  };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof HostError) return error.code;
    throw error;
  }
  return "none";
}

describe("readKernel", () => {
  it.each([
    ["gzip", [0x1f, 0x8b], 32],
    ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], 28],
    ["zstd", [0x28, 0xb5, 0x2f, 0xfd], 28],
    ["lz4", [0x02, 0x21, 0x4c, 0x18], 28],
  ] as const)("unpacks %s without the appended size", async (format, magic, length) => {
    const calls: unknown[][] = [];
    const file = buildBzImage(packed([...magic], elf.length));
    const kernel = await readKernelIn(file, fakes(calls));
    expect(calls).toEqual([[format, length, elf.length]]);
    expect(kernel.entry).toBe(0x100000);
  });

  it("takes an ELF file as it is, and an uncompressed payload", async () => {
    expect((await readKernelIn(elf, fakes([]))).entry).toBe(0x100000);
    expect((await readKernelIn(buildBzImage(elf), fakes([]))).entry).toBe(0x100000);
  });

  it.each([
    ["gzip", [0x1f, 0x8b]],
    ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
    ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
    ["lz4", [0x02, 0x21, 0x4c, 0x18]],
  ] as const)("unpacks a kernel file that is %s as a whole, to the guest's memory", async (format, magic) => {
    const calls: unknown[][] = [];
    expect((await readKernelIn(packed([...magic], 0), fakes(calls))).entry).toBe(0x100000);
    expect(calls).toEqual([[format, 32, MEMORY]]);
  });

  it("stops at what a bzImage claims, and at what fits the guest", async () => {
    const zstd = (size: number) => buildBzImage(packed([0x28, 0xb5, 0x2f, 0xfd], size));
    const calls: unknown[][] = [];
    expect(await codeOf(readKernelIn(zstd(MEMORY + 1), fakes(calls)))).toBe("MEMORY_TOO_SMALL");
    expect(await codeOf(readKernelIn(zstd(0xfffffff0), fakes(calls)))).toBe("KERNEL_DAMAGED");
    expect(calls).toEqual([]);
    const bomb: Decompressors = {
      decompress: async () => {
        throw new HostError("UNPACKED_TOO_LARGE", "more");
      },
    };
    expect(await codeOf(readKernelIn(zstd(4096), bomb))).toBe("KERNEL_DAMAGED");
    const whole = packed([0x28, 0xb5, 0x2f, 0xfd], 0);
    expect(await codeOf(readKernelIn(whole, bomb))).toBe("MEMORY_TOO_SMALL");
  });

  it.each([
    ["an empty file", new Uint8Array(0), /empty/],
    ["a boot image without payload", buildBzImage(new Uint8Array(0)), /memtest86/],
    ["a cpio archive", new TextEncoder().encode("070701000000"), /--initrd/],
    ["an EFI program", new TextEncoder().encode("MZ and so on"), /EFI/],
    ["an arm64 kernel", new TextEncoder().encode(`${"\0".repeat(56)}ARM\x64`), /another processor/],
    ["a text", new TextEncoder().encode("#!/bin/sh\n"), /neither an ELF image nor a bzImage/],
  ])("calls %s what it is", async (_name, file, words) => {
    const refusal = await readKernelIn(file, fakes([])).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "NOT_A_KERNEL", message: expect.stringMatching(words) });
  });

  it("says how to get at what it cannot unpack, and what is in what it could", async () => {
    const bzip2 = new TextEncoder().encode("BZh9 and so on");
    expect(await codeOf(readKernelIn(bzip2, fakes([])))).toBe("COMPRESSION_NOT_SUPPORTED");
    const text: Decompressors = { decompress: async () => new TextEncoder().encode("hello") };
    expect(await codeOf(readKernelIn(packed([0x1f, 0x8b], 0), text))).toBe("NOT_A_KERNEL");
  });

  it("refuses with a code each", async () => {
    const refused = (file: Uint8Array, d = fakes([])): Promise<string> =>
      codeOf(readKernelIn(file, d));
    expect(await refused(new TextEncoder().encode("#!/bin/sh\n"))).toBe("NOT_A_KERNEL");
    expect(await refused(buildBzImage(elf, 0x207))).toBe("NOT_A_KERNEL");
    const lzma = buildBzImage(packed([0x5d, 0, 0], elf.length));
    expect(await refused(lzma)).toBe("COMPRESSION_NOT_SUPPORTED");
    expect(await refused(buildBzImage(packed([1, 2, 3], 1)))).toBe("COMPRESSION_NOT_SUPPORTED");
    const zstd = packed([0x28, 0xb5, 0x2f, 0xfd], elf.length);
    expect(await refused(buildBzImage(zstd).subarray(0, 1024 + 0x50))).toBe("KERNEL_DAMAGED");
    const wrongSize = packed([0x28, 0xb5, 0x2f, 0xfd], elf.length + 1);
    expect(await refused(buildBzImage(wrongSize))).toBe("KERNEL_DAMAGED");
    const failing: Decompressors = {
      decompress: async () => {
        throw new HostError("COMPRESSED_DATA", "bad data");
      },
    };
    expect(await refused(buildBzImage(zstd), failing)).toBe("KERNEL_DAMAGED");
  });
});

import type { Decompressors } from "../../ports/decompress.js";
import { isBzImage, unpackBzImage } from "./bzimage.js";
import { isElf, type KernelImage, readElfKernel } from "./elf.js";
import { mib, refuse } from "./errors.js";
import { isSupported, packedFormat, unpack } from "./packed.js";

/**
 * Reads a kernel file for a guest of `memoryBytes`: an ELF image with a Xen PVH note, or a bzImage that holds
 * one; either may be compressed as a whole (gzip, xz, zstd, legacy lz4), as Xen's tools take gzipped kernels.
 * @throws HostError with a code of {@link LoadErrorCode}.
 */
export async function readKernel(
  file: Uint8Array,
  decompressors: Decompressors,
  memoryBytes: number,
): Promise<KernelImage> {
  if (isElf(file)) return readElfKernel(file);
  if (isBzImage(file)) {
    const unpacked = await unpackBzImage(file, decompressors, memoryBytes);
    if (!isElf(unpacked)) {
      throw refuse("KERNEL_DAMAGED", "the bzImage does not hold an ELF kernel; get the file again");
    }
    return readElfKernel(unpacked);
  }
  const packed = await unpackWhole(file, decompressors, memoryBytes);
  if (packed === undefined) throw whatElse(file);
  if (isElf(packed) || isBzImage(packed)) return readKernel(packed, decompressors, memoryBytes);
  throw refuse("NOT_A_KERNEL", "the compressed file holds neither an ELF image nor a bzImage");
}

/** What a file that is compressed as a whole holds; undefined when it is not. */
async function unpackWhole(
  file: Uint8Array,
  decompressors: Decompressors,
  memoryBytes: number,
): Promise<Uint8Array | undefined> {
  const format = packedFormat(file);
  if (format === undefined) return undefined;
  if (!isSupported(format)) {
    const text = `the kernel file is compressed with ${format}: unpack it first`;
    throw refuse("COMPRESSION_NOT_SUPPORTED", text);
  }
  const unpacked = await unpack(decompressors, format, file, memoryBytes);
  if ("bytes" in unpacked) return unpacked.bytes;
  if (unpacked.failure === "too large") {
    const text = `the ${format} file unpacks to more than the guest's memory of ${mib(memoryBytes)}: unpack it, or give the guest more`;
    throw refuse("MEMORY_TOO_SMALL", text, unpacked.cause);
  }
  const text = `the kernel file's ${format} data cannot be unpacked; get the file again`;
  throw refuse("KERNEL_DAMAGED", text, unpacked.cause);
}

/** Offset and text of the magic number of arm64 and RISC-V kernels (kernel: Documentation/arch/arm64/booting.rst). */
const OTHER_IMAGE = { at: 56, magics: ["ARM\x64", "RSC\x05"] } as const;

/** Says what a file is that is no kernel, where a user may well have taken it for one. */
function whatElse(file: Uint8Array): Error {
  const text = (at: number, length: number) =>
    String.fromCharCode(...file.subarray(at, at + length));
  const isNot = (what: string) => refuse("NOT_A_KERNEL", `the file is not a kernel: ${what}`);
  if (file.length === 0) return isNot("it is empty");
  if (text(0, 6) === "070701") return isNot("it is a cpio archive, which belongs to --initrd");
  if (OTHER_IMAGE.magics.some((magic) => text(OTHER_IMAGE.at, 4) === magic)) {
    return refuse("NOT_A_KERNEL", "the file is a kernel for another processor, not for x86");
  }
  if (text(0, 2) === "MZ") {
    return isNot("it is an EFI program; of a unified kernel image, use the vmlinuz it was made of");
  }
  return isNot("neither an ELF image nor a bzImage");
}

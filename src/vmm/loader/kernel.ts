import type { Decompressors } from "../../ports/decompress.js";
import { isBzImage, unpackBzImage } from "./bzimage.js";
import { isElf, type KernelImage, readElfKernel } from "./elf.js";
import { refuse } from "./errors.js";

/**
 * Reads a kernel file: an ELF image with a Xen PVH note, or a bzImage that holds one.
 * @throws HostError with a code of {@link LoadErrorCode}.
 */
export async function readKernel(
  file: Uint8Array,
  decompressors: Decompressors,
): Promise<KernelImage> {
  if (isElf(file)) return readElfKernel(file);
  if (isBzImage(file)) {
    const unpacked = await unpackBzImage(file, decompressors);
    if (!isElf(unpacked)) {
      throw refuse("KERNEL_DAMAGED", "the bzImage does not hold an ELF kernel; get the file again");
    }
    return readElfKernel(unpacked);
  }
  throw refuse("NOT_A_KERNEL", "the file is not a kernel: neither an ELF image nor a bzImage");
}

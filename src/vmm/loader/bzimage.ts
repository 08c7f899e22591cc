/** Unpacks the ELF kernel inside a bzImage, on the host: the guest need not do it. */
import { BzImage } from "../../abi/boot/bzimage.js";
import type { CompressionFormat, Decompressors } from "../../ports/decompress.js";
import { isElf } from "./elf.js";
import { refuse } from "./errors.js";

const MAGICS: readonly { format: string; bytes: readonly number[] }[] = [
  { format: "gzip", bytes: [0x1f, 0x8b] },
  { format: "xz", bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { format: "zstd", bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { format: "lz4", bytes: [0x02, 0x21, 0x4c, 0x18] },
  { format: "lzma", bytes: [0x5d, 0x00, 0x00] },
  { format: "bzip2", bytes: [0x42, 0x5a, 0x68] },
  { format: "lzo", bytes: [0x89, 0x4c, 0x5a, 0x4f] },
];

/**
 * What a kernel would hardly exceed; a guard against a file made to fill the host's memory.
 * @limit file | unpacked kernel of a bzImage | bytes | KERNEL_DAMAGED, status 2
 */
const MAX_UNPACKED = 1 << 30;

/** Whether the file has the setup header of a Linux boot image. */
export function isBzImage(file: Uint8Array): boolean {
  if (file.length < BzImage.payload_length + 4) return false;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return (
    view.getUint16(BzImage.boot_flag, true) === BzImage.BOOT_FLAG &&
    view.getUint32(BzImage.header, true) === BzImage.HEADER
  );
}

/** The compressed kernel inside a bzImage, with its format by magic number. */
export function findPayload(file: Uint8Array): { format: string; data: Uint8Array } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint16(BzImage.version, true) < BzImage.VERSION_WITH_PAYLOAD) {
    throw refuse(
      "NOT_A_KERNEL",
      "the bzImage is older than boot protocol 2.08 (Linux 2.6.24): use the vmlinux file instead",
    );
  }
  const sectors = (file[BzImage.setup_sects] || 4) + 1;
  const start = sectors * BzImage.SECTOR + view.getUint32(BzImage.payload_offset, true);
  const length = view.getUint32(BzImage.payload_length, true);
  if (start + length > file.length || length < 8) {
    throw refuse("KERNEL_DAMAGED", "the bzImage is cut off or damaged; get it again");
  }
  const data = file.subarray(start, start + length);
  const known = MAGICS.find((magic) => magic.bytes.every((byte, i) => data[i] === byte));
  return { format: known?.format ?? (isElf(data) ? "none" : "unknown"), data };
}

/**
 * The ELF file inside a bzImage.
 * @throws HostError NOT_A_KERNEL, KERNEL_DAMAGED or COMPRESSION_NOT_SUPPORTED.
 */
export async function unpackBzImage(
  file: Uint8Array,
  decompressors: Decompressors,
): Promise<Uint8Array> {
  const { format, data } = findPayload(file);
  if (format === "none") return data;
  if (!isSupported(format)) {
    const name = format === "unknown" ? "in a way that is not known" : `with ${format}`;
    throw refuse(
      "COMPRESSION_NOT_SUPPORTED",
      `the kernel is compressed ${name}: unpack it (scripts/extract-vmlinux) and use the vmlinux`,
    );
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const size = view.getUint32(data.length - 4, true);
  if (size > MAX_UNPACKED) {
    throw refuse("KERNEL_DAMAGED", "the bzImage claims to unpack to more than 1 GiB; get it again");
  }
  // The kernel's build appends the unpacked size to every format but gzip, which has it anyway.
  const stream = format === "gzip" ? data : data.subarray(0, data.length - 4);
  let unpacked: Uint8Array;
  try {
    unpacked = await decompressors.decompress(format, stream);
  } catch (cause) {
    const text = `the kernel's ${format} data cannot be unpacked; get the file again`;
    throw refuse("KERNEL_DAMAGED", text, cause);
  }
  // The kernel proper comes first; builds may append relocations for the in-place loader.
  if (unpacked.length !== size) {
    throw refuse("KERNEL_DAMAGED", "the kernel unpacks to an unexpected size; get the file again");
  }
  return unpacked;
}

function isSupported(format: string): format is CompressionFormat {
  return format === "gzip" || format === "xz" || format === "zstd" || format === "lz4";
}

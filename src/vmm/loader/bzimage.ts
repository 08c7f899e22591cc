/** Unpacks the ELF kernel inside a bzImage, on the host: the guest need not do it. */
import { BzImage } from "../../abi/boot/bzimage.js";
import type { Decompressors } from "../../ports/decompress.js";
import { isElf } from "./elf.js";
import { mib, refuse } from "./errors.js";
import { isSupported, type PackedFormat, packedFormat, unpack } from "./packed.js";

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

interface Payload {
  readonly format: PackedFormat | "none" | "unknown";
  readonly data: Uint8Array;
}

/** The compressed kernel inside a bzImage, with its format by magic number. */
function findPayload(file: Uint8Array): Payload {
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
  if (length === 0) {
    throw refuse(
      "NOT_A_KERNEL",
      "the boot image holds no Linux kernel (as memtest86+ does): kvm-xen boots kernels with a Xen PVH entry point",
    );
  }
  if (start + length > file.length || length < 8) {
    throw refuse("KERNEL_DAMAGED", "the bzImage is cut off or damaged; get it again");
  }
  const data = file.subarray(start, start + length);
  return { format: packedFormat(data) ?? (isElf(data) ? "none" : "unknown"), data };
}

/**
 * The ELF file inside a bzImage that is to run in `memoryBytes` of memory: no more is unpacked than it
 * claims, and nothing that cannot fit there.
 * @throws HostError NOT_A_KERNEL, KERNEL_DAMAGED, MEMORY_TOO_SMALL or COMPRESSION_NOT_SUPPORTED.
 */
export async function unpackBzImage(
  file: Uint8Array,
  decompressors: Decompressors,
  memoryBytes: number,
): Promise<Uint8Array> {
  const { format, data } = findPayload(file);
  if (format === "none") return data;
  if (format === "unknown" || !isSupported(format)) {
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
  if (size > memoryBytes) {
    const text = `the kernel unpacks to ${mib(size)}: give the guest more memory than ${mib(memoryBytes)}`;
    throw refuse("MEMORY_TOO_SMALL", text);
  }
  // The kernel's build appends the unpacked size to every format but gzip, which has it anyway.
  const stream = format === "gzip" ? data : data.subarray(0, data.length - 4);
  const unpacked = await unpack(decompressors, format, stream, size);
  // The kernel proper comes first; builds may append relocations for the in-place loader.
  if ("failure" in unpacked || unpacked.bytes.length !== size) {
    const text = `the kernel is damaged: its ${format} data does not unpack to the ${size} bytes that it claims; get the file again`;
    throw refuse("KERNEL_DAMAGED", text, "failure" in unpacked ? unpacked.cause : undefined);
  }
  return unpacked.bytes;
}

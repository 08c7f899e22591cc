/** A file that takes the tar archive which a guest writes to a raw disk: `tar cf /dev/xvdb FILES`. */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { HostError } from "../../base/index.js";
import { FileDisk, type OpenImage } from "./file-disk.js";
import { lockImage } from "./image-lock.js";

/** @limit guest | an archive that a guest writes to `--disk FILE.tar` | bytes | the guest gets an I/O error */
const MAX_ARCHIVE = 64 * 2 ** 30;

const BLOCK = 512;
/** Fields of a header (POSIX, `ustar`): where they are, and how long. */
const SIZE = { at: 124, length: 12 } as const;
const CHECKSUM = { at: 148, length: 8 } as const;

/** Whether a name is that of an archive which is to be written: there is none, or an empty file. */
export const isNewTar = (path: string, kind: Stats | undefined): boolean =>
  path.endsWith(".tar") && (kind === undefined || (kind.isFile() && kind.size === 0));

/** Makes the file, which grows as the guest writes. @throws HostError DISK_UNUSABLE when that cannot be; DISK_IN_USE when another program has it. */
export async function openTar(path: string): Promise<FileDisk> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDWR | constants.O_CREAT);
    lockImage(file.fd, path, "write");
    const parts = { size: MAX_ARCHIVE, readonly: false, canDiscard: false };
    return new TarDisk({ file, path, ...parts });
  } catch (cause) {
    await file?.close().catch(() => undefined);
    if (cause instanceof HostError) throw cause;
    const message = `disk ${path}: ${(cause as Error).message}`;
    throw new HostError("DISK_UNUSABLE", message, { cause });
  }
}

class TarDisk extends FileDisk {
  readonly #file: FileHandle;
  readonly #path: string;

  constructor(image: OpenImage) {
    super(image);
    this.#file = image.file;
    this.#path = image.path;
  }

  override async resize(): Promise<void> {
    throw new HostError("DISK_SIZE", `disk ${this.#path}: an archive that is written has no size`);
  }

  /** @throws HostError NO_TAR when what the guest wrote is none: then it is kept as it is. */
  override async close(): Promise<void> {
    await this.idle();
    const end = await archiveEnd(this.#file).catch(() => undefined);
    if (end !== undefined) await this.#file.truncate(end);
    await super.close();
    if (end !== undefined) return;
    throw new HostError("NO_TAR", `disk ${this.#path}: what the guest wrote is no tar archive`);
  }
}

/** Where an archive ends, with the two blocks of zeros that say so; 0 for an empty file, undefined for no archive. */
export async function archiveEnd(file: FileHandle): Promise<number | undefined> {
  for (let at = 0; ; ) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, at);
    if (bytesRead === 0 && at === 0) return 0;
    if (bytesRead < BLOCK) return undefined;
    if (buffer.every((byte) => byte === 0)) return at === 0 ? 0 : at + 2 * BLOCK;
    const size = sizeIn(buffer);
    if (size === undefined) return undefined;
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
}

/** Bytes of the file that a header is about; undefined when it is no header. */
function sizeIn(header: Buffer): number | undefined {
  let sum = 0;
  for (const [i, byte] of header.entries()) {
    const isChecksum = i >= CHECKSUM.at && i < CHECKSUM.at + CHECKSUM.length;
    sum += isChecksum ? 0x20 : byte;
  }
  if (octal(header, CHECKSUM) !== sum) return undefined;
  const size = (header[SIZE.at] ?? 0) & 0x80 ? binary(header) : octal(header, SIZE);
  return size !== undefined && Number.isSafeInteger(size) ? size : undefined;
}

function octal(header: Buffer, { at, length }: { at: number; length: number }): number | undefined {
  const text = header
    .toString("latin1", at, at + length)
    .replace(/[\0 ]+$/, "")
    .trimStart();
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** GNU's and star's way for large files: the first byte is 0x80, the last eight are the number. */
const binary = (header: Buffer): number => Number(header.readBigUInt64BE(SIZE.at + 4));

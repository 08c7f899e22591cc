import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import type { Disk } from "../../ports/index.js";
import { FileDisk } from "./file-disk.js";
import { lockImage } from "./image-lock.js";
import { canPunchHoles, sizeOf } from "./libc.js";
import { SnapshotDisk } from "./snapshot-disk.js";

/** What may be done with an image. */
export interface DiskOptions {
  /** Nothing is written. */
  readonly readonly?: boolean;
  /** What is written is kept until the end, and the image stays as it is. */
  readonly snapshot?: boolean;
}

const SECTOR = 512;

const reasons: Record<string, string> = {
  ENOENT: "no such file; 'truncate -s 1G FILE' makes an empty one",
  ENOTDIR: "no such file; check the path",
  EISDIR: "it is a folder",
  ELOOP: "its symbolic links go in a circle",
  EMFILE: "too few files may be open at once ('ulimit -n 256' helps)",
};

/**
 * Opens a raw image: a file, or a block device. Its bytes are the disk's; no format is looked for in it, since a guest
 * could write one.
 * @throws HostError DISK_UNUSABLE when it cannot be used; DISK_IN_USE when another program has it.
 */
export async function openDisk(path: string, options: DiskOptions = {}): Promise<Disk> {
  const isReadonly = (options.readonly ?? false) || (options.snapshot ?? false);
  let file: FileHandle | undefined;
  try {
    const kind = await stat(path);
    if (!kind.isFile() && !kind.isBlockDevice()) {
      throw unusable(path, kind.isDirectory() ? "it is a folder" : "it is no file and no disk");
    }
    const access = isReadonly ? constants.O_RDONLY : constants.O_RDWR;
    // It may have been replaced since, by something that waits when it is opened.
    file = await open(path, access | constants.O_NONBLOCK | constants.O_NOCTTY);
    lockImage(file.fd, path, isReadonly ? "read" : "write");
    const base = imageDisk(file, path, isReadonly);
    return options.snapshot ? new SnapshotDisk(base, await temporaryDisk(base.size)) : base;
  } catch (cause) {
    await file?.close().catch(() => undefined);
    if (cause instanceof HostError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const denied = code === "EACCES" || code === "EPERM" || code === "EROFS";
    const hint = isReadonly ? "no permission to read it" : "no permission to write it (,ro helps)";
    throw unusable(path, denied ? hint : (reasons[code ?? ""] ?? message), cause);
  }
}

function imageDisk(file: FileHandle, path: string, isReadonly: boolean): FileDisk {
  const size = Math.floor(sizeOf(file.fd) / SECTOR) * SECTOR;
  if (size <= 0) throw unusable(path, "it is empty; 'truncate -s 1G FILE' gives it a size");
  const canDiscard = !isReadonly && canPunchHoles(file.fd, size);
  return new FileDisk({ file, path, size, readonly: isReadonly, canDiscard });
}

/** An empty disk in a file that has no name any more: it is gone with this process, however that ends. */
async function temporaryDisk(size: number): Promise<FileDisk> {
  const path = join(tmpdir(), `kvm-xen-${randomBytes(8).toString("hex")}`);
  const file = await open(path, "wx+", 0o600);
  await unlink(path);
  await file.truncate(size);
  return new FileDisk({ file, path, size, readonly: false, canDiscard: false });
}

function unusable(path: string, reason: string, cause?: unknown): HostError {
  const options = cause === undefined ? undefined : { cause };
  return new HostError("DISK_UNUSABLE", `disk ${path || "''"}: ${reason}`, options);
}

import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import type { Disk } from "../../ports/index.js";
import { SnapshotDisk } from "../shared/snapshot-disk.js";
import { FileDisk } from "./file-disk.js";
import { openFolder } from "./folder-disk.js";
import { lockImage } from "./image-lock.js";
import { canPunchHoles, sizeOf } from "./libc.js";
import { formatOf, isNbdAddress, openNbd, openWithQemuNbd } from "./nbd/open-nbd.js";
import { isNewTar, openTar } from "./tar-disk.js";

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
 * Opens a disk: the address of an NBD server; a folder, of which an ext4 is made that is only read; a name that tells
 * another format, through qemu-nbd; a new `.tar`; else the bytes of a file or block device. No format is looked for in
 * these, since a guest could write one.
 * @throws HostError DISK_UNUSABLE when it cannot be used; DISK_IN_USE when another program has it; TOOL_MISSING when a
 * program of the host is needed that there is not.
 */
export async function openDisk(path: string, options: DiskOptions = {}): Promise<Disk> {
  const isReadonly = (options.readonly ?? false) || (options.snapshot ?? false);
  const base = await openBase(path, isReadonly);
  if (!options.snapshot) return base;
  try {
    return new SnapshotDisk(base, await temporaryDisk(base.size));
  } catch (cause) {
    await base.close();
    throw unusable(path, (cause as Error).message, cause);
  }
}

async function openBase(path: string, isReadonly: boolean): Promise<Disk> {
  if (isNbdAddress(path)) return openNbd(path, isReadonly);
  const kind = await stat(path).catch(() => undefined);
  if (kind?.isDirectory()) return openFolder(path);
  const format = formatOf(path);
  if (format !== undefined && kind?.isFile()) return openWithQemuNbd(path, format, isReadonly);
  if (isNewTar(path, kind) && !isReadonly) return openTar(path);
  return openRaw(path, isReadonly);
}

async function openRaw(path: string, isReadonly: boolean): Promise<Disk> {
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
    return imageDisk(file, path, isReadonly);
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

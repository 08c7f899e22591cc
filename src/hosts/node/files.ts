import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { HostError } from "../../base/index.js";

const reasons: Record<string, string> = {
  ENOENT: "no such file; check the path",
  ENOTDIR: "no such file; check the path",
  EACCES: "no permission to read it",
  EPERM: "no permission to read it",
  ELOOP: "its symbolic links go in a circle",
  EISDIR: "it is a folder",
  EIO: "the disk cannot read it",
  EMFILE: "too few files may be open at once ('ulimit -n 256' helps)",
  ENFILE: "the system has too many open files",
  ENOMEM: "there is not enough memory for it",
  EAGAIN: "nothing can be read there now; save it to a file first",
};

/** Why a file of this host cannot be read or written, for people. */
export function whyFileFails(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  const own: Record<string, string> = {
    ENOENT: "no such file or folder; check the path",
    EACCES: "no permission",
    EPERM: "no permission",
    EROFS: "the disk is read-only",
    ENOSPC: "the disk is full",
    EDQUOT: "the disk quota is used up",
  };
  return own[code ?? ""] ?? reasons[code ?? ""] ?? message;
}

/** What a reader of a file needs of its kind. */
interface Kind {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

/** How large a file may be. */
export interface FileLimit {
  readonly bytes: number;
  /** What has so much room, and perhaps what to do: "it is larger than ..." */
  readonly what: string;
  /** Code of the refusal; `FILE_TOO_LARGE` if not given. */
  readonly code?: string;
}

/**
 * Bytes that are read at once. Node ends the process for more than 2 GiB, and an exit of the process waits for a read
 * that is under way.
 */
const PIECE = 16 << 20;

/** Least room for what a file has beyond its size: it may grow, and files of /proc have no size. */
const STEP = 1 << 20;

/**
 * Reads a file that the user named, all of it, but only a regular file and at most `limit`: anything
 * else (a device, a pipe) may go on or wait for ever.
 * @param role what it is for, such as "kernel"; it begins the message of a refusal.
 * @throws HostError `FILE_UNREADABLE`, whose message names the file and the reason; the limit's
 * code for more than that.
 */
export async function readUserFile(
  path: string,
  role: string,
  limit: FileLimit,
): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    // Opening a device can have effects, and opening a pipe can wait: so its kind is looked at before.
    refuseOther(await stat(path), path, role);
    // It may have been replaced since: then this does not wait either.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const now = await file.stat();
    refuseOther(now, path, role);
    if (now.size > limit.bytes) throw tooLarge(path, role, limit);
    return await readAll(file, now.size, path, role, limit);
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = reasons[code ?? ""] ?? (isNoMemory(cause) ? reasons["ENOMEM"] : message);
    throw unreadable(path, role, reason ?? message, cause);
  } finally {
    await file?.close();
  }
}

function refuseOther(kind: Kind, path: string, role: string): void {
  if (kind.isFile()) return;
  if (kind.isDirectory()) throw unreadable(path, role, "it is a folder; name a file in it");
  const is = kind.isFIFO() ? "a pipe" : kind.isSocket() ? "a socket" : "a device";
  throw unreadable(path, role, `it is ${is}, not a file; save what it gives to a file first`);
}

async function readAll(
  file: FileHandle,
  size: number,
  path: string,
  role: string,
  limit: FileLimit,
): Promise<Uint8Array> {
  // One byte more than expected, to see the end.
  let bytes = Buffer.alloc(size + 1);
  let length = 0;
  for (;;) {
    const piece = Math.min(bytes.length - length, PIECE);
    const { bytesRead } = await file.read(bytes, length, piece, null);
    length += bytesRead;
    if (length > limit.bytes) throw tooLarge(path, role, limit);
    if (bytesRead === 0) return bytes.subarray(0, length);
    if (length < bytes.length) continue;
    bytes = Buffer.concat([bytes], Math.min(2 * length + STEP, limit.bytes + 1));
  }
}

/** Node throws a RangeError when it cannot allocate a buffer. */
const isNoMemory = (cause: unknown): boolean => cause instanceof RangeError;

function unreadable(path: string, role: string, reason: string, cause?: unknown): HostError {
  const message = `${role} ${path || "''"}: ${reason}`;
  return new HostError("FILE_UNREADABLE", message, cause === undefined ? undefined : { cause });
}

function tooLarge(path: string, role: string, limit: FileLimit): HostError {
  const message = `${role} ${path}: it is larger than ${limit.what}`;
  return new HostError(limit.code ?? "FILE_TOO_LARGE", message);
}

import { fstatSync } from "node:fs";
import { koffi } from "./koffi.js";

/**
 * The system calls that disks need and Node has no function for, through libc. Linux only: elsewhere there are neither
 * these locks nor holes.
 */
const libc = koffi.load(null);

const SEEK_END = 2;
const FALLOC_FL_KEEP_SIZE = 1;
/** In place of nanoseconds: that time is left alone. */
const UTIME_OMIT = (1n << 30n) - 2n;
const FALLOC_FL_PUNCH_HOLE = 2;
const RWF_NOWAIT = 8;
const EOPNOTSUPP = 95;
const ENOSYS = 38;

/** Locks of an open file description, which forks and other descriptors of the process do not lose. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
/** `l_type` of `struct flock`. */
const LockType = { READ: 0, WRITE: 1, NONE: 2 } as const;
const SIZEOF_FLOCK = 32;

const lseek = libc.func("int64_t lseek(int, int64_t, int)") as unknown as (
  fd: number,
  offset: number,
  whence: number,
) => number | bigint;
const fcntl = libc.func("int fcntl(int, int, ...)") as unknown as (
  fd: number,
  command: number,
  type: "void *",
  lock: Uint8Array,
) => number;
const futimens = libc.func("int futimens(int, void *)");
const fallocate = libc.func("int fallocate(int, int, int64_t, int64_t)");

/** Bytes of a file or block device, by going to its end; -1 when it has none. */
export const sizeOf = (fd: number): number => Number(lseek(fd, 0, SEEK_END));

type Preadv2 = (fd: number, list: Uint32Array, count: number, at: number, how: number) => number;

/** Not every library of C has it. */
function findPreadv2(): Preadv2 | undefined {
  try {
    return libc.func("int64_t preadv2(int, const void *, int, int64_t, int)") as unknown as Preadv2;
  } catch {
    return undefined;
  }
}

const preadv2 = findPreadv2();
/**
 * UIO_MAXIOV of linux/uio.h: more are not read at once.
 * @nolimit what a guest asks for at once has its own limit
 */
const MOST_PIECES = 1024;
/** Of `struct iovec`: address and length, each as two words. */
const places = new Uint32Array(4 * MOST_PIECES);
/** Where buffers begin, which stay there as long as they are: to ask for it takes longer than to read a page. */
const starts = new WeakMap<ArrayBufferLike, number>();

function startOf(buffer: ArrayBufferLike): number {
  const known = starts.get(buffer);
  if (known !== undefined) return known;
  const start = Number(koffi.address(new Uint8Array(buffer)));
  starts.set(buffer, start);
  return start;
}

/**
 * Reads from a file what is in the host's memory of it (Linux's page cache), without waiting for a disk or a thread, into
 * `pieces` one after the other: the first 1,024 of them.
 * @returns bytes, fewer or none when some of them are not; undefined when the host cannot tell of this file.
 */
export function readAtHand(
  fd: number,
  pieces: readonly Uint8Array[],
  offset: number,
): number | undefined {
  if (preadv2 === undefined) return undefined;
  const count = Math.min(pieces.length, MOST_PIECES);
  for (let i = 0; i < count; i++) {
    const piece = pieces[i] as Uint8Array;
    const address = startOf(piece.buffer) + piece.byteOffset;
    places[4 * i] = address % 2 ** 32;
    places[4 * i + 1] = Math.floor(address / 2 ** 32);
    places[4 * i + 2] = piece.length;
  }
  const bytes = Number(preadv2(fd, places, count, offset, RWF_NOWAIT));
  if (bytes >= 0) return bytes;
  const errno = koffi.errno();
  return errno === EOPNOTSUPP || errno === ENOSYS ? undefined : 0;
}

/**
 * Whether holes can be made in a file: tried where nothing is. Its time of change, by which snapshots recognise it, is
 * as before.
 */
export function canPunchHoles(fd: number, size: number): boolean {
  const { mtimeNs } = fstatSync(fd, { bigint: true });
  const worked = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, size, 4096) === 0;
  if (worked)
    futimens(fd, BigInt64Array.of(0n, UTIME_OMIT, mtimeNs / 10n ** 9n, mtimeNs % 10n ** 9n));
  return worked;
}

/** Makes a hole in another thread; tells whether that worked. */
export function punchHole(
  fd: number,
  offset: number,
  length: number,
  done: (worked: boolean) => void,
): void {
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  fallocate.async(fd, mode, offset, length, (error: unknown, result: number) =>
    done(error === null && result === 0),
  );
}

function flock(type: number, start: number): Uint8Array {
  const lock = new Uint8Array(SIZEOF_FLOCK);
  const view = new DataView(lock.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(start), true);
  view.setBigInt64(16, 1n, true);
  return lock;
}

/** Shares the lock of one byte with others who do; false when somebody has it alone. */
export const lockByte = (fd: number, at: number): boolean =>
  fcntl(fd, F_OFD_SETLK, "void *", flock(LockType.READ, at)) === 0;

/** Whether another open file has a lock of one byte, shared or not. */
export function isByteLocked(fd: number, at: number): boolean {
  const lock = flock(LockType.WRITE, at);
  if (fcntl(fd, F_OFD_GETLK, "void *", lock) !== 0) return false;
  return new DataView(lock.buffer).getInt16(0, true) !== LockType.NONE;
}

import { Errno, errnoName } from "../base/index.js";

/** Errors that are printed by name; any other is printed by number. */
const NAMED = new Set<number>([
  Errno.EINVAL,
  Errno.EFAULT,
  Errno.ENOENT,
  Errno.EEXIST,
  Errno.ENOTTY,
  Errno.EAGAIN,
  Errno.ENOTCONN,
  Errno.ENOSYS,
  Errno.EOPNOTSUPP,
  Errno.ENXIO,
  Errno.EBUSY,
  Errno.EPERM,
  Errno.ENOSPC,
  Errno.EINTR,
  Errno.ENOMEM,
  Errno.EBADF,
  Errno.E2BIG,
  Errno.EIO,
]);

/** The result of a step as it is printed: ` = ` and a number, or the name of the error. */
export function answer(result: number | bigint): string {
  if (result >= 0) return ` = ${result}`;
  const errno = -Number(result);
  return ` = -${NAMED.has(errno) ? errnoName(errno) : `errno${errno}`}`;
}

/**
 * The result of two calls whose return values are OR-ed: -1 when either failed, with the error of
 * the one that failed last.
 */
export function either(first: number, second: number): number {
  if (second < 0) return second;
  return first < 0 ? first : first | second;
}

/** A number in hexadecimal, with `0x`. */
export function address(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

/**
 * Error numbers as Linux (`asm-generic/errno-base.h`, `errno.h`) and Xen (`public/errno.h`) number
 * them; the two agree on every name listed here. Values are positive; ABIs return them negated.
 */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EDOM: 33,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENODATA: 61,
  ETIME: 62,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  EISCONN: 106,
  ENOTCONN: 107,
} as const;

/** Name of an error number, such as `"EINVAL"`. */
export type ErrnoName = keyof typeof Errno;

const names = new Map<number, ErrnoName>();
for (const name of Object.keys(Errno) as ErrnoName[]) names.set(Errno[name], name);

/** The name of a positive error number, or `errnoN` for one that is not listed. */
export function errnoName(value: number): string {
  return names.get(value) ?? `errno${value}`;
}

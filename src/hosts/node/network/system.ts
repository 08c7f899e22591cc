import { constants } from "node:os";
import { koffi } from "../koffi.js";

/** The system calls that networks need and Node has no function for, through libc. Linux only. */
const libc = koffi.load(null);

/** Events of poll(2). */
export const PollEvent = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 16 } as const;

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const eventfd = libc.func("int eventfd(unsigned int, int)");
const pollCall = libc.func("int poll(_Inout_ void *, unsigned long, int)");
const readCall = libc.func("int64_t read(int, _Out_ void *, size_t)");
const writeCall = libc.func("int64_t write(int, const void *, size_t)");
const openCall = libc.func("int open(const char *, int)");
const closeCall = libc.func("int close(int)");
const ioctlCall = libc.func("int ioctl(int, unsigned long, void *)");
const memcpy = libc.func("void *memcpy(_Out_ void *, uintptr_t, size_t)");

/** A descriptor by which one thread wakes another one that is in {@link poll}; -1 when there are too many. */
export const openWaker = (): number => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);
const COUNT = new Uint8Array(8);

/** Wakes whoever polls this descriptor. */
export const wake = (waker: number): void => void writeCall(waker, ONE, 8);

/** What woke this thread is over. */
export const quieten = (waker: number): void => void readCall(waker, COUNT, 8);

/** Copies what a library of C has at an address. */
export function copyFrom(address: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (length > 0) memcpy(bytes, address, length);
  return bytes;
}

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
/** linux/if_tun.h, linux/if.h: `struct ifreq` has a name and, for this call, flags. */
const TUNSETIFF = 0x400454ca;
const IFREQ = { SIZE: 40, NAME: 16 } as const;
const IFF_TAP_NO_PI = 0x0002 | 0x1000;

/**
 * Opens an interface of the host, from whose wire frames are read and to which they are written, one with each call.
 * @throws Error with a `code` of errno's names: EPERM, EBUSY, ENOENT and others
 */
export function openTap(name: string): number {
  const fd = openCall("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw systemError();
  const request = new Uint8Array(IFREQ.SIZE);
  request.set(new TextEncoder().encode(name).subarray(0, IFREQ.NAME - 1));
  new DataView(request.buffer).setUint16(IFREQ.NAME, IFF_TAP_NO_PI, true);
  if (ioctlCall(fd, TUNSETIFF, request) < 0) {
    const error = systemError();
    closeCall(fd);
    throw error;
  }
  return fd;
}

/** Reads into a buffer, without waiting. @returns bytes; 0 or less when there are none. */
export const readInto = (fd: number, bytes: Uint8Array): number =>
  Number(readCall(fd, bytes, bytes.length));

/** Writes, without waiting; what there is no room for is lost. */
export const writeFrom = (fd: number, bytes: Uint8Array): void =>
  void writeCall(fd, bytes, bytes.length);

export const closeFile = (fd: number): void => void closeCall(fd);

function systemError(): NodeJS.ErrnoException {
  const number = koffi.errno();
  const [code = `errno ${number}`] =
    Object.entries(constants.errno).find(([, value]) => value === number) ?? [];
  return Object.assign(new Error(code), { code });
}

/** A list for poll(2). */
export class PollList {
  #list = new Int32Array(64);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  /** Adds a descriptor. @returns its place. */
  add(fd: number, events: number): number {
    const at = this.#count++;
    if (at * 2 === this.#list.length) {
      const larger = new Int32Array(this.#list.length * 2);
      larger.set(this.#list);
      this.#list = larger;
    }
    this.#list[at * 2] = fd;
    // `short events` and `short revents` in one word.
    this.#list[at * 2 + 1] = events;
    return at;
  }

  /** Waits for an event, or so many milliseconds. This thread does nothing else meanwhile. */
  poll(milliseconds: number): void {
    const list = new Uint8Array(this.#list.buffer);
    const ready = pollCall(list, this.#count, milliseconds);
    // Interrupted: nothing is known of any.
    if (ready < 0) for (let i = 0; i < this.#count; i++) this.#list[i * 2 + 1] = 0;
  }

  /** What happened to the descriptor at a place. */
  events(at: number): number {
    return at >= 0 && at < this.#count ? (this.#list[at * 2 + 1] as number) >>> 16 : 0;
  }
}

import { koffi } from "../hosts/node/koffi.js";

/**
 * The system calls that Node has no function for, through libc. Linux on x86-64 only. All answer as
 * the C functions do: -1 for an error, whose number {@link errno} gives until the next call.
 */
const libc = koffi.load(null);

/** An address in this process. */
export type Address = number;

/** `errno` of the last call; V8 may have changed it since: for messages only. */
export const errno = (): number => koffi.errno();

/** Where a buffer's bytes are. They must not move: an `ArrayBuffer` outside V8's young heap does not. */
export function addressOf(buffer: ArrayBufferLike): Address {
  return Number(koffi.address(buffer as ArrayBuffer));
}

/** The bytes at an address that nobody frees while the view lives. */
export function viewOf(address: Address, length: number): Uint8Array {
  return new Uint8Array(koffi.view(BigInt(address), length) as ArrayBuffer);
}

type Fn<A extends unknown[], R = number> = (...args: A) => R;
const fn = <A extends unknown[], R = number>(prototype: string): Fn<A, R> =>
  libc.func(prototype) as unknown as Fn<A, R>;

export const socket = fn<[number, number, number]>("int socket(int, int, int)");
export const bind = fn<[number, Uint8Array, number]>("int bind(int, void *, uint)");
export const listen = fn<[number, number]>("int listen(int, int)");
export const accept4 = fn<[number, null, null, number]>("int accept4(int, void *, void *, int)");
export const getsockopt = fn<[number, number, number, Uint8Array, Uint32Array]>(
  "int getsockopt(int, int, int, void *, void *)",
);
export const sendmsg = fn<[number, Address, number]>("intptr_t sendmsg(int, uintptr_t, int)");
export const recvmsg = fn<[number, Address, number]>("intptr_t recvmsg(int, uintptr_t, int)");
export const recv = fn<[number, Uint8Array, number, number]>(
  "intptr_t recv(int, void *, size_t, int)",
);
export const close = fn<[number]>("int close(int)");
export const read = fn<[number, Uint8Array, number]>("intptr_t read(int, void *, size_t)");
export const write = fn<[number, Uint8Array, number]>("intptr_t write(int, void *, size_t)");
export const epollCreate1 = fn<[number]>("int epoll_create1(int)");
export const epollCtl = fn<[number, number, number, Uint8Array | null]>(
  "int epoll_ctl(int, int, int, void *)",
);
export const epollWait = fn<[number, Uint8Array, number, number]>(
  "int epoll_wait(int, void *, int, int)",
);
export const poll = fn<[Uint8Array, number, number]>("int poll(void *, ulong, int)");
export const eventfd = fn<[number, number]>("int eventfd(uint, int)");
export const memfdCreate = fn<[string, number]>("int memfd_create(const char *, uint)");
export const ftruncate = fn<[number, number]>("int ftruncate(int, int64_t)");
export const mmap = fn<[Address, number, number, number, number, number], number | bigint>(
  "intptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)",
);
export const munmap = fn<[Address, number]>("int munmap(uintptr_t, size_t)");
export const processVmReadv = fn<[number, Address, number, Address, number, number]>(
  "intptr_t process_vm_readv(int, uintptr_t, ulong, uintptr_t, ulong, ulong)",
);
export const processVmWritev = fn<[number, Address, number, Address, number, number]>(
  "intptr_t process_vm_writev(int, uintptr_t, ulong, uintptr_t, ulong, ulong)",
);
export const futex = fn<[number, Address, number, number, number, number, number]>(
  "intptr_t syscall(intptr_t, uintptr_t, intptr_t, intptr_t, uintptr_t, uintptr_t, intptr_t)",
);
export const pidfdOpen = fn<[number, number, number]>(
  "intptr_t syscall(intptr_t, intptr_t, intptr_t)",
);
export const setrlimit = fn<[number, BigUint64Array]>("int setrlimit(int, void *)");
export const getrlimit = fn<[number, BigUint64Array]>("int getrlimit(int, void *)");
export const prctl = fn<[number, number, number, number, number]>(
  "int prctl(int, ulong, ulong, ulong, ulong)",
);
export const waitpid = fn<[number, null, number]>("int waitpid(int, void *, int)");

/** Kept: its handler must stay loaded. */
let guard: ReturnType<typeof koffi.load> | undefined;

/**
 * Lets this process survive that a client truncates a file in memory that is mapped here
 * (guard/guard.c): the library's path. False when it cannot be loaded.
 */
export function installGuard(path: string): boolean {
  try {
    guard = koffi.load(path);
    return guard.func("int kvm_xen_guard()")() === 0;
  } catch {
    return false;
  }
}

/** Numbers of Linux on x86-64. */
export const C = {
  AF_UNIX: 1,
  SOCK_SEQPACKET: 5,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_PEERCRED: 17,
  SCM_RIGHTS: 1,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
  EPOLL_CLOEXEC: 0o2000000,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLLIN: 1,
  EPOLLET: 0x80000000,
  EPOLLERR: 8,
  EPOLLHUP: 0x10,
  POLLIN: 1,
  POLLHUP: 0x10,
  EFD_CLOEXEC: 0o2000000,
  MFD_CLOEXEC: 1,
  PROT_READ_WRITE: 3,
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  RLIMIT_NOFILE: 7,
  SYS_FUTEX: 202,
  SYS_PIDFD_OPEN: 434,
  FUTEX_WAKE: 1,
  PR_SET_CHILD_SUBREAPER: 36,
  WNOHANG: 1,
} as const;

/** A buffer whose address stays valid: outside V8's heap, never freed. */
export function fixedBuffer(bytes: number): { readonly address: Address; readonly u8: Uint8Array } {
  const flags = C.MAP_PRIVATE | C.MAP_ANONYMOUS;
  const address = Number(mmap(0, bytes, C.PROT_READ_WRITE, flags, -1, 0));
  if (address === -1) throw new RangeError(`mmap of ${bytes} bytes: errno ${errno()}`);
  return { address, u8: viewOf(address, bytes) };
}

import { assert, Errno, type Hva } from "../base/index.js";
import { EventFd, type Kvm } from "../kvm/index.js";
import type { LinearMemory } from "../memory/index.js";
import { AddressSpace, type ReplacedRange } from "./address-space.js";
import type { ClientProcess } from "./client-process.js";
import type { KvmFile } from "./file.js";
import { openKvm } from "./system-file.js";

/**
 * Descriptors a process may have (`RLIMIT_NOFILE` as most systems set it).
 * @limit client | descriptors of a client inside this program | descriptors | EMFILE
 */
const MAX_FILES = 1024;

/** 0, 1 and 2: open, but nothing that KVM could use. */
const STANDARD = "standard";

type OpenFile = KvmFile | EventFd | typeof STANDARD;

const isKvmFile = (file: OpenFile | undefined): file is KvmFile =>
  file !== undefined && file !== STANDARD && !(file instanceof EventFd);

/**
 * A client inside this program: descriptors and an address space like those of a Linux process, for
 * code that speaks KVM's binary interface without being a process. Nothing but broken invariants is
 * thrown by its calls; they answer as system calls do, with -errno.
 */
export class LocalProcess implements ClientProcess {
  readonly #files: (OpenFile | undefined)[] = [STANDARD, STANDARD, STANDARD];
  readonly #memory = new AddressSpace();

  /** open(2) of /dev/kvm: a descriptor, or -EMFILE. */
  open(kvm: Kvm): number {
    return this.install(openKvm(kvm, this));
  }

  /**
   * ioctl(2).
   * @param arg a value or a client address; or bytes in place of what an address would point to
   * @returns 0 or more, or -errno; a promise of it for KVM_RUN unless it ends at once, and for ioctls of a vCPU that is in
   *   KVM_RUN: they wait until that returns.
   */
  ioctl(fd: number, request: number, arg: bigint | Uint8Array = 0n): number | Promise<number> {
    const file = this.#files[fd];
    if (file === undefined) return -Errno.EBADF;
    return isKvmFile(file) ? file.ioctl(request, arg) : -Errno.ENOTTY;
  }

  /**
   * As {@link ioctl}, but ioctls of a vCPU that is in KVM_RUN do not wait until that returns. Linux has no such call: it
   * is for programs on one thread that drive several vCPUs. KVM_RUN itself is refused with -EINVAL.
   */
  ioctlAside(fd: number, request: number, arg: bigint | Uint8Array = 0n): number {
    const file = this.#files[fd];
    if (file === undefined) return -Errno.EBADF;
    if (!isKvmFile(file)) return -Errno.ENOTTY;
    return file.ioctlAside?.(request, arg) ?? (file.ioctl(request, arg) as number);
  }

  /** mmap(2) of a descriptor, shared: the pages themselves, or -errno. */
  mmap(fd: number, length: number, offset = 0): Uint8Array | number {
    const file = this.#files[fd];
    if (file === undefined) return -Errno.EBADF;
    return isKvmFile(file) ? file.mmap(length, offset) : -Errno.ENODEV;
  }

  /** pread(2) of a descriptor of KVM_GET_STATS_FD: bytes, none at the end; or -errno. */
  pread(fd: number, length: number, offset: number): Uint8Array | number {
    const file = this.#files[fd];
    if (file === undefined) return -Errno.EBADF;
    return (isKvmFile(file) ? file.read?.(length, offset) : undefined) ?? -Errno.EINVAL;
  }

  /** close(2). */
  close(fd: number): number {
    const file = this.#files[fd];
    if (file === undefined) return -Errno.EBADF;
    this.#files[fd] = undefined;
    if (isKvmFile(file) && !this.#files.includes(file)) file.release();
    return 0;
  }

  /** The process ends: every descriptor is closed, and VMs go with theirs. */
  exit(): void {
    for (const fd of this.#files.keys()) this.close(fd);
  }

  /** dup(2): another descriptor for the same file, or -errno. */
  dup(fd: number): number {
    const file = this.#files[fd];
    return file === undefined ? -Errno.EBADF : this.#add(file);
  }

  /** eventfd(2): a descriptor, or -EMFILE. */
  createEventfd(initial = 0): number {
    const eventfd = new EventFd();
    if (initial > 0) eventfd.signal(BigInt(initial));
    return this.#add(eventfd);
  }

  /** What a descriptor of {@link createEventfd} refers to, undefined when it is none. */
  eventfdOf(fd: number): EventFd | undefined {
    const file = this.#files[fd];
    return file instanceof EventFd ? file : undefined;
  }

  /**
   * mmap(2) of anonymous memory: zeroed pages.
   * @param at where (MAP_FIXED), a multiple of 4096 in the user half; anywhere when left out
   * @returns the address.
   */
  mapAnonymous(bytes: number, at?: bigint): bigint {
    const { address, replaced } = this.#memory.map(bytes, at);
    this.#tell(replaced);
    return address;
  }

  /** munmap(2). */
  unmap(address: bigint, bytes: number): void {
    this.#tell(this.#memory.unmap(address, bytes));
  }

  /** Fresh zero pages at the same addresses, as mmap(2) with MAP_FIXED makes. VMs hear of it. */
  replacePages(address: bigint, bytes: number): void {
    this.#tell(this.#memory.replace(address, bytes));
  }

  /** A signal to the thread that is in KVM_RUN on a vCPU's descriptor: the run ends with -EINTR. */
  interrupt(fd: number): void {
    const file = this.#files[fd];
    if (isKvmFile(file)) file.interrupt?.();
  }

  read(address: bigint, length: number): Uint8Array | undefined {
    return this.#memory.read(address, length);
  }

  write(address: bigint, bytes: Uint8Array): boolean {
    return this.#memory.write(address, bytes);
  }

  attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined {
    return this.#memory.attach(linear, address, size);
  }

  detach(linear: LinearMemory): void {
    this.#memory.detach(linear);
  }

  toHva(linear: LinearMemory, address: bigint): Hva | undefined {
    return this.#memory.toHva(linear, address);
  }

  toAddress(linear: LinearMemory, hva: Hva): bigint {
    return this.#memory.toAddress(linear, hva);
  }

  hasRoom(): boolean {
    return this.#free() < MAX_FILES;
  }

  install(file: KvmFile): number {
    return this.#add(file);
  }

  eventfd(fd: number): EventFd | "EBADF" | "EINVAL" {
    const file = this.#files[fd];
    if (file === undefined) return "EBADF";
    return file instanceof EventFd ? file : "EINVAL";
  }

  sharedPages(bytes: number): Uint8Array {
    assert(bytes % 4096 === 0, "LocalProcess.sharedPages: size");
    return new Uint8Array(bytes);
  }

  #add(file: OpenFile): number {
    const fd = this.#free();
    if (fd >= MAX_FILES) return -Errno.EMFILE;
    this.#files[fd] = file;
    return fd;
  }

  #free(): number {
    const free = this.#files.indexOf(undefined);
    return free >= 0 ? free : this.#files.length;
  }

  #tell(replaced: readonly ReplacedRange[]): void {
    for (const { linear, start, length } of replaced) {
      for (const file of this.#files) {
        if (isKvmFile(file)) file.invalidate?.(linear, start, length);
      }
    }
  }
}

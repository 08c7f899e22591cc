import { iovec } from "../abi/linux/syscalls.js";
import { Errno, type Hva } from "../base/index.js";
import type { ClientProcess, KvmFile } from "../ioctl/index.js";
import { type EventFd, KvmError } from "../kvm/index.js";
import type { LinearMemory } from "../memory/index.js";
import type { Call } from "./call.js";
import { GuestBacking, type Replaced } from "./guest-backing.js";
import { HostEventFds } from "./host-eventfd.js";
import { fixedBuffer, processVmReadv, processVmWritev } from "./libc.js";
import { LinePage, type Skipped } from "./line-page.js";
import type { Reactor } from "./reactor.js";
import type { RunPages } from "./run-pages.js";

/** What makes a file of the server known by a number. */
export interface FileTable {
  /** A handle for a file of this client. */
  add(file: KvmFile, client: Client): number;
  /**
   * The client has a descriptor for it; when the lifeline, which belongs to the table from now on,
   * hangs up, the last was closed. False, and the handle is gone, when it is nothing to wait for.
   */
  connect(handle: number, lifeline: number): boolean;
}

/** Bytes that a WebAssembly memory has at most, of 64 KiB pages. */
const ADDRESSED = 2 ** 32 - 2 ** 16;

/** Bytes copied from or to the client with one call at most. */
const WINDOW = 1 << 16;

/** A process that makes ioctls: its memory and its descriptors, through the preload library in it. */
export class Client implements ClientProcess {
  readonly pid: number;
  readonly program: number;
  readonly backing = new GuestBacking();
  /** Interrupt lines that it need not ask for. */
  readonly lines: LinePage;
  /** The ioctl that is served just now. */
  call: Call | undefined;
  readonly #pages: RunPages;
  readonly #files: FileTable;
  readonly #eventfds: HostEventFds;
  readonly #window = fixedBuffer(WINDOW + 32);
  readonly #vectors: DataView;
  readonly #say: (line: string) => void;
  /** VMs whose lack of room was told. */
  readonly #told = new WeakSet<LinearMemory>();

  /** `program`: a number that it keeps until exec(2). */
  constructor(
    pid: number,
    program: number,
    parts: {
      reactor: Reactor;
      pages: RunPages;
      files: FileTable;
      say: (line: string) => void;
      /** Calls that it answered by itself. */
      onSkipped: (skipped: Skipped) => void;
    },
  ) {
    this.pid = pid;
    this.program = program;
    this.#pages = parts.pages;
    this.lines = new LinePage(parts.pages, parts.onSkipped);
    this.#files = parts.files;
    this.#say = parts.say;
    this.#eventfds = new HostEventFds(parts.reactor);
    const { u8 } = this.#window;
    this.#vectors = new DataView(u8.buffer, u8.byteOffset + WINDOW, 2 * iovec.size);
  }

  read(address: bigint, length: number): Uint8Array | undefined {
    const known = this.call?.read(address, length);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; done += WINDOW) {
      const part = Math.min(WINDOW, length - done);
      if (!this.#copy(processVmReadv, address + BigInt(done), part)) return undefined;
      bytes.set(this.#window.u8.subarray(0, part), done);
    }
    return bytes;
  }

  write(address: bigint, bytes: Uint8Array): boolean {
    if (this.call?.write(address, bytes) === true) return true;
    for (let done = 0; done < bytes.length; done += WINDOW) {
      const part = Math.min(WINDOW, bytes.length - done);
      this.#window.u8.set(bytes.subarray(done, done + part));
      if (!this.#copy(processVmWritev, address + BigInt(done), part)) return false;
    }
    return true;
  }

  attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined {
    return this.backing.attach(linear, address, size);
  }

  noRoom(linear: LinearMemory, bytes: number): void {
    if (this.#told.has(linear)) return;
    this.#told.add(linear);
    const used = linear.memory.buffer.byteLength;
    const whole = (size: number) => `${Math.ceil(size / 2 ** 20)} MiB`;
    const why =
      used + bytes > ADDRESSED
        ? "a VM has less than 4 GiB here, its ROMs and the engine's tables included, as WebAssembly addresses no more; less memory helps, such as QEMU's -m 3G"
        : "this system gives no more memory";
    this.#say(
      `kvm-xen: no room for ${whole(bytes)} of guest memory beside the ${whole(used)} in use: ${why}`,
    );
  }

  expect(linear: LinearMemory, slot: number, address: bigint, size: number): void {
    this.backing.expect(linear, slot, Number(address), size);
  }

  release(linear: LinearMemory, at: Hva): void {
    this.backing.release(linear, at);
  }

  detach(linear: LinearMemory): void {
    this.backing.detach(linear);
  }

  toHva(linear: LinearMemory, address: bigint): Hva | undefined {
    return this.backing.toHva(linear, address);
  }

  toAddress(linear: LinearMemory, offset: Hva): bigint {
    return this.backing.toAddress(linear, offset);
  }

  hasRoom(): boolean {
    return this.call?.hasNew === true;
  }

  install(file: KvmFile): number {
    const { call } = this;
    const made = call?.takeNew();
    if (call === undefined || made === undefined) return -Errno.EMFILE;
    const handle = this.#files.add(file, this);
    if (!this.#files.connect(handle, made.copy)) return -Errno.EBADF;
    call.installed = handle;
    return made.fd;
  }

  eventfd(fd: number): EventFd | "EBADF" | "EINVAL" {
    const copy = this.call?.take(fd);
    if (copy === undefined) return "EBADF";
    return this.#eventfds.of(copy) ?? "EINVAL";
  }

  runDelay(): (() => bigint) | undefined {
    return this.call?.runDelay;
  }

  signalWaits(): boolean {
    return this.call?.signalled === true;
  }

  caller(): <T>(later: () => T) => T {
    const { call } = this;
    return (later) => {
      const before = this.call;
      this.call = call;
      try {
        return later();
      } finally {
        this.call = before;
      }
    };
  }

  sharedPages(bytes: number): Uint8Array {
    try {
      return this.#pages.allocateOwn(bytes);
    } catch {
      throw new KvmError(Errno.ENOMEM, "no pages to share with the client");
    }
  }

  /** The process is gone. */
  close(): void {
    this.backing.close();
    this.#eventfds.close();
  }

  #copy(call: typeof processVmReadv, address: bigint, length: number): boolean {
    // Addresses of user space: what is above cannot be mapped.
    if (address < 0n || address + BigInt(length) > 0x7fff_ffff_f000n) return false;
    const { address: base } = this.#window;
    const iov_len = BigInt(length);
    iovec.write(this.#vectors, 0, { iov_base: BigInt(base), iov_len });
    iovec.write(this.#vectors, iovec.size, { iov_base: address, iov_len });
    return call(this.pid, base + WINDOW, 1, base + WINDOW + iovec.size, 1, 0) === length;
  }
}

export type { Replaced };

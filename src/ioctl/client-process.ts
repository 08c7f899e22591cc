import type { Hva } from "../base/index.js";
import type { EventFd } from "../kvm/index.js";
import type { LinearMemory } from "../memory/index.js";
import type { KvmFile } from "./file.js";

/**
 * The program that makes ioctls: an address space and a table of descriptors. The door is written
 * against this port; {@link LocalProcess} is a client inside this program, and a real process with
 * shared memory can be another. Addresses are those of the client and never trusted.
 */
export interface ClientProcess {
  /** Its process id, which names statistics; absent inside this program. */
  readonly pid?: number;
  /** A copy of client memory (copy_from_user); undefined when any byte is not mapped. */
  read(address: bigint, length: number): Uint8Array | undefined;
  /** Writes client memory (copy_to_user) up to the first byte that is not mapped; false then. */
  write(address: bigint, bytes: Uint8Array): boolean;
  /**
   * Makes client memory the backing of a VM: where it lies in that VM's linear memory from now on.
   * Undefined when it cannot (no room, or another VM has it).
   */
  attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined;
  /** A slot is refused, as there is no room for that many bytes in that VM's linear memory: for people to hear. */
  noRoom?(linear: LinearMemory, bytes: number): void;
  /**
   * A slot will {@link attach} this memory when it is first accessed; size 0: it does not any more.
   * Absent where memory cannot become another before that.
   */
  expect?(linear: LinearMemory, slot: number, address: bigint, size: number): void;
  /** A slot is gone that used what {@link attach} gave: its room may be used again. */
  release?(linear: LinearMemory, at: Hva): void;
  /** The VM of this linear memory is gone: what was attached to it is plain client memory again. */
  detach(linear: LinearMemory): void;
  /** A client address as an offset in that VM's linear memory; undefined when not attached there. */
  toHva(linear: LinearMemory, address: bigint): Hva | undefined;
  /** The client address of an offset in linear memory; 0 when the client never attached it. */
  toAddress(linear: LinearMemory, hva: Hva): bigint;
  /** Whether {@link install} would find a free descriptor. */
  hasRoom(): boolean;
  /** A new descriptor for a file, or -errno (EMFILE) when there is none left. */
  install(file: KvmFile): number;
  /** The eventfd behind a descriptor: "EBADF" when not open, "EINVAL" when something else. */
  eventfd(fd: number): EventFd | "EBADF" | "EINVAL";
  /**
   * How long the thread that calls now has waited for a processor so far, nanoseconds: a function
   * that can be asked later, as long as that thread lives. Absent or undefined: not known.
   */
  runDelay?(): (() => bigint) | undefined;
  /**
   * Whoever makes the ioctl of this moment: what it gives does something on its behalf when the ioctl
   * has waited for another. Absent where that makes no difference.
   */
  caller?(): <T>(later: () => T) => T;
  /** A signal waits for the thread that calls: KVM_RUN ends with EINTR before the guest goes on. */
  signalWaits?(): boolean;
  /** Zeroed pages that client and door both see: the `kvm_run` pages of a vCPU. */
  sharedPages(bytes: number): Uint8Array;
}

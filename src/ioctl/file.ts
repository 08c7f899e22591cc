import type { Hva } from "../base/index.js";
import type { LinearMemory } from "../memory/index.js";

/** What a descriptor of the client refers to: /dev/kvm, a VM, or a vCPU. */
export interface KvmFile {
  /** What Linux calls it in /proc/PID/fd: `/dev/kvm`, `kvm-vm`, `kvm-vcpu:ID`, `kvm-vm-stats`, `kvm-vcpu-stats:ID`. */
  readonly name: string;
  /**
   * ioctl(2) on this file.
   * @param request the ioctl number; only its low 32 bits count.
   * @param arg the third argument: a value or a client address; or bytes in place of what it would
   *   point to, which are read and written in place.
   * @returns 0 or more, or -errno. KVM_RUN gives a promise unless its exit comes at once, and
   *   so does what waits for it: every ioctl of a vCPU that is in KVM_RUN. All others answer at once.
   */
  ioctl(request: number, arg: bigint | Uint8Array): number | Promise<number>;
  /**
   * As {@link ioctl} of a vCPU, at once also while a KVM_RUN is under way: beyond what Linux has, for a client on the
   * thread on which the vCPUs run, which would wait for itself. Absent where nothing waits.
   */
  ioctlAside?(request: number, arg: bigint | Uint8Array): number;
  /** The pages that mmap(2) of this file from `offset` on would show, or -errno. */
  mmap(length: number, offset: number): Uint8Array | number;
  /** pread(2): the bytes from `offset` on, none at the end, or -errno. Absent: cannot be read. */
  read?(length: number, offset: number): Uint8Array | number;
  /** Of a device's file, which lseek(2) has no position to tell of: `ESPIPE`. */
  readonly hasNoPlace?: true;
  /** The last descriptor was closed. A VM goes when its own and all its vCPUs' files are closed. */
  release(): void;
  /**
   * A signal for a thread that is in KVM_RUN on this file: it ends with -EINTR.
   * @param call what {@link ioctl} gave to that thread; whichever runs now when left out. While it waits
   *   for another it goes on waiting, as Linux has it, and ends with -EINTR when its turn comes.
   */
  interrupt?(call?: Promise<number>): void;
  /**
   * Of a VM: keeps there, by GSI, what KVM_IRQ_LINE_STATUS would answer that lowers a line once more, plus 2, as long as that
   * changes nothing; 0 means that it has to be asked.
   */
  lowLines?(answers: Uint8Array | undefined): void;
  /** Fresh pages took the place of attached ones: what Linux's MMU notifier tells a VM. */
  invalidate?(linear: LinearMemory, start: Hva, length: number): void;
}

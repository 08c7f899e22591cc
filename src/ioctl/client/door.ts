/** What a program needs that drives KVM by its binary interface: system calls, and the errno that they answer with. */
import { assert } from "../../base/index.js";
import { KvmError } from "../../kvm/index.js";

/**
 * System calls on KVM's descriptors, of whatever answers them. `LocalProcess` is one. Each gives 0 or more, or a
 * negative errno.
 */
export interface KvmDoor {
  /** ioctl(2). A promise of KVM_RUN only. */
  ioctl(fd: number, request: number, arg?: bigint | Uint8Array): number | Promise<number>;
  /**
   * The same on a vCPU that is in KVM_RUN, at once. Kernels have no such call, but let the caller wait; without it what
   * a machine does with a vCPU that runs is refused with EBUSY, which is where a second vCPU cannot be started.
   */
  ioctlAside?(fd: number, request: number, arg?: bigint | Uint8Array): number;
  /** mmap(2) of a vCPU: its `kvm_run` pages. */
  mmap(fd: number, length: number): Uint8Array | number;
  /** A signal to the thread that is in KVM_RUN on this vCPU. */
  interrupt(fd: number): void;
  /** close(2). */
  close(fd: number): number;
}

/** A structure as `abi` declares it. */
interface Codec<T, I> {
  readonly size: number;
  decode(bytes: Uint8Array): T;
  encode(value: I): Uint8Array;
}

/** The result of an ioctl. @throws KvmError for a refusal. */
export function checked(result: number, request: number): number {
  if (result < 0) throw new KvmError(-result, `ioctl 0x${request.toString(16)}`);
  return result;
}

/** A descriptor of KVM. Its methods throw KvmError for what is refused. */
export class Descriptor {
  readonly door: KvmDoor;
  readonly fd: number;

  constructor(door: KvmDoor, fd: number) {
    this.door = door;
    this.fd = fd;
  }

  /** An ioctl with a number or bytes, which are written in place. Gives its result. */
  call(request: number, arg: bigint | Uint8Array = 0n): number {
    const result = this.door.ioctl(this.fd, request, arg);
    assert(typeof result === "number", "Descriptor.call: the ioctl waits");
    return checked(result, request);
  }

  /** An ioctl that reads a structure. Gives its result. */
  give<T, I>(request: number, codec: Codec<T, I>, value: I): number {
    return this.call(request, codec.encode(value));
  }

  /** An ioctl that writes a structure, of which it reads what `value` has. */
  take<T, I>(request: number, codec: Codec<T, I>, value?: I): T {
    const bytes = value === undefined ? new Uint8Array(codec.size) : codec.encode(value);
    this.call(request, bytes);
    return codec.decode(bytes);
  }

  /** close(2). */
  close(): void {
    this.door.close(this.fd);
  }
}

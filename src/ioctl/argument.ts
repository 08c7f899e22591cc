import { Errno } from "../base/index.js";
import { KvmError } from "../kvm/index.js";
import type { ClientProcess } from "./client-process.js";

/** Refuses a call with the errno of that name. */
export function refuse(name: keyof typeof Errno, what: string): never {
  throw new KvmError(Errno[name], what);
}

/**
 * The third argument of an ioctl: a value, a client address, or bytes in place of what an address
 * would point to. Every read is a copy, made once; whoever calls checks the copy.
 */
export class Argument {
  readonly process: ClientProcess;
  readonly #address: bigint;
  readonly #bytes: Uint8Array | undefined;

  constructor(process: ClientProcess, arg: bigint | Uint8Array) {
    this.process = process;
    this.#bytes = typeof arg === "bigint" ? undefined : arg;
    this.#address = typeof arg === "bigint" ? BigInt.asUintN(64, arg) : 0n;
  }

  /** The argument as an unsigned long, for ioctls that take no pointer. */
  get value(): bigint {
    if (this.#bytes !== undefined) refuse("EINVAL", "this ioctl takes a value, not bytes");
    return this.#address;
  }

  /** Whether it is a null pointer. */
  get isNull(): boolean {
    return this.#bytes === undefined && this.#address === 0n;
  }

  /** Copies `length` bytes from `offset` on. @throws KvmError EFAULT. */
  read(length: number, offset = 0): Uint8Array {
    const bytes =
      this.#bytes === undefined
        ? this.process.read(this.#address + BigInt(offset), length)
        : offset + length <= this.#bytes.length
          ? this.#bytes.slice(offset, offset + length)
          : undefined;
    return bytes ?? refuse("EFAULT", "argument");
  }

  /** Whether `length` bytes from `offset` on can be read. */
  maps(length: number, offset: number): boolean {
    if (this.#bytes !== undefined) return offset + length <= this.#bytes.length;
    return this.process.read(this.#address + BigInt(offset), length) !== undefined;
  }

  /** Writes bytes at `offset`, as far as there is room. @throws KvmError EFAULT. */
  write(data: Uint8Array, offset = 0): void {
    if (this.#bytes === undefined) {
      if (!this.process.write(this.#address + BigInt(offset), data)) refuse("EFAULT", "argument");
      return;
    }
    const room = Math.max(0, this.#bytes.length - offset);
    this.#bytes.set(data.subarray(0, room), Math.min(offset, this.#bytes.length));
    if (room < data.length) refuse("EFAULT", "argument");
  }
}

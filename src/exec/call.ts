import { close } from "./libc.js";
import type { Message } from "./protocol.js";

/** One ioctl of a client, as long as it is not answered: what came with it, and what it made. */
export class Call {
  /** How long its thread has waited for a processor, nanoseconds. */
  readonly runDelay: () => bigint;
  /** The handle of the file that it made, 0 when it made none. */
  installed = 0;
  /** Copies of descriptors of the client with its number for them; for a new file, its other end. */
  #given: { readonly fd: number; readonly copy: number }[];

  constructor(message: Message, descriptors: readonly number[], runDelay: () => bigint) {
    this.runDelay = runDelay;
    this.#given = descriptors.map((copy, i) => {
      const fd = Number(BigInt.asIntN(32, message.d >> BigInt(32 * i))) - 1;
      return { fd, copy };
    });
  }

  /** Whether {@link takeNew} gives something. */
  get hasNew(): boolean {
    return this.#given.length > 0;
  }

  /** A descriptor that the client made for the file of this call, and the end of it that is ours. */
  takeNew(): { readonly fd: number; readonly copy: number } | undefined {
    return this.#given.shift();
  }

  /** A copy of a descriptor of the client, which belongs to the caller; undefined when not open. */
  take(fd: number): number | undefined {
    const at = this.#given.findIndex((one) => one.fd === fd);
    return at < 0 ? undefined : this.#given.splice(at, 1)[0]?.copy;
  }

  /** It is answered. */
  close(): void {
    for (const { copy } of this.#given) close(copy);
    this.#given = [];
  }
}

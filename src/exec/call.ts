import { close } from "./libc.js";
import { answerRoom, type Message } from "./protocol.js";

/** An ioctl as it came. */
export interface Request {
  readonly message: Message;
  /** Copies of descriptors of the client. */
  readonly descriptors: readonly number[];
  /** What its argument points to, as far as it came along. */
  readonly bytes: Uint8Array | undefined;
}

/** One ioctl of a client, as long as it is not answered: what came with it, and what it made. */
export class Call {
  /** How long its thread has waited for a processor, nanoseconds. */
  readonly runDelay: () => bigint;
  /** KVM_RUN: a signal for its thread waits already. */
  readonly signalled: boolean;
  /** The handle of the file that it made, 0 when it made none. */
  installed = 0;
  /** Copies of descriptors of the client with its number for them; for a new file, its other end. */
  #given: { readonly fd: number; readonly copy: number }[] = [];
  readonly #argument: bigint;
  #sent: Uint8Array | undefined;
  readonly #room: number;
  #answer: Uint8Array | undefined;

  constructor({ message, descriptors, bytes }: Request, runDelay: () => bigint) {
    this.runDelay = runDelay;
    this.#argument = message.b;
    this.signalled = descriptors.length === 0 && message.d !== 0n;
    this.#sent = bytes;
    this.#room = answerRoom(Number(BigInt.asUintN(32, message.a)));
    if (descriptors.length === 0) return;
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

  /** What its argument points to and the answer brings; undefined: nothing. */
  get answer(): Uint8Array | undefined {
    return this.#answer;
  }

  /** A copy of client memory as far as the call has it: what it wrote, or what came along. */
  read(address: bigint, length: number): Uint8Array | undefined {
    if (this.#sent === undefined && this.#answer === undefined) return undefined;
    const from = Number(address - this.#argument);
    if (from < 0) return undefined;
    const written = this.#answer?.length ?? 0;
    if (from < written) {
      return from + length <= written ? this.#answer?.slice(from, from + length) : undefined;
    }
    const sent = this.#sent;
    if (sent === undefined || from + length > sent.length) return undefined;
    if (length < sent.length) return sent.slice(from, from + length);
    // Given away: another read would be of client memory again.
    this.#sent = undefined;
    return sent;
  }

  /**
   * Lets the answer bring bytes, from the argument on: they must not change any more. An address that cannot be written turns the
   * answer into EFAULT at the client. False when they have to be written at once.
   */
  write(address: bigint, bytes: Uint8Array): boolean {
    const before = this.#answer;
    const written = before?.length ?? 0;
    if (this.#room < written + bytes.length) return false;
    if (address !== this.#argument + BigInt(written)) return false;
    if (before === undefined) {
      this.#answer = bytes;
    } else {
      this.#answer = new Uint8Array(written + bytes.length);
      this.#answer.set(before);
      this.#answer.set(bytes, written);
    }
    return true;
  }

  /** It is answered. */
  close(): void {
    for (const { copy } of this.#given) close(copy);
    this.#given = [];
  }
}

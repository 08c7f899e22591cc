import type { ByteStream } from "../../../ports/index.js";

/**
 * Characters of output that are kept.
 * @limit guest | output that a TextConsole keeps | characters | the oldest is forgotten
 */
const MAX_KEPT = 1 << 24;

interface Waiter {
  readonly pattern: RegExp;
  resolve(match: RegExpExecArray): void;
}

/** A console in the hands of a program: what the guest writes is text to look at, and text can be typed. */
export class TextConsole implements ByteStream {
  #text = "";
  /** Where {@link waitFor} looks from. */
  #seen = 0;
  #receiver: (bytes: Uint8Array) => void = () => undefined;
  #waiters: Waiter[] = [];
  readonly #decoder = new TextDecoder();
  readonly #onText: ((text: string) => void) | undefined;

  /** `onText` hears of output as it comes. */
  constructor(onText?: (text: string) => void) {
    this.#onText = onText;
  }

  /** All that the guest has written, or the last 16 Mi characters of it. */
  get text(): string {
    return this.#text;
  }

  /** Types text, as it is: a line ends with "\n" or "\r". */
  type(text: string): void {
    this.#receiver(new TextEncoder().encode(text));
  }

  /**
   * Resolves with the first match of a pattern in what no earlier call has matched. Several may wait at a time. It
   * waits for ever where the pattern never comes: give the machine an end (`machine.stop()`), or race it with run().
   */
  waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve) => {
      this.#waiters.push({ pattern: new RegExp(pattern.source, pattern.flags), resolve });
      this.#look();
    });
  }

  /** For the machine: output. */
  write(bytes: Uint8Array): void {
    const text = this.#decoder.decode(bytes, { stream: true });
    this.#text += text;
    const excess = this.#text.length - MAX_KEPT;
    if (excess > 0) {
      this.#text = this.#text.slice(excess);
      this.#seen = Math.max(0, this.#seen - excess);
    }
    this.#onText?.(text);
    this.#look();
  }

  /** For the machine: who gets input. */
  onData(receiver: (bytes: Uint8Array) => void): void {
    this.#receiver = receiver;
  }

  #look(): void {
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiting) {
      waiter.pattern.lastIndex = 0;
      const match = waiter.pattern.exec(this.#text.slice(this.#seen));
      if (match === null) {
        this.#waiters.push(waiter);
        continue;
      }
      this.#seen += match.index + match[0].length;
      waiter.resolve(match);
    }
  }
}

import type { Socket } from "node:net";

/** Bytes of a socket, in the pieces that are asked for, one piece at a time. */
export class SocketReader {
  readonly #chunks: Buffer[] = [];
  #have = 0;
  #wanted: { length: number; resolve(bytes: Buffer): void; reject(why: Error): void } | undefined;
  #ended: Error | undefined;

  constructor(socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.#chunks.push(bytes);
      this.#have += bytes.length;
      this.#serve();
    });
    socket.on("error", (why) => this.#end(why));
    socket.on("close", () => this.#end(new Error("the server hung up")));
  }

  /** Rejects when the connection has ended before there are so many. */
  take(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = { length, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    if (this.#have >= wanted.length) {
      this.#wanted = undefined;
      wanted.resolve(this.#cut(wanted.length));
    } else if (this.#ended !== undefined) {
      this.#wanted = undefined;
      wanted.reject(this.#ended);
    }
  }

  #cut(length: number): Buffer {
    this.#have -= length;
    const [first] = this.#chunks;
    if (first !== undefined && first.length > length) {
      this.#chunks[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const chunk = this.#chunks.shift() ?? Buffer.alloc(0);
      parts.push(chunk.subarray(0, left));
      if (chunk.length > left) this.#chunks.unshift(chunk.subarray(left));
      left -= Math.min(left, chunk.length);
    }
    return parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
  }

  #end(why: Error): void {
    this.#ended ??= why;
    this.#serve();
  }
}

/** The server's side of a WebSocket (RFC 6455): whole messages, without extensions. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

/** What RFC 6455 has every server append to the client's key. */
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/**
 * The largest Ethernet frame fits.
 * @limit client | a message of a page to its server | bytes | the connection ends
 */
const MAX_MESSAGE = 1 << 17;
/** @limit client | messages of the server that a page does not read, answers to pings among them | bytes | the connection ends */
const MAX_UNREAD = 16 << 20;
/**
 * Milliseconds for which the other side may take its leave.
 * @limit client | a connection that was closed and that its client keeps open | ms | the connection ends
 */
const MAX_LEAVE_MS = 2000;

const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
const FIN = 0x80;
const MASKED = 0x80;

/** Status codes of a close frame. */
export const Close = {
  NORMAL: 1000,
  PROTOCOL: 1002,
  DATA: 1003,
  TOO_BIG: 1009,
  FAILED: 1011,
  LATER: 1013,
} as const;

/** Who hears of a connection. */
export interface WebSocketListener {
  message(text: string): void;
  /** Nobody else changes them; without it, a client that sends bytes is closed. */
  bytes?(message: Uint8Array): void;
  /** What was sent has left this process, after some of it had to wait. */
  drained?(): void;
  closed(): void;
}

/** An open connection. */
export class WebSocketPeer {
  readonly #stream: Duplex;
  #listener: WebSocketListener | undefined;
  #input: Buffer = Buffer.alloc(0);
  /** What has come behind it, while the frame at its beginning is not whole: it is copied once, not once for each byte. */
  #more: Buffer[] = [];
  #moreBytes = 0;
  /** Bytes that the frame at the beginning of the input has at least. */
  #wanted = 2;
  /** The pieces of a message so far, without empty ones. */
  #pieces: Buffer[] | undefined;
  #pieceBytes = 0;
  /** What its first frame said that it is. */
  #opcode = 0;
  #isClosed = false;

  private constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (bytes: Buffer) => this.#receive(bytes));
    // A server of HTTP leaves its half of a connection open.
    stream.on("end", () => stream.destroy());
    stream.on("error", () => this.#end());
    stream.on("close", () => this.#end());
    stream.on("drain", () => this.#listener?.drained?.());
  }

  /** Bytes that were sent and still wait in this process. */
  get waiting(): number {
    return this.#stream.writableLength;
  }

  /** Lets the client wait; messages that have arrived may still come. */
  pause(): void {
    this.#stream.pause();
  }

  /** Goes on after {@link pause}. */
  resume(): void {
    this.#stream.resume();
  }

  /** Answers the handshake; undefined when it is none, and `stream` is closed then. */
  static accept(request: IncomingMessage, stream: Duplex, head: Buffer): WebSocketPeer | undefined {
    const { upgrade, "sec-websocket-key": key, "sec-websocket-version": version } = request.headers;
    const fits = upgrade?.toLowerCase() === "websocket" && version === "13" && isKey(key);
    if (!fits || request.method !== "GET") {
      refuseUpgrade(stream, 400, "Bad Request");
      return undefined;
    }
    const accept = createHash("sha1").update(`${key}${MAGIC}`).digest("base64");
    stream.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const peer = new WebSocketPeer(stream);
    if (head.length > 0) peer.#receive(head);
    return peer;
  }

  /** Who hears of it; before, nothing is read. */
  listen(listener: WebSocketListener): void {
    this.#listener = listener;
    if (this.#isClosed) listener.closed();
    else this.#parse();
  }

  /** Sends a text, or bytes. */
  send(message: string | Uint8Array): void {
    if (this.#isClosed) return;
    const isText = typeof message === "string";
    const body = isText ? Buffer.from(message) : message;
    this.#frame(isText ? Opcode.TEXT : Opcode.BINARY, body);
  }

  /** Ends it. */
  close(code: number = Close.NORMAL): void {
    if (this.#isClosed) return;
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.#frame(Opcode.CLOSE, body);
    this.#end();
    leave(this.#stream);
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener?.closed();
  }

  #frame(opcode: number, body: Uint8Array): void {
    if (this.#stream.writableLength > MAX_UNREAD) {
      this.#stream.destroy();
      return;
    }
    const { length } = body;
    const head = Buffer.alloc(length < 126 ? 2 : length < 1 << 16 ? 4 : 10);
    head[0] = FIN | opcode;
    if (length < 126) head[1] = length;
    else if (length < 1 << 16) {
      head[1] = 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    this.#stream.write(head);
    this.#stream.write(body);
  }

  #receive(bytes: Buffer): void {
    if (this.#isClosed) return;
    this.#more.push(bytes);
    this.#moreBytes += bytes.length;
    if (this.#listener !== undefined) this.#parse();
    else if (this.#moreBytes > MAX_MESSAGE) this.close(Close.TOO_BIG);
  }

  #parse(): void {
    if (this.#input.length + this.#moreBytes < this.#wanted) return;
    if (this.#moreBytes > 0) this.#input = Buffer.concat([this.#input, ...this.#more]);
    this.#more = [];
    this.#moreBytes = 0;
    while (!this.#isClosed && this.#parseFrame()) this.#wanted = 2;
  }

  /** Takes one frame; false when it is not whole yet. */
  #parseFrame(): boolean {
    const input = this.#input;
    if (input.length < 2) return false;
    const [first = 0, second = 0] = input;
    let length = second & 0x7f;
    let at = 2;
    if (length >= 126) {
      const size = length === 126 ? 2 : 8;
      if (input.length < at + size) return this.#wants(at + size);
      length = size === 2 ? input.readUInt16BE(at) : Number(input.readBigUInt64BE(at));
      at += size;
    }
    // Clients have to mask, and no extension was agreed on.
    if ((second & MASKED) === 0 || (first & 0x70) !== 0) {
      this.close(Close.PROTOCOL);
      return false;
    }
    if (length + this.#pieceBytes > MAX_MESSAGE) {
      this.close(Close.TOO_BIG);
      return false;
    }
    if (input.length < at + 4 + length) return this.#wants(at + 4 + length);
    const mask = input.subarray(at, at + 4);
    const body = Buffer.from(input.subarray(at + 4, at + 4 + length));
    for (let i = 0; i < length; i++) body[i] = (body[i] ?? 0) ^ (mask[i & 3] ?? 0);
    this.#input = input.subarray(at + 4 + length);
    this.#take(first & 0x0f, (first & FIN) !== 0, body);
    return true;
  }

  /** Nothing is to be done before the input has so many bytes. */
  #wants(bytes: number): false {
    this.#wanted = bytes;
    return false;
  }

  #take(opcode: number, isLast: boolean, body: Buffer): void {
    switch (opcode) {
      case Opcode.PING:
        this.#frame(Opcode.PONG, body.subarray(0, 125));
        return;
      case Opcode.PONG:
        return;
      case Opcode.CLOSE:
        this.close();
        return;
      case Opcode.TEXT:
      case Opcode.BINARY:
      case Opcode.CONTINUATION:
        this.#takePart(opcode, isLast, body);
        return;
      default:
        this.close(Close.PROTOCOL);
    }
  }

  /** A message, or a part of one. */
  #takePart(opcode: number, isLast: boolean, body: Buffer): void {
    if ((opcode === Opcode.CONTINUATION) !== (this.#pieces !== undefined)) {
      this.close(Close.PROTOCOL);
      return;
    }
    if (opcode !== Opcode.CONTINUATION) this.#opcode = opcode;
    this.#pieces ??= [];
    if (body.length > 0) this.#pieces.push(body);
    this.#pieceBytes += body.length;
    if (!isLast) return;
    const [first = body, ...others] = this.#pieces;
    const message = others.length === 0 ? first : Buffer.concat(this.#pieces);
    this.#pieces = undefined;
    this.#pieceBytes = 0;
    const listener = this.#listener;
    if (this.#opcode === Opcode.TEXT) listener?.message(message.toString("utf8"));
    else if (listener?.bytes !== undefined) listener.bytes(message);
    else this.close(Close.DATA);
  }
}

const isKey = (key: string | undefined): boolean =>
  key !== undefined && Buffer.from(key, "base64").length === 16;

/** Answers an upgrade that is not to be. */
export function refuseUpgrade(stream: Duplex, status: number, reason: string): void {
  stream.on("error", () => stream.destroy());
  stream.write(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  leave(stream);
}

/** Ends a connection: what was written may still be read, for a while; what comes is thrown away. */
function leave(stream: Duplex): void {
  stream.end();
  stream.resume();
  stream.on("end", () => stream.destroy());
  const timer = setTimeout(() => stream.destroy(), MAX_LEAVE_MS);
  timer.unref();
  stream.once("close", () => clearTimeout(timer));
}

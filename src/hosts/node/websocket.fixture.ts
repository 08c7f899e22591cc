/** A client of a WebSocket that says what a test wants it to say. */
import { connect, type Socket } from "node:net";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** What a server answered. */
export interface Answer {
  /** The first line. */
  readonly status: string;
  /** All lines. */
  readonly head: string;
  readonly socket: Socket;
}

/** Asks for a WebSocket at a path of a server. */
export function askForSocket(
  address: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { host, port } = new URL(address);
  const all = {
    ...{ Host: host, Upgrade: "websocket", Connection: "Upgrade" },
    ...{ "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13", ...headers },
  };
  const socket = connect(Number(port), "127.0.0.1");
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  return new Promise((resolve) => {
    socket.once("data", (bytes) => {
      const head = bytes.toString("latin1");
      resolve({ status: head.split("\r\n")[0] ?? "", head, socket });
    });
    socket.on("error", () => undefined);
  });
}

/** A frame as a client sends it. */
export function frame(
  opcode: number,
  payload: string | Uint8Array,
  isLast = true,
  masked = true,
): Buffer {
  const body = Buffer.from(payload as Uint8Array);
  const length = body.length < 126 ? [body.length] : [126, body.length >> 8, body.length & 0xff];
  const head = Buffer.from([(isLast ? 0x80 : 0) | opcode, ...length]);
  head[1] = (head[1] ?? 0) | (masked ? 0x80 : 0);
  const mask = Buffer.from([1, 2, 3, 4]);
  const hidden = Buffer.from(body.map((byte, i) => byte ^ (mask[i & 3] ?? 0)));
  return masked ? Buffer.concat([head, mask, hidden]) : Buffer.concat([head, body]);
}

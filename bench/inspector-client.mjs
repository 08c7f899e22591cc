// @ts-check
/**
 * A viewer of an inspector without a page: attaches to the address that it is given, says what it wants when a line of its
 * standard input says so (`idle`, `watch`, `gone`), and that it has seen each view. In a process of its own: what a page does with
 * what it gets is the page's.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

const address = new URL(process.argv[2] ?? "");
/** @type {import("node:net").Socket | undefined} */
let socket;

/** @param {unknown} message */
function say(message) {
  const body = Buffer.from(JSON.stringify(message));
  const length =
    body.length < 126 ? [0x80 | body.length] : [0xfe, body.length >> 8, body.length & 0xff];
  // A mask of zeros changes nothing.
  socket?.write(Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), body]));
}

/** Attaches, and answers each text with the word that it was seen. @param {unknown} first */
function attach(first) {
  let input = Buffer.alloc(0);
  let isOpen = false;
  const mine = connect(Number(address.port), address.hostname);
  socket = mine;
  mine.write(
    `GET ${address.pathname}inspect HTTP/1.1\r\nHost: ${address.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  mine.on("error", () => undefined);
  mine.on("data", (bytes) => {
    input = Buffer.concat([input, bytes]);
    if (!isOpen) {
      const end = input.indexOf("\r\n\r\n");
      if (end < 0) return;
      isOpen = true;
      input = input.subarray(end + 4);
      say(first);
    }
    for (;;) {
      if (input.length < 2) return;
      const short = (input[1] ?? 0) & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (input.length < head) return;
      const length =
        short < 126
          ? short
          : short === 126
            ? input.readUInt16BE(2)
            : Number(input.readBigUInt64BE(2));
      if (input.length < head + length) return;
      const isText = ((input[0] ?? 0) & 0x0f) === 1;
      input = input.subarray(head + length);
      if (isText) say({ kind: "seen" });
    }
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  socket?.destroy();
  socket = undefined;
  if (line !== "gone") attach({ kind: "watch", events: line === "watch", parts: {} });
  console.log(line);
}

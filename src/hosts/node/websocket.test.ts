import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PageServer } from "./page-server.js";
import { askForSocket, frame } from "./websocket.fixture.js";
import type { WebSocketPeer } from "./websocket.js";

const token = "0123456789abcdef0123456789abcdef";
const folder = mkdtempSync(join(tmpdir(), "kvm-xen-page-"));
let server: PageServer;
let peers: WebSocketPeer[] = [];
const heard: string[] = [];

beforeAll(async () => {
  writeFileSync(join(folder, "index.html"), "<!doctype html>");
  server = await PageServer.open({
    ...{ folder, port: 0, token, allowOrigins: ["http://127.0.0.1:9"] },
    sockets: new Map([
      [
        "inspect",
        (peer: WebSocketPeer) => {
          peers.push(peer);
          peer.listen({
            message: (text) => heard.push(text),
            closed: () => heard.push("closed"),
          });
        },
      ],
    ]),
  });
});
afterEach(() => {
  peers = [];
  heard.length = 0;
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const ask = (headers: Readonly<Record<string, string>>, path = `/${token}/inspect`) =>
  askForSocket(server.address, path, headers);

describe("who may attach", () => {
  it("is who has the token, from the page that is served or one that was allowed", async () => {
    const own = await ask({ Origin: `http://${new URL(server.address).host}` });
    expect(own.status).toBe("HTTP/1.1 101 Switching Protocols");
    // The answer of RFC 6455 to its own example of a key.
    expect(own.head).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    own.socket.destroy();
    const allowed = await ask({ Origin: "http://127.0.0.1:9" });
    expect(allowed.status).toContain("101");
    allowed.socket.destroy();
  });

  it.each([
    ["another origin", { Origin: "https://example.com" }, undefined],
    ["an origin of no page", { Origin: "null" }, undefined],
    ["a name that was bound to this machine", { Host: "rebound.example.com:80" }, undefined],
    ["a wrong token", {}, `/${"f".repeat(32)}/inspect`],
    ["no token", {}, "/inspect"],
  ])("is not %s", async (_, headers, path) => {
    const { status, socket } = await ask(headers as Record<string, string>, path);
    expect(status).toBe("HTTP/1.1 403 Forbidden");
    socket.destroy();
    expect(peers).toEqual([]);
  });

  it.each([
    ["another path", {}, `/${token}/other`, 404],
    ["an old version", { "Sec-WebSocket-Version": "8" }, undefined, 400],
    ["a key that is none", { "Sec-WebSocket-Key": "short" }, undefined, 400],
  ])("has to ask for it: %s", async (_, headers, path, status) => {
    const asked = await ask(headers as Record<string, string>, path);
    expect(asked.status).toContain(String(status));
    asked.socket.destroy();
  });
});

describe("WebSocketPeer", () => {
  it("takes messages, in pieces too, and sends long ones", async () => {
    const { socket } = await ask({});
    socket.write(frame(1, "one"));
    const pieces = Buffer.concat([frame(1, "t", false), frame(9, "ping"), frame(0, "wo")]);
    for (const byte of pieces) socket.write(Buffer.of(byte));
    const texts = () => heard.filter((text) => text !== "closed");
    await expect.poll(texts, { timeout: 10_000 }).toEqual(["one", "two"]);
    let bytes = Buffer.alloc(0);
    socket.on("data", (more) => {
      bytes = Buffer.concat([bytes, more]);
    });
    peers[0]?.send("x".repeat(70_000));
    await expect.poll(() => bytes.length, { timeout: 10_000 }).toBeGreaterThan(70_000);
    expect([...bytes.subarray(0, 10)]).toEqual([0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    socket.destroy();
    await expect.poll(() => heard.at(-1), { timeout: 10_000 }).toBe("closed");
  });

  it.each([
    ["a frame without a mask", frame(1, "bad", true, false), 1002],
    ["a piece of nothing", frame(0, "bad"), 1002],
    ["bytes that nobody takes", frame(2, "bad"), 1003],
    ["an opcode that nobody knows", frame(3, "bad"), 1002],
    [
      "a message that is too long",
      Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
      1009,
    ],
  ])("ends at %s", async (_, bytes, code) => {
    const { socket } = await ask({});
    const answer = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    socket.write(bytes);
    const closed = await answer;
    expect([closed[0], closed.readUInt16BE(2)]).toEqual([0x88, code]);
    await expect.poll(() => heard, { timeout: 10_000 }).toContain("closed");
    socket.destroy();
  });

  it("copies what comes in pieces once, however many there are", async () => {
    const { socket } = await ask({});
    // Copied for each piece, these would be 26 GB.
    const began = performance.now();
    const long = "x".repeat(60_000);
    socket.write(Buffer.concat([frame(1, long, false), frame(0, long, false)]));
    socket.write(Buffer.concat(Array(200_000).fill(frame(0, "", false))));
    socket.write(frame(0, "end"));
    await expect.poll(() => heard[0]?.length, { timeout: 4000 }).toBe(120_003);
    expect(performance.now() - began).toBeLessThan(10_000);
    socket.destroy();
    await expect.poll(() => heard.at(-1), { timeout: 10_000 }).toBe("closed");
  });

  it("ends with a client that asks for answers and reads none", async () => {
    const { socket } = await ask({});
    socket.pause();
    const pings = Buffer.concat(Array(10_000).fill(frame(9, "x".repeat(125))));
    for (let i = 0; i < 30; i++) socket.write(pings);
    await expect.poll(() => heard, { timeout: 10_000 }).toEqual(["closed"]);
    socket.destroy();
  });

  it("ends with a client that is told to go and stays", async () => {
    const asked = [ask({}), ask({}, "/wrong")];
    const sockets = (await Promise.all(asked)).map(({ socket }) => socket);
    sockets[0]?.write(frame(3, "bad"));
    let ended = 0;
    for (const socket of sockets) {
      socket.allowHalfOpen = true;
      socket.once("error", () => ended++);
    }
    const timer = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write("still here");
    }, 50);
    await expect.poll(() => ended, { timeout: 10_000 }).toBe(2);
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  });
});

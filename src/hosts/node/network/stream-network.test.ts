import { existsSync, linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { seed } from "../../../base/seed.fixture.js";
import type { Frame, Log, Network } from "../../../ports/index.js";
import { openSocketNetwork } from "./socket-network.js";
import { FrameReader, StreamNetwork } from "./stream-network.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-stream-"));
afterAll(() => rmSync(folder, { recursive: true }));

const frame = (length: number): Frame => ({
  bytes: Uint8Array.from({ length }, (_, i) => i * 3 + length),
  checksum: "unknown",
});
const encode = (...frames: Frame[]): Buffer =>
  Buffer.concat(
    frames.flatMap(({ bytes }) => {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(bytes.length);
      return [head, bytes];
    }),
  );
const lines: string[] = [];
const log: Log = { warn: (line) => void lines.push(line), debug: () => undefined };
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe("frames in a stream", () => {
  it("are whole, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 14, max: 300 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 40 }),
        (lengths, cuts) => {
          const bytes = encode(...lengths.map(frame));
          const reader = new FrameReader();
          const got: Frame[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = at + (cuts[i % cuts.length] as number);
            got.push(...(reader.read(bytes.subarray(at, end)) ?? []));
            at = end;
          }
          expect(got).toEqual(lengths.map(frame));
        },
      ),
      { seed },
    );
  });

  it.each([0, 13, 65554, 0xffffffff])("of %i bytes are none", (length) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(length);
    expect(new FrameReader().read(head)).toBeUndefined();
  });

  it("of the shortest and the longest length are taken", () => {
    expect(new FrameReader().read(encode(frame(14), frame(65553)))).toHaveLength(2);
  });
});

describe("a network behind a stream", () => {
  const make = () => {
    const written: Buffer[] = [];
    let blocked: (() => void) | undefined;
    const gate = { isClosed: false };
    const stream = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _, done) => {
        written.push(chunk);
        if (gate.isClosed) blocked = done;
        else done();
      },
    });
    const network = new StreamNetwork("net", log);
    network.connect(stream);
    const unblock = (): void => {
      gate.isClosed = false;
      blocked?.();
    };
    return { network, stream, written, gate, unblock };
  };

  it("writes and reads frames with their lengths", async () => {
    const { network, stream, written } = make();
    const got: Frame[] = [];
    network.onFrames((frames) => got.push(...frames) && frames.length);
    network.send(frame(60));
    network.send(frame(61));
    await until(() => written.length === 4);
    expect(Buffer.concat(written)).toEqual(encode(frame(60), frame(61)));
    stream.push(encode(frame(70)));
    await until(() => got.length === 1);
    expect(got).toEqual([frame(70)]);
  });

  it("is full when nobody reads, and tells when somebody has", async () => {
    const { network, gate, unblock, written } = make();
    gate.isClosed = true;
    let told = 0;
    network.onRoom(() => {
      told += 1;
    });
    let count = 0;
    for (; !network.isFull; count++) network.send(frame(60000));
    expect(count).toBe(18);
    await until(() => written.length > 0);
    unblock();
    await until(() => told > 0);
    expect(network.isFull).toBe(false);
  });

  it("makes the other end wait while the guest takes nothing", async () => {
    const { network, stream } = make();
    let room = 1;
    const got: Frame[] = [];
    network.onFrames((frames) => {
      const taken = frames.slice(0, room);
      got.push(...taken);
      room -= taken.length;
      return taken.length;
    });
    stream.push(encode(frame(60), frame(61)));
    await until(() => got.length === 1);
    expect(stream.isPaused()).toBe(true);
    room = 9;
    network.resume();
    await until(() => got.length === 2);
    expect(stream.isPaused()).toBe(false);
  });

  it("is a cable without an end when the other one goes, or speaks something else", async () => {
    const { network, stream } = make();
    lines.length = 0;
    stream.push(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
    await until(() => !network.isConnected);
    expect(lines).toEqual([
      "net: the other end does not speak QEMU's stream protocol",
      "net: the other end has gone",
    ]);
    network.send(frame(60));
    expect(network.isFull).toBe(false);
  });
});

describe("a socket", () => {
  const open = async (path: string) => {
    const got: Frame[] = [];
    const network: Network = await openSocketNetwork(path, log);
    network.onFrames((frames) => got.push(...frames) && frames.length);
    return { network, got };
  };

  it("joins two machines, and only those of its user; one that comes again is joined again", async () => {
    const path = join(folder, "two.sock");
    const one = await open(path);
    const two = await open(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    two.network.send(frame(61));
    await until(() => one.got.length === 1);
    one.network.send(frame(60));
    await until(() => two.got.length === 1);
    expect([one.got, two.got]).toEqual([[frame(61)], [frame(60)]]);
    lines.length = 0;
    await two.network.close();
    await until(() => lines.length > 0);
    expect(lines).toEqual([`--net socket=${path}: the other end has gone`]);
    const again = await open(path);
    again.network.send(frame(62));
    await until(() => one.got.length === 2);
    await again.network.close();
    await one.network.close();
    expect(existsSync(path)).toBe(false);
  });

  it("that was left behind is made anew; a file stays", async () => {
    const path = join(folder, "left.sock");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    // A server that ends takes its socket with it, but for another name of it.
    const kept = join(folder, "kept.sock");
    linkSync(path, kept);
    await new Promise((resolve) => server.close(resolve));
    await (await open(kept)).network.close();
    const file = join(folder, "file");
    writeFileSync(file, "");
    await expect(open(file)).rejects.toMatchObject({ code: "NET_UNUSABLE" });
    expect(existsSync(file)).toBe(true);
    await expect(open(join(folder, "none/x.sock"))).rejects.toThrow("there is no such folder");
  });
});

import { spawnSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Disk, DiskFailure } from "../../ports/index.js";
import { NbdDisk } from "./nbd/nbd-disk.js";
import { openDisk } from "./open-disk.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-sources-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const ended = (start: (done: (failure?: DiskFailure) => void) => void) =>
  new Promise<DiskFailure | undefined>((resolve) => start(resolve));
const write = (disk: Disk, offset: number, bytes: Uint8Array) =>
  ended((done) => disk.write(offset, bytes, done));

describe("a new .tar", () => {
  /** A disk, with what a guest writes to it at its beginning. */
  async function written(name: string, bytes: Uint8Array): Promise<Disk> {
    const disk = await openDisk(at(name));
    expect(disk.size).toBe(64 * 2 ** 30);
    if (bytes.length > 0) expect(await write(disk, 0, bytes)).toBeUndefined();
    return disk;
  }

  it("has the length of the archive that was written, and nothing that was behind", async () => {
    mkdirSync(at("in/sub"), { recursive: true });
    for (const [i, size] of [0, 1, 511, 512, 513, 70_000].entries()) {
      writeFileSync(at(`in/sub/${"n".repeat(i * 40)}${i}`), Buffer.alloc(size, i));
    }
    linkSync(at("in/sub/0"), at("in/hard"));
    symlinkSync("sub", at("in/soft"));
    for (const format of ["gnu", "pax", "ustar"]) {
      const tar = spawnSync("tar", ["-C", at("in"), "-b", "1", `--format=${format}`, "-c", "."]);
      const disk = await written(`${format}.tar`, tar.stdout);
      await write(disk, tar.stdout.length + 8192, new Uint8Array(512).fill(1));
      await disk.close();
      expect(readFileSync(at(`${format}.tar`)).equals(tar.stdout)).toBe(true);
    }
  });

  it("is empty when nothing was written, also when it is never closed, and keeps its size", async () => {
    const disk = await written("none.tar", new Uint8Array(0));
    expect(statSync(at("none.tar")).size).toBe(0);
    await expect(disk.resize(undefined)).rejects.toMatchObject({ code: "DISK_SIZE" });
    const into = new Uint8Array(512).fill(1);
    expect(await ended((done) => disk.read(1 << 30, into, done))).toBeUndefined();
    expect(into).toEqual(new Uint8Array(512));
    await disk.close();
    expect(statSync(at("none.tar")).size).toBe(0);
  });

  it.each([
    ["something else", Buffer.alloc(4096, "x")],
    [
      "an archive that breaks off",
      spawnSync("tar", ["-c", "-b", "1", "--no-recursion", "/"]).stdout.fill(1, 512),
    ],
  ])("%s is kept, and said", async (name, bytes) => {
    const disk = await written(`${name}.tar`, bytes);
    await expect(disk.close()).rejects.toMatchObject({ code: "NO_TAR" });
    expect(statSync(at(`${name}.tar`)).size).toBe(bytes.length);
    rmSync(at(`${name}.tar`));
  });

  it("of an archive that is there, the bytes are the disk's", async () => {
    writeFileSync(at("old.tar"), Buffer.alloc(1024, 7));
    const disk = await openDisk(at("old.tar"));
    expect(disk.size).toBe(1024);
    await disk.close();
    expect(readFileSync(at("old.tar"))).toEqual(Buffer.alloc(1024, 7));
  });
});

describe("a folder", () => {
  it("without mke2fs is refused in one line, and nothing is left", async () => {
    const path = process.env["PATH"];
    const { openFolder } = await import("./folder-disk.js");
    const { HostError } = await import("../../base/index.js");
    const missing = async (): Promise<string> => {
      throw new HostError("PROGRAM_MISSING", "mke2fs is not installed");
    };
    const before = readdirSync(tmpdir()).filter((name) => name.endsWith(".img")).length;
    await expect(openFolder(folder, missing)).rejects.toMatchObject({ code: "TOOL_MISSING" });
    await expect(openFolder(at("nowhere"), missing)).rejects.toMatchObject({
      code: "DISK_UNUSABLE",
    });
    expect(readdirSync(tmpdir()).filter((name) => name.endsWith(".img")).length).toBe(before);
    expect(process.env["PATH"]).toBe(path);
  });
});

/** A server that says these bytes to whoever connects, one after another as often as it is written to. */
async function fakeServer(name: string, answers: readonly Buffer[]): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    const [first = Buffer.alloc(0), ...rest] = answers;
    socket.write(first);
    socket.on("data", () => {
      const next = rest.shift();
      if (next === undefined) socket.destroy();
      else socket.write(next);
    });
  });
  await new Promise<void>((resolve) => server.listen(at(name), resolve));
  server.unref();
  return `nbd+unix:///?socket=${at(name)}`;
}

const hello = (flags: number): Buffer => {
  const bytes = Buffer.from("NBDMAGICIHAVEOPT\0\0");
  bytes.writeUInt16BE(flags, 16);
  return bytes;
};
const reply = (type: number, data: Buffer): Buffer => {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(0x3e889045565a9n, 0);
  head.writeUInt32BE(7, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
};
const exportInfo = (size: bigint, flags: number): Buffer => {
  const data = Buffer.alloc(12);
  data.writeBigUInt64BE(size, 2);
  data.writeUInt16BE(flags, 10);
  return reply(3, data);
};
const blockSizes = (minimum: number, maximum: number): Buffer => {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(3, 0);
  data.writeUInt32BE(minimum, 2);
  data.writeUInt32BE(4096, 6);
  data.writeUInt32BE(maximum, 10);
  return reply(3, data);
};
const ack = reply(1, Buffer.alloc(0));

describe("an NBD server", () => {
  it.each<[string, Buffer[], string]>([
    ["is none", [Buffer.from("HTTP/1.1 400 Bad Request\r\n")], "no NBD server"],
    ["is old", [hello(0)], "too old"],
    ["hangs up", [hello(3)], "hung up"],
    ["has no such export", [hello(3), reply(0x80000006, Buffer.alloc(0))], "no such export"],
    ["tells no size", [hello(3), ack], "tells no size"],
    ["is empty", [hello(3), Buffer.concat([exportInfo(511n, 1), ack])], "empty"],
    ["is huge", [hello(3), Buffer.concat([exportInfo(1n << 60n, 1), ack])], "too large"],
    ["only reads", [hello(3), Buffer.concat([exportInfo(4096n, 3), ack])], "only lets it be read"],
    ["answers at length", [hello(3), reply(3, Buffer.alloc(70_000))], "nonsense"],
    ["answers nonsense", [hello(3), Buffer.alloc(20)], "nonsense"],
    [
      "never comes to an end",
      [hello(3), Buffer.concat(Array(1000).fill(reply(3, Buffer.alloc(2))))],
      "nonsense",
    ],
    ["takes nothing", [hello(3), Buffer.concat([blockSizes(1, 511), ack])], "nonsense"],
    ["wants large blocks", [hello(3), Buffer.concat([blockSizes(4096, 1 << 20), ack])], "4096"],
  ])("that %s is refused", async (name, answers, message) => {
    const refusal = openDisk(await fakeServer(`${name}.sock`, answers));
    await expect(refusal).rejects.toMatchObject({ code: "DISK_UNUSABLE" });
    await expect(refusal).rejects.toThrow(message);
  });

  it("that goes away or lies leaves errors, also for what is asked later", async () => {
    const lies = Buffer.concat([exportInfo(4096n, 1 | 4), ack]);
    for (const last of [[], [Buffer.alloc(16, 1)]]) {
      const name = await fakeServer(`gone-${last.length}.sock`, [hello(3), lies, ...last]);
      const disk = await openDisk(name);
      const into = new Uint8Array(512);
      expect(await ended((done) => disk.read(0, into, done))).toMatchObject({ code: "EIO" });
      expect(await ended((done) => disk.flush(done))).toMatchObject({ code: "EIO" });
      await disk.close();
    }
  });

  it.each([
    ["nbd://", "names no host"],
    ["nbd://a b/", "no address"],
    ["nbd://server/%zz", "is written %25"],
    ["nbd://[::1]:9/", "nobody listens there"],
    ["nbd+unix:///x?socket=/%00", "disk nbd"],
    ["nbd+unix:///x", "names no socket"],
    ["nbd+unix:///?socket=/nowhere/x.sock", "no such socket"],
  ])("%s is refused", async (address, message) => {
    await expect(openDisk(address)).rejects.toThrow(message);
  });
});

describe("an NBD server that does not answer", () => {
  /** Connects to a server that says this, and no more; it never hangs up. */
  async function silent(name: string, answers: readonly Buffer[]) {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined);
      socket.resume();
      for (const bytes of answers) socket.write(bytes);
    });
    await new Promise<void>((resolve) => server.listen(at(name), resolve));
    server.unref();
    const options = { name: "", what: "it", readonly: false, maxSilence: 50 };
    return NbdDisk.open(connect(at(name)), options);
  }

  it("is refused, and what it owes fails, so that a machine can end", async () => {
    await expect(silent("mute.sock", [])).rejects.toThrow("disk it: the server does not answer");
    const disk = await silent("deaf.sock", [hello(3), exportInfo(4096n, 1 | 4), ack]);
    // Nobody has asked anything yet.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const into = new Uint8Array(512);
    const failure = await ended((done) => disk.read(0, into, done));
    expect(failure?.message).toBe("it cannot be read: the server does not answer");
    await disk.close();
    // And without a question it need not hang up.
    await (await silent("stays.sock", [hello(3), exportInfo(4096n, 1), ack])).close();
  });
});

it("an NBD server gets requests as large as it says that it takes them", async () => {
  const lengths: number[] = [];
  const server = createServer((socket) => {
    socket.write(Buffer.concat([hello(3), exportInfo(1n << 20n, 1 | 4), blockSizes(1, 1500), ack]));
    // The client's flags and its option come first.
    let skip = 4 + 16 + 8;
    socket.on("data", (bytes) => {
      for (let at = Math.min(skip, bytes.length); at + 28 <= bytes.length; ) {
        const length = bytes.readUInt32BE(at + 24);
        const isRead = bytes.readUInt16BE(at + 6) === 0;
        lengths.push(length);
        const head = Buffer.alloc(16);
        head.writeUInt32BE(0x67446698, 0);
        bytes.copy(head, 8, at + 8, at + 16);
        socket.write(isRead ? Buffer.concat([head, Buffer.alloc(length, lengths.length)]) : head);
        at += 28 + (isRead ? 0 : length);
      }
      skip = Math.max(0, skip - bytes.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(at("small.sock"), resolve));
  const disk = await openDisk(`nbd+unix:///?socket=${at("small.sock")}`);
  const into = new Uint8Array(2560);
  expect(await ended((done) => disk.read(0, into, done))).toBeUndefined();
  expect(lengths.splice(0)).toEqual([1024, 1024, 512]);
  expect([into[0], into[1024], into[2048]]).toEqual([1, 2, 3]);
  expect(await write(disk, 0, into)).toBeUndefined();
  expect(lengths).toEqual([1024, 1024, 512]);
  server.close();
});

describe("qemu-nbd", () => {
  it("that is not installed is one line", async () => {
    writeFileSync(at("a.qcow2"), "x".repeat(1024));
    const script = `import { openDisk } from ${JSON.stringify(new URL("../../../dist/hosts/node/index.js", import.meta.url).href)};
      await openDisk(${JSON.stringify(at("a.qcow2"))}).catch(({ code, message }) => console.log(code, message));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      env: { PATH: "/nowhere" },
      encoding: "utf8",
    });
    expect(stdout).toMatch(/^TOOL_MISSING disk .*a\.qcow2: qcow2 images need qemu-nbd/);
    expect(existsSync(at("a.qcow2"))).toBe(true);
  });
});

import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import {
  BlobSink,
  BlobSource,
  BrowserClock,
  BrowserLoop,
  blobDisk,
  browserDecompressors,
  browserEntropy,
} from "./index.js";

describe("snapshots as blobs", () => {
  it("are what was written, and a file that is gone is said to be", async () => {
    const sink = new BlobSink();
    const bytes = Uint8Array.of(1, 2, 3, 4);
    await sink.write(bytes);
    bytes.fill(9);
    await sink.write(Uint8Array.of(5));
    const source = new BlobSource(sink.blob());
    expect(source.size).toBe(5);
    const into = new Uint8Array(3);
    await source.read(2, into);
    expect([...into]).toEqual([3, 4, 5]);
    const gone = new Blob([bytes]);
    gone.slice = () => {
      throw new Error("not found");
    };
    const reading = new BlobSource(gone).read(0, into);
    await expect(reading).rejects.toMatchObject({ name: "HostError", code: "FILE_UNREADABLE" });
  });
});

describe("a disk of a page", () => {
  it("has what was written, and else what is in its file, which stays as it is", async () => {
    const content = Uint8Array.from({ length: 200 * 1024 + 100 }, (_, i) => (i * 7919) >> 5);
    const image = new Blob([content]);
    const disk = blobDisk(image);
    expect(disk.size).toBe(200 * 1024);
    const expected = content.slice(0, disk.size);
    const done = (start: (done: (failure?: { code: string }) => void) => void) =>
      new Promise((resolve) => start(resolve));
    // Within a piece of 64 KiB, and across two ends.
    for (const [offset, length] of [
      [512, 1024],
      [65_024, 68_096],
    ] as const) {
      const bytes = new Uint8Array(length).fill(offset % 251);
      expect(await done((over) => disk.write(offset, bytes, over))).toBeUndefined();
      expected.set(bytes, offset);
    }
    const into = new Uint8Array(disk.size);
    expect(await done((over) => disk.read(0, into, over))).toBeUndefined();
    expect(Buffer.from(into).equals(expected)).toBe(true);
    expect(Buffer.from(await image.arrayBuffer()).equals(content)).toBe(true);
    await disk.idle();
  });

  it("says when its file is gone", async () => {
    const image = new Blob([new Uint8Array(4096)]);
    image.slice = () => {
      throw new Error("not found");
    };
    const failure = await new Promise((resolve) => {
      blobDisk(image).read(0, new Uint8Array(512), resolve);
    });
    expect(failure).toEqual({ code: "EIO", message: "not found" });
  });
});

describe("the browser's clock", () => {
  it("goes on by instructions and readings between two steps, at most one step, and never back", () => {
    let ms = 5;
    let work = 1000;
    const clock = new BrowserClock(() => ms);
    clock.work = () => work;
    expect(clock.monotonicNs()).toBe(5e6);
    const read = clock.monotonicNs();
    expect(read).toBeGreaterThan(5e6);
    work += 700;
    const worked = clock.monotonicNs();
    expect(worked - read).toBeGreaterThanOrEqual(700);
    work += 1e9;
    expect(clock.monotonicNs()).toBe(5e6 + 100_000);
    // The next step is nearer than what was counted.
    ms = 5.05;
    expect(clock.monotonicNs()).toBe(5e6 + 100_000);
    ms = 5.2;
    expect(clock.monotonicNs()).toBe(5.2e6);
    // A machine that starts again counts from zero.
    work = 0;
    expect(clock.monotonicNs()).toBeGreaterThan(5.2e6);
  });
});

describe("the browser's loop", () => {
  const loops: BrowserLoop[] = [];
  const makeLoop = () => {
    const loop = new BrowserLoop();
    loops.push(loop);
    return loop;
  };
  afterEach(() => {
    for (const loop of loops.splice(0)) loop.close();
  });

  it("gives timers a turn while somebody yields without end", async () => {
    const loop = makeLoop();
    let over = false;
    setTimeout(() => {
      over = true;
    }, 30);
    const started = performance.now();
    let turns = 0;
    while (!over && performance.now() - started < 5000) {
      await loop.yieldNow();
      turns++;
    }
    expect(over).toBe(true);
    expect(turns).toBeGreaterThan(10);
  });

  it("tells each turn, and takes a call back", async () => {
    const loop = makeLoop();
    let turns = 0;
    loop.onTurn = () => {
      turns++;
    };
    let called = false;
    loop.after(1, () => {
      called = true;
    })();
    await Promise.all([loop.yieldNow(), loop.yieldNow()]);
    await new Promise<void>((resolve) => {
      loop.after(5, resolve);
    });
    expect({ turns, called }).toEqual({ turns: 3, called: false });
  });
});

describe("the browser's decompressors", () => {
  const plain = new TextEncoder().encode("kvm-xen ".repeat(20_000));
  const pack: Record<"gzip" | "xz" | "zstd" | "lz4", () => Uint8Array> = {
    gzip: () => gzipSync(plain),
    xz: () => tool("xz", ["--check=crc32", "--x86", "--lzma2=preset=0"]),
    zstd: () => tool("zstd", ["-q"]),
    lz4: () => tool("lz4", ["-l", "-q"]),
  };
  const tool = (name: string, args: string[]) =>
    new Uint8Array(spawnSync(name, [...args, "-c"], { input: plain, maxBuffer: 1 << 26 }).stdout);
  const has = (name: string) => name === "gzip" || spawnSync(name, ["--version"]).status === 0;

  for (const format of ["gzip", "xz", "zstd", "lz4"] as const) {
    it.skipIf(!has(format))(`undo ${format}, and say what is wrong`, async () => {
      const packed = pack[format]();
      const unpack = (data: Uint8Array, limit: number) =>
        browserDecompressors.decompress(format, data, limit);
      expect(Buffer.from(await unpack(packed, 1 << 20)).equals(plain)).toBe(true);
      await expect(unpack(packed, plain.length - 1)).rejects.toMatchObject({
        code: "UNPACKED_TOO_LARGE",
      });
      await expect(unpack(packed.subarray(0, packed.length / 2), 1 << 20)).rejects.toMatchObject({
        code: "COMPRESSED_DATA",
      });
    });
  }
});

it("the browser's entropy fills more than one call gives", () => {
  const bytes = new Uint8Array(200_000);
  browserEntropy.fill(bytes);
  expect(bytes.subarray(-100).some((byte) => byte !== 0)).toBe(true);
});

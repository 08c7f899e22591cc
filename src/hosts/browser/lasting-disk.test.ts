import { beforeEach, describe, expect, it } from "vitest";
import { seed } from "../../base/seed.fixture.js";
import type { Disk } from "../../ports/index.js";
import { SeededEntropy } from "../sim/entropy.js";
import { ChangesFile, type SyncFile } from "./changes-file.js";
import { lastingDisk } from "./lasting-disk.js";

const SECTOR = 512;
const SIZE = 200_000 - (200_000 % SECTOR);
const image = new Blob([Uint8Array.from({ length: SIZE }, (_, i) => (i >> 9) & 0xff)]);
const identity = "disk.img 199680";

/** A file in memory; of what was not flushed, a crash keeps what the test says. */
class TestFile implements SyncFile {
  durable = new Uint8Array(0);
  now = new Uint8Array(0);
  pending: { at: number; bytes: Uint8Array }[] = [];
  room = Number.POSITIVE_INFINITY;
  failing = false;
  /** So many calls that change it are carried out, and then the browser is gone. */
  left = Number.POSITIVE_INFINITY;

  read(into: Uint8Array, { at }: { at: number }): number {
    const part = this.now.subarray(at, at + into.length);
    into.set(part);
    return part.length;
  }
  write(bytes: Uint8Array, { at }: { at: number }): number {
    if (at + bytes.length > this.room) return 0;
    if (this.left-- <= 0) throw new Error("gone");
    this.now = put(this.now, at, bytes);
    // A sector is written, or is not.
    for (let i = 0; i < bytes.length; i += SECTOR) {
      this.pending.push({ at: at + i, bytes: bytes.slice(i, i + SECTOR) });
    }
    return bytes.length;
  }
  flush(): void {
    if (this.failing) throw new Error("the browser's disk failed");
    if (this.left-- <= 0) throw new Error("gone");
    this.durable = this.now.slice();
    this.pending = [];
  }
  getSize(): number {
    return this.now.length;
  }
  close(): void {}

  crash(keeps: (index: number) => boolean): void {
    let left = this.durable;
    this.pending.forEach(({ at, bytes }, i) => {
      if (keeps(i)) left = put(left, at, bytes);
    });
    this.durable = left;
    this.now = left.slice();
    this.pending = [];
  }
}

function put(
  into: Uint8Array<ArrayBuffer>,
  at: number,
  bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(Math.max(into.length, at + bytes.length));
  result.set(into);
  result.set(bytes, at);
  return result;
}

let file: TestFile;
let disk: Disk;
const reopened = (): Disk => lastingDisk({ image, identity, changes: file });
beforeEach(() => {
  file = new TestFile();
  disk = reopened();
});

const ended = (start: (done: (failure?: { code: string }) => void) => void) =>
  new Promise<string | undefined>((resolve) => start((failure) => resolve(failure?.code)));
const read = async (offset: number, length: number): Promise<Uint8Array> => {
  const into = new Uint8Array(length);
  expect(await ended((done) => disk.read(offset, into, done))).toBeUndefined();
  return into;
};
const write = (offset: number, bytes: Uint8Array) =>
  ended((done) => disk.write(offset, bytes, done));
const flush = () => ended((done) => disk.flush(done));
const sectors = (count: number, mark: number) => new Uint8Array(count * SECTOR).fill(mark);

describe("a disk whose changes last", () => {
  it("is its image, and what was written, across pieces and after a reload", async () => {
    expect(disk.size).toBe(SIZE);
    expect(await write(127 * SECTOR, sectors(3, 0xee))).toBeUndefined();
    const whole = async () => {
      const all = await read(0, SIZE);
      return Array.from({ length: SIZE / SECTOR }, (_, i) => all[i * SECTOR + 7]);
    };
    const wanted = Array.from({ length: SIZE / SECTOR }, (_, i) => i & 0xff);
    wanted.fill(0xee, 127, 130);
    expect(await whole()).toEqual(wanted);
    expect(await flush()).toBeUndefined();
    file.crash(() => false);
    disk = reopened();
    expect(await whole()).toEqual(wanted);
    expect(new Uint8Array(await image.slice(127 * SECTOR, 128 * SECTOR).arrayBuffer())[0]).toBe(
      127,
    );
  });

  it("never has a sector that is neither what was flushed nor what was written later", async () => {
    const entropy = new SeededEntropy(seed);
    const byte = new Uint8Array(2);
    const below = (limit: number): number => {
      entropy.fill(byte);
      return new DataView(byte.buffer).getUint16(0) % limit;
    };
    for (let round = 0; round < 30; round++) {
      file = new TestFile();
      disk = reopened();
      const flushed = new Map<number, number>();
      let later = new Map<number, Set<number>>();
      for (let step = 0; step < 40; step++) {
        if (below(6) === 0) {
          expect(await flush()).toBeUndefined();
          for (const [sector, marks] of later) flushed.set(sector, [...marks].at(-1) ?? 0);
          later = new Map();
        }
        const at = below(SIZE / SECTOR - 8);
        const count = 1 + below(8);
        const mark = 1 + below(255);
        await write(at * SECTOR, sectors(count, mark));
        for (let i = at; i < at + count; i++) {
          const marks = later.get(i) ?? new Set();
          marks.delete(mark);
          later.set(i, marks.add(mark));
        }
      }
      // In the middle of a flush, or not.
      file.left = below(8);
      await flush();
      file.crash(() => below(2) === 0);
      file.left = Number.POSITIVE_INFINITY;
      disk = reopened();
      const all = await read(0, SIZE);
      for (let i = 0; i < SIZE / SECTOR; i++) {
        const sector = all.subarray(i * SECTOR, (i + 1) * SECTOR);
        const [mark = 0] = sector;
        expect(sector.every((byte) => byte === mark)).toBe(true);
        const may = [flushed.get(i) ?? i & 0xff, ...(later.get(i) ?? [])];
        expect(may).toContain(mark);
      }
    }
  });

  it("makes durable after a second what nobody has flushed", async () => {
    await write(0, sectors(1, 9));
    await new Promise((resolve) => setTimeout(resolve, 1200));
    file.crash(() => false);
    disk = reopened();
    expect((await read(0, SECTOR))[0]).toBe(9);
  });

  it("uses the room of what a crash has left without a head", async () => {
    await write(0, sectors(1, 1));
    file.crash(() => false);
    const size = 512 + 512 + 65_536;
    file.now = put(file.now, size - 1, new Uint8Array(1));
    disk = reopened();
    await write(SECTOR, sectors(1, 2));
    expect(file.getSize()).toBe(size);
    expect((await read(SECTOR, SECTOR))[0]).toBe(2);
    expect((await read(0, SECTOR))[0]).toBe(0);
  });

  it("has another generation when something else was written, and the same when not", async () => {
    const first = await disk.generation?.();
    expect(await disk.generation?.()).toBe(first);
    await write(0, sectors(1, 1));
    const second = await disk.generation?.();
    expect(second).not.toBe(first);
    disk = reopened();
    expect(await disk.generation?.()).toBe(second);
    await write(0, sectors(1, 1));
    await flush();
    disk = reopened();
    expect(await disk.generation?.()).not.toBe(second);
  });

  it("fails from then on when a flush failed", async () => {
    await write(0, sectors(1, 1));
    file.failing = true;
    expect(await flush()).toBe("EIO");
    file.failing = false;
    expect(await flush()).toBe("EIO");
    expect(await write(0, sectors(1, 1))).toBe("EIO");
    expect(await disk.generation?.()).toBeUndefined();
    expect((await read(0, SECTOR))[0]).toBe(1);
  });

  it("has an end: no room in the browser, or too much for it", async () => {
    file.room = 1000;
    expect(await write(0, sectors(1, 1))).toBe("ENOSPC");
    const small = ChangesFile.open(new TestFile(), identity, SIZE, 65_536);
    small.write(0, sectors(1, 1));
    expect(() => small.write(65_536, sectors(1, 1))).toThrow("too much was written");
    small.write(SECTOR, sectors(1, 1));
  });

  it("is not opened with the changes of another image, or damaged ones", async () => {
    await write(0, sectors(1, 1));
    await write(70_000 - (70_000 % SECTOR), sectors(1, 1));
    await flush();
    const other = () => lastingDisk({ image, identity: "other", changes: file });
    expect(other).toThrow("those of another disk");
    const slot = (index: number) => 512 + index * (512 + 65_536);
    const view = new DataView(file.now.buffer);
    const piece = view.getUint32(slot(1), true);
    view.setUint32(slot(1), view.getUint32(slot(0), true), true);
    expect(reopened).toThrow("slot 1");
    view.setUint32(slot(1), 5, true);
    expect(reopened).toThrow("slot 1");
    view.setUint32(slot(1), piece, true);
    reopened();
    expect(ChangesFile.identityIn(file.now)).toBe(identity);
    expect(ChangesFile.identityIn(new Uint8Array(512))).toBeUndefined();
  });
});

import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { seed } from "../../base/seed.fixture.js";
import type { Disk, DiskFailure } from "../../ports/index.js";
import { FileDisk } from "./file-disk.js";
import { openDisk } from "./open-disk.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-disk-"));
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
/** An image whose sector N is full of N. */
function image(sectors = 64): string {
  const path = join(folder, `${count++}.img`);
  writeFileSync(
    path,
    Uint8Array.from({ length: sectors * 512 }, (_, i) => i >> 9),
  );
  return path;
}

/** A file of so many bytes. */
function small(bytes: number): string {
  const path = join(folder, `${count++}.img`);
  writeFileSync(path, new Uint8Array(bytes));
  return path;
}

const disks: Disk[] = [];
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk.close();
});

it("an image that is opened and closed is as it was, its time of change too", async () => {
  const path = image();
  const before = statSync(path, { bigint: true });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const disk = await openDisk(path);
  expect(disk.canDiscard).toBe(true);
  await disk.close();
  const { mtimeNs, size } = statSync(path, { bigint: true });
  expect([mtimeNs, size]).toEqual([before.mtimeNs, before.size]);
});

async function opened(...args: Parameters<typeof openDisk>): Promise<Disk> {
  const disk = await openDisk(...args);
  disks.push(disk);
  return disk;
}

/** An operation, ended. */
const ended = (start: (done: (failure?: DiskFailure) => void) => void) =>
  new Promise<DiskFailure | undefined>((resolve) => start(resolve));
const write = (disk: Disk, sector: number, bytes: Uint8Array) =>
  ended((done) => disk.write(sector * 512, bytes, done));
async function read(disk: Disk, sector: number, sectors: number): Promise<Uint8Array> {
  const into = new Uint8Array(sectors * 512).fill(0xee);
  expect(await ended((done) => disk.read(sector * 512, into, done))).toBeUndefined();
  return into;
}
const firsts = (bytes: Uint8Array): number[] =>
  Array.from({ length: bytes.length / 512 }, (_, i) => bytes[i * 512] as number);

describe("a file as a disk", () => {
  it("is read, written, flushed", async () => {
    const path = image();
    const disk = await opened(path);
    expect([disk.size, disk.readonly, disk.canDiscard]).toEqual([64 * 512, false, true]);
    expect(firsts(await read(disk, 60, 4))).toEqual([60, 61, 62, 63]);
    expect(await write(disk, 63, new Uint8Array(512).fill(9))).toBeUndefined();
    expect(await ended((done) => disk.flush(done))).toBeUndefined();
    expect(firsts(readFileSync(path)).at(-1)).toBe(9);
  });

  it("gives at once what the host has in memory, and nothing else", async () => {
    const disk = await opened(image());
    const into = new Uint8Array(1024);
    // A file system that cannot tell has nothing at hand, ever.
    const canTell = disk.readNow?.(60 * 512, [into]) ?? false;
    if (canTell) expect(firsts(into)).toEqual([60, 61]);
    expect(await write(disk, 61, new Uint8Array(512).fill(9))).toBeUndefined();
    expect(disk.readNow?.(61 * 512, [into])).toBe(canTell);
    if (canTell) expect(firsts(into)).toEqual([9, 62]);
    const pieces = [1024, 512, 1536].map((bytes) => new Uint8Array(bytes));
    expect(disk.readNow?.(2 * 512, pieces)).toBe(canTell);
    if (canTell) expect(pieces.flatMap(firsts)).toEqual([2, 3, 4, 5, 6, 7]);
    // The kernel takes 1,024 at a time.
    const many = Array.from({ length: 1025 }, () => new Uint8Array(1));
    expect(disk.readNow?.(0, many.slice(1))).toBe(canTell);
    expect(disk.readNow?.(0, many)).toBe(false);
    // Beyond its end there may be zeros, which read() makes.
    expect(disk.readNow?.(63 * 512, [into])).toBe(false);
  });

  it("takes at once what nobody has to wait for, and leaves to threads what fails", async () => {
    const path = image();
    const disk = await opened(path);
    const bytes = new Uint8Array(1024).fill(9);
    // On a file system of another machine never.
    const isLocal = disk.writeNow?.(4 * 512, [bytes]) ?? false;
    if (isLocal) expect(firsts(readFileSync(path)).slice(3, 7)).toEqual([3, 9, 9, 6]);
    const pieces = [1, 2].map((value) => new Uint8Array(512 * value).fill(value));
    expect(disk.writeNow?.(20 * 512, pieces)).toBe(isLocal);
    if (isLocal) expect(firsts(readFileSync(path)).slice(19, 24)).toEqual([19, 1, 2, 2, 23]);
    const flushed = ended((done) => disk.flush(done));
    expect(disk.writeNow?.(5 * 512, [bytes])).toBe(false);
    expect(await flushed).toBeUndefined();
    await disk.idle();
    expect(disk.writeNow?.(8 * 512, [bytes])).toBe(isLocal);
    const readonly = await opened(image(), { readonly: true });
    expect(readonly.writeNow?.(0, [bytes])).toBe(false);
    expect(await write(readonly, 0, bytes)).toMatchObject({ code: "EBADF" });
  });

  it("leaves writes to threads for a second after one that had to wait", async () => {
    const disk = await opened(image());
    const bytes = new Uint8Array(512);
    const isLocal = disk.writeNow?.(0, [bytes]) ?? false;
    // When each of them begins and, if it is tried, ends.
    const times = [0, 4, 4, 10, 11, 1009, 1010, 1011];
    const clock = vi.spyOn(performance, "now").mockImplementation(() => times.shift() ?? 0);
    try {
      const done = [1, 2, 3, 4, 5].map((sector) => disk.writeNow?.(sector * 512, [bytes]));
      if (isLocal) expect([done, times]).toEqual([[true, true, false, false, true], []]);
    } finally {
      clock.mockRestore();
    }
  });

  it("gives room back where a guest discards", async () => {
    const path = image(4096);
    const before = statSync(path).blocks;
    const disk = await opened(path);
    expect(await ended((done) => disk.discard(0, 1 << 20, done))).toBeUndefined();
    expect(firsts(await read(disk, 2047, 2))).toEqual([0, 0]);
    expect(before - statSync(path).blocks).toBeGreaterThanOrEqual(2000);
  });

  it("has the size in whole sectors, and reads zeros where the file became shorter", async () => {
    const path = image(8);
    truncateSync(path, 8 * 512 - 1);
    const disk = await opened(path);
    expect(disk.size).toBe(7 * 512);
    truncateSync(path, 5 * 512 + 100);
    const bytes = await read(disk, 4, 3);
    expect([...bytes.subarray(512 + 99, 512 + 102)]).toEqual([5, 0, 0]);
    expect(bytes.at(-1)).toBe(0);
  });

  it("is idle when nothing is under way", async () => {
    const disk = await opened(image());
    let done = 0;
    for (let i = 0; i < 8; i++) disk.write(i * 512, new Uint8Array(512), () => done++);
    await disk.idle();
    expect(done).toBe(8);
    await disk.idle();
  });

  it("tells what the host could not do", async () => {
    const path = image();
    const disk = await opened(path, { readonly: true });
    const failure = await write(disk, 0, new Uint8Array(512));
    expect(failure).toMatchObject({ code: "EBADF" });
    expect(failure?.message).toContain(`${path} cannot be written: `);
  });
});

describe("another size", () => {
  it("a disk may become larger, and only that", async () => {
    const path = image(8);
    const disk = await opened(path);
    await disk.resize(16 * 512);
    expect([disk.size, statSync(path).size]).toEqual([16 * 512, 16 * 512]);
    expect(await write(disk, 15, new Uint8Array(512).fill(9))).toBeUndefined();
    for (const bytes of [8 * 512, 16 * 512 + 1, -512, Number.NaN, 2 ** 60]) {
      await expect(disk.resize(bytes)).rejects.toMatchObject({ code: "DISK_SIZE" });
    }
    expect(disk.size).toBe(16 * 512);
    truncateSync(path, 20 * 512 + 7);
    await disk.resize(undefined);
    expect(disk.size).toBe(20 * 512);
  });

  it("not one that is read-only, or a snapshot", async () => {
    const path = image(8);
    for (const options of [{ readonly: true }, { snapshot: true }]) {
      const disk = await opened(path, options);
      await expect(disk.resize(16 * 512)).rejects.toMatchObject({ code: "DISK_SIZE" });
      await disk.close();
      disks.splice(disks.indexOf(disk), 1);
    }
    expect(statSync(path).size).toBe(8 * 512);
  });
});

describe("what is no disk", () => {
  it.each<[string, () => string, string]>([
    ["nothing", () => join(folder, "none.img"), "no such file; 'truncate"],
    ["a device that is none", () => "/dev/null", "it is no file and no disk"],
    ["an empty file", () => small(0), "is empty"],
    ["half a sector", () => small(511), "is empty"],
    ["no name", () => "", "disk '': no such file"],
  ])("%s is refused", async (_, path, message) => {
    const refusal = openDisk(path());
    await expect(refusal).rejects.toMatchObject({ code: "DISK_UNUSABLE" });
    await expect(refusal).rejects.toThrow(message);
  });

  it("a second writer, or a reader beside a writer, is refused; readers share", async () => {
    const path = image();
    const writer = await openDisk(path);
    await expect(openDisk(path)).rejects.toMatchObject({ code: "DISK_IN_USE" });
    await expect(openDisk(path, { readonly: true })).rejects.toThrow("another program uses it");
    await expect(openDisk(path, { snapshot: true })).rejects.toThrow("another program uses it");
    await writer.close();
    await opened(path, { readonly: true });
    await opened(path, { snapshot: true });
    await expect(openDisk(path)).rejects.toMatchObject({ code: "DISK_IN_USE" });
  });
});

describe("a snapshot", () => {
  it("gives at once what is all changed or all unchanged", async () => {
    const path = image();
    const canTell = (await opened(path, { readonly: true })).readNow?.(0, [new Uint8Array(512)]);
    const disk = await opened(path, { snapshot: true });
    await write(disk, 4, new Uint8Array(1024).fill(9));
    const into = new Uint8Array(1024);
    expect(disk.readNow?.(2 * 512, [into])).toBe(canTell);
    if (canTell) expect(firsts(into)).toEqual([2, 3]);
    expect(disk.readNow?.(4 * 512, [into])).toBe(canTell);
    if (canTell) expect(firsts(into)).toEqual([9, 9]);
    expect([3, 5].map((sector) => disk.readNow?.(sector * 512, [into]))).toEqual([false, false]);
    await disk.idle();
    const isTaken = disk.writeNow?.(8 * 512, [new Uint8Array(512).fill(7)]) ?? false;
    expect(firsts(await read(disk, 7, 3))).toEqual([7, isTaken ? 7 : 8, 9]);
    expect(firsts(readFileSync(path))[8]).toBe(8);
  });

  it("shows what was written, and leaves the image as it is", async () => {
    const path = image(512);
    chmodSync(path, 0o444);
    const before = readFileSync(path);
    const temporary = readdirSync(tmpdir()).length;
    const disk = await opened(path, { snapshot: true });
    expect([disk.readonly, disk.canDiscard, disk.size]).toEqual([false, false, 512 * 512]);
    expect(readdirSync(tmpdir()).length).toBeLessThanOrEqual(temporary);
    const expected = Uint8Array.from(before);
    let state = seed || 1;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let i = 0; i < 60; i++) {
      const sector = random(500);
      const bytes = new Uint8Array((1 + random(12)) * 512).fill(random(256));
      if (random(2) === 0) {
        expect(await write(disk, sector, bytes)).toBeUndefined();
        expected.set(bytes, sector * 512);
      }
      const sectors = 1 + random(12);
      expect(await read(disk, sector, sectors)).toEqual(
        expected.subarray(sector * 512, (sector + sectors) * 512),
      );
    }
    expect(await ended((done) => disk.flush(done))).toBeUndefined();
    expect(readFileSync(path)).toEqual(before);
  });

  it("keeps apart what is far apart", async () => {
    const path = join(folder, "large.img");
    writeFileSync(path, "");
    truncateSync(path, 2 ** 40);
    const disk = await opened(path, { snapshot: true });
    for (const sector of [0, 32767, 32768, 2 ** 31 - 1]) {
      await write(disk, sector, new Uint8Array(512).fill(7));
      expect(firsts(await read(disk, sector, 1))).toEqual([7]);
    }
    expect(firsts(await read(disk, 32766, 4))).toEqual([0, 7, 7, 0]);
    expect(firsts(await read(disk, 2 ** 31 - 2, 2))).toEqual([0, 7]);
  });
});

it("a full disk of the host is an error of that write", async () => {
  const file = await open("/dev/full", "r+");
  const parts = { size: 1 << 20, readonly: false, canDiscard: false };
  const disk = new FileDisk({ file, path: "x.img", ...parts });
  disks.push(disk);
  expect(await write(disk, 0, new Uint8Array(512))).toEqual({
    code: "ENOSPC",
    message: "x.img cannot be written: the host's disk is full",
  });
  expect(firsts(await read(disk, 0, 1))).toEqual([0]);
});

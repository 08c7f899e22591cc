import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Decompressors } from "../../ports/decompress.js";
import { cachedDecompressors } from "./unpacked-cache.js";

const LIMIT = 16 << 20;
let root: string;
let unpacked: number;

/** "Unpacks" to the input's first byte, many times. */
const plain: Decompressors = {
  decompress: (_format, data, limit) => {
    unpacked++;
    return Promise.resolve(new Uint8Array(limit / 1024).fill(data[0] ?? 0));
  },
};
const kept = () => readdirSync(root).filter((name) => name.startsWith("unpacked-"));
const unpack = (byte: number, limit = LIMIT) =>
  cachedDecompressors(root, plain).decompress("lz4", Uint8Array.of(byte, 1, 2), limit);
/** Unpacks, and waits until it is kept. */
async function unpackAndKeep(byte: number): Promise<void> {
  const before = kept();
  await unpack(byte);
  await vi.waitFor(() => expect(kept().some((name) => !before.includes(name))).toBe(true));
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kvm-xen-unpacked-"));
  unpacked = 0;
});
afterEach(() => rmSync(root, { recursive: true }));

it("unpacks the same data once", async () => {
  await unpackAndKeep(7);
  expect(await unpack(7)).toEqual(Buffer.alloc(LIMIT / 1024, 7));
  expect(unpacked).toBe(1);
  expect((await unpack(8))[0]).toBe(8);
  expect(unpacked).toBe(2);
});

it("unpacks again what is damaged", async () => {
  await unpackAndKeep(7);
  const [folder = ""] = kept();
  const [image = ""] = readdirSync(join(root, folder));
  truncateSync(join(root, folder, image), 100);
  expect((await unpack(7)).length).toBe(LIMIT / 1024);
});

it("keeps the four that were used last", async () => {
  for (const byte of [1, 2, 3, 4]) {
    await unpackAndKeep(byte);
    for (const name of kept()) utimesSync(join(root, name), byte, byte);
  }
  await unpack(2);
  await unpack(5);
  await vi.waitFor(() => expect(kept()).toHaveLength(4));
  const before = unpacked;
  await unpack(2);
  await vi.waitFor(() => expect(kept()).toHaveLength(4));
  expect(unpacked).toBe(before);
});

it("needs no folder that can be written", async () => {
  const decompressors = cachedDecompressors("/proc/kvm-xen", plain);
  const bytes = await decompressors.decompress("lz4", Uint8Array.of(3), LIMIT);
  expect(bytes[0]).toBe(3);
});

it("does not keep what is small", async () => {
  await unpack(1, 1024);
  expect(kept()).toEqual([]);
});

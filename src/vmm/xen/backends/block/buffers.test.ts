import { expect, it } from "vitest";
import { Buffers } from "./buffers.js";

it("gives a buffer again that was given back, for whatever fits the same size", () => {
  const buffers = new Buffers(1 << 20);
  const first = buffers.take(5000);
  expect([first.length, first.buffer.byteLength]).toEqual([5000, 8192]);
  expect(buffers.take(5000).buffer).not.toBe(first.buffer);
  buffers.give(first);
  expect(buffers.take(4096).buffer).not.toBe(first.buffer);
  const again = buffers.take(8192);
  expect(again.buffer).toBe(first.buffer);
  expect(again.length).toBe(8192);
  expect(buffers.take(8192).buffer).not.toBe(first.buffer);
});

it("keeps no more bytes than it may", () => {
  const buffers = new Buffers(12 << 10);
  const all = [8192, 4096, 4096].map((size) => buffers.take(size));
  for (const one of all) buffers.give(one);
  expect(buffers.take(8192).buffer).toBe(all[0]?.buffer);
  expect(buffers.take(4096).buffer).toBe(all[1]?.buffer);
  expect(buffers.take(4096).buffer).not.toBe(all[2]?.buffer);
});

it("makes room when one is taken, and takes none of another size", () => {
  const buffers = new Buffers(4096);
  const one = buffers.take(512);
  buffers.give(one);
  expect(buffers.take(512).buffer).toBe(one.buffer);
  buffers.give(one);
  expect(buffers.take(512).buffer).toBe(one.buffer);
  const odd = new Uint8Array(3000);
  buffers.give(odd);
  expect(buffers.take(3000).buffer).not.toBe(odd.buffer);
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Xencons } from "../../../abi/xen/console.js";
import { seed } from "../../../base/seed.fixture.js";
import { putBytes, takeBytes } from "../byte-ring.js";
import { ArrayPage } from "../shared-page.fixture.js";
import { toBytes, toText } from "../xenstore/wire.js";
import { ConsoleRing } from "./ring.js";

const out = { data: Xencons.out, size: 2048, cons: Xencons.out_cons, prod: Xencons.out_prod };
const input = { data: Xencons.in, size: 1024, cons: Xencons.in_cons, prod: Xencons.in_prod };

function setUp(room?: number) {
  const page = new ArrayPage();
  const written: string[] = [];
  const warnings: string[] = [];
  let notified = 0;
  const stream = {
    write: (bytes: Uint8Array) => written.push(toText(bytes)),
    onData: () => undefined,
    ...(room === undefined ? {} : { room }),
  };
  const log = { warn: (text: string) => warnings.push(text), debug: () => undefined };
  const ring = new ConsoleRing(page, stream, () => notified++, log);
  return { page, ring, stream, written, warnings, notified: () => notified };
}

describe("ConsoleRing", () => {
  it("carries output, across the end of the ring", () => {
    const { page, ring, written, notified } = setUp();
    page.writeU32(Xencons.out_cons, 0xfffffffe);
    page.writeU32(Xencons.out_prod, 0xfffffffe);
    putBytes(page, out, toBytes("hello"));
    ring.process();
    expect(written.join("")).toBe("hello");
    expect(page.readU32(Xencons.out_cons)).toBe(3);
    expect(notified()).toBe(1);
    ring.process();
    expect(notified()).toBe(1);
  });

  it("keeps input that does not fit until the guest has read", () => {
    const { page, ring } = setUp();
    const text = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join(
      "",
    );
    ring.input(toBytes(text));
    let read = "";
    for (let i = 0; i < 4; i++) {
      read += toText(takeBytes(page, input, 1000) ?? new Uint8Array(0));
      ring.process();
    }
    expect(read).toBe(text);
  });

  it("starts anew when the guest breaks the indices, and complains once", () => {
    const { page, ring, written, warnings } = setUp();
    page.writeU32(Xencons.out_prod, 5000);
    ring.process();
    page.writeU32(Xencons.out_prod, 2 ** 31);
    ring.process();
    expect(written).toEqual([]);
    expect(warnings).toHaveLength(1);
    putBytes(page, out, toBytes("ok"));
    ring.process();
    expect(written).toEqual(["ok"]);
  });

  it("survives any indices", () => {
    const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(u32, u32, u32, u32, (a, b, c, d) => {
        const { page, ring } = setUp();
        page.writeU32(Xencons.in_cons, a);
        page.writeU32(Xencons.in_prod, b);
        page.writeU32(Xencons.out_cons, c);
        page.writeU32(Xencons.out_prod, d);
        ring.input(toBytes("x"));
        ring.process();
        expect(page.readU32(Xencons.out_cons)).toBe(d);
      }),
      { seed, verbose: true },
    );
  });

  it("leaves output that its reader does not take in the ring, so that the guest waits", () => {
    const { page, ring, stream, written, notified } = setUp(3);
    putBytes(page, out, toBytes("hello"));
    ring.process();
    expect(written.join("")).toBe("hel");
    stream.room = 0;
    ring.process();
    expect([written.join(""), notified()]).toEqual(["hel", 1]);
    expect(page.readU32(Xencons.out_cons)).toBe(3);
    stream.room = 100;
    ring.process();
    expect([written.join(""), notified()]).toEqual(["hello", 2]);
  });

  it("keeps up to 1 MiB of input, and says what it loses", () => {
    const { page, ring, warnings, notified } = setUp();
    ring.input(new Uint8Array(1 << 20).fill(1));
    expect([warnings.length, notified()]).toEqual([0, 1]);
    // The ring has 1 KiB of it.
    ring.input(new Uint8Array(1025).fill(2));
    expect(warnings).toEqual([expect.stringContaining("lost")]);
    ring.input(new Uint8Array(1024).fill(3));
    expect([warnings.length, notified()]).toEqual([1, 1]);
    const sum = [0, 0, 0, 0];
    for (
      let bytes = takeBytes(page, input, 1024);
      bytes?.length;
      bytes = takeBytes(page, input, 1024)
    ) {
      for (const byte of bytes) sum[byte] = (sum[byte] ?? 0) + 1;
      ring.process();
    }
    expect(sum).toEqual([0, 1 << 20, 0, 1024]);
  });

  it("tells the guest of input only when some of it came into the ring", () => {
    const { page, ring, notified } = setUp();
    ring.input(new Uint8Array(1024));
    ring.input(new Uint8Array(1));
    expect(notified()).toBe(1);
    ring.process();
    expect(notified()).toBe(1);
    takeBytes(page, input, 1);
    ring.process();
    expect(notified()).toBe(2);
    ring.process();
    expect(notified()).toBe(2);
  });

  it("starts anew when the guest breaks the indices of its input: what was in the ring is lost, no more", () => {
    const { page, ring, warnings, notified } = setUp();
    page.writeU32(Xencons.in_prod, 5000);
    ring.input(toBytes("ab"));
    expect([warnings.length, notified()]).toEqual([1, 0]);
    expect(page.readU32(Xencons.in_cons)).toBe(5000);
    ring.process();
    expect(notified()).toBe(1);
    expect(toText(takeBytes(page, input, 10) ?? new Uint8Array(0))).toBe("ab");
  });
});

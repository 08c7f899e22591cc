import { describe, expect, it } from "vitest";
import { Sring } from "../../../abi/xen/ring.js";
import { ArrayPage } from "../shared-page.fixture.js";
import { RequestRing, ringSlots } from "./request-ring.js";

const SLOT = 112;

function setUp(start = 0) {
  const page = new ArrayPage();
  for (const at of [Sring.req_prod, Sring.rsp_prod]) page.writeU32(at, start);
  for (const at of [Sring.req_event, Sring.rsp_event]) page.writeU32(at, start + 1);
  const ring = RequestRing.attach({ page }, SLOT) as RequestRing;
  let produced = start;
  /** The guest puts requests in; byte 0 of each is its number. */
  const ask = (count: number): void => {
    for (let i = 0; i < count; i++) {
      page.write(64 + (produced % 32) * SLOT, Uint8Array.of(produced & 0xff));
      produced = (produced + 1) >>> 0;
    }
    page.writeU32(Sring.req_prod, produced);
  };
  return { page, ring, ask };
}

describe("RequestRing", () => {
  it("has as many slots as the header computes", () => {
    expect([112, 108, 12, 8].map(ringSlots)).toEqual([32, 32, 256, 256]);
  });

  it("takes copies in order, and answers in any, across the end of 32 bits", () => {
    const { page, ring, ask } = setUp(2 ** 32 - 20);
    ask(32);
    const taken = Array.from({ length: 32 }, () => ring.take() as Uint8Array);
    expect(taken.map((slot) => slot[0])).toEqual(
      Array.from({ length: 32 }, (_, i) => (236 + i) & 0xff),
    );
    page.bytes.fill(0xff, 64);
    expect(taken[0]?.[1]).toBe(0);
    expect(ring.take()).toBeUndefined();
    for (let i = 0; i < 32; i++) ring.respond(Uint8Array.of(i));
    expect(page.readU32(Sring.rsp_prod)).toBe(2 ** 32 - 20);
    expect(ring.publish()).toBe(true);
    expect(page.readU32(Sring.rsp_prod)).toBe(12);
    expect(ring.position).toEqual({ consumed: 12, produced: 12 });
    ask(1);
    expect(ring.waiting).toBe(1);
  });

  it.each([
    // Published before and after, rsp_event, whether the guest is told.
    [0, 1, 1, true],
    [0, 1, 2, false],
    [0, 3, 3, true],
    [3, 4, 3, false],
    [3, 5, 4, true],
  ])("responses %i to %i with rsp_event %i: told %s", (from, to, event, told) => {
    const { page, ring, ask } = setUp();
    ask(8);
    for (let i = 0; i < 8; i++) ring.take();
    for (let i = 0; i < from; i++) ring.respond(Uint8Array.of(0));
    ring.publish();
    page.writeU32(Sring.rsp_event, event);
    for (let i = from; i < to; i++) ring.respond(Uint8Array.of(0));
    expect(ring.publish()).toBe(told);
    // Without a response there is nothing to tell: a spurious event costs Linux up to a second.
    expect(ring.publish()).toBe(false);
  });

  it("counts for itself: what the guest writes over its indices does not matter", () => {
    const { page, ring, ask } = setUp();
    ask(4);
    ring.take();
    ring.respond(Uint8Array.of(1));
    page.writeU32(Sring.rsp_prod, 77);
    page.writeU32(Sring.req_event, 99);
    expect(ring.publish()).toBe(true);
    expect(page.readU32(Sring.rsp_prod)).toBe(1);
    ring.askForEvent();
    expect(page.readU32(Sring.req_event)).toBe(2);
    expect(ring.waiting).toBe(3);
  });

  it.each([
    ["too far ahead", 33],
    ["at the other end of 32 bits", 0x80000000],
    ["back behind what was taken", 1],
    ["just before the start", 0xffffffff],
  ])("is of no use when the guest's index is %s", (_, index) => {
    const { page, ring, ask } = setUp();
    ask(2);
    ring.take();
    ring.take();
    page.writeU32(Sring.req_prod, index);
    expect(ring.waiting).toBeUndefined();
    expect(ring.take()).toBeUndefined();
  });

  it("refuses to attach to senseless indices, and to no page", () => {
    const page = new ArrayPage();
    page.writeU32(Sring.req_prod, 33);
    expect(RequestRing.attach({ page }, SLOT)).toBeUndefined();
    page.writeU32(Sring.rsp_prod, 34);
    expect(RequestRing.attach({ page }, SLOT)).toBeUndefined();
    page.writeU32(Sring.rsp_prod, 1);
    expect(RequestRing.attach({ page }, SLOT)?.waiting).toBe(32);
    expect(RequestRing.attach({ page: undefined }, SLOT)).toBeUndefined();
  });

  it("ends quietly when the page goes", () => {
    const place: { page: ArrayPage | undefined } = { page: new ArrayPage() };
    place.page?.writeU32(Sring.req_prod, 2);
    const ring = RequestRing.attach(place, SLOT) as RequestRing;
    ring.take();
    place.page = undefined;
    expect(ring.waiting).toBeUndefined();
    ring.respond(Uint8Array.of(1));
    expect(ring.publish()).toBe(false);
    ring.askForEvent();
  });

  it("waits for nothing in a page that was never there", () => {
    const ring = RequestRing.resume({ page: undefined }, SLOT, { consumed: 0, produced: 0 });
    expect([ring.waiting, ring.take()]).toEqual([undefined, undefined]);
  });

  it.each([
    0,
    2 ** 32 - 3,
  ])("asks for the event behind those that it leaves, from %i on", (start) => {
    const { page, ring, ask } = setUp(start);
    ask(5);
    ring.take();
    for (const waiting of [0, 1, 4]) {
      ring.askForEvent(waiting);
      expect(page.readU32(Sring.req_event)).toBe((start + 1 + waiting + 1) % 2 ** 32);
    }
  });

  it("writes its count once: what the guest makes of it then is its own", () => {
    const { page, ring, ask } = setUp();
    ask(1);
    ring.take();
    ring.respond(Uint8Array.of(1));
    ring.publish();
    page.writeU32(Sring.rsp_prod, 77);
    expect([ring.publish(), page.readU32(Sring.rsp_prod)]).toEqual([false, 77]);
  });

  it("goes on where another stopped", () => {
    const { page, ring, ask } = setUp(5);
    ask(3);
    ring.take();
    ring.take();
    ring.respond(Uint8Array.of(0));
    ring.publish();
    const other = RequestRing.resume({ page }, SLOT, ring.position);
    expect(other.waiting).toBe(1);
    expect(other.take()?.[0]).toBe(7);
    other.respond(Uint8Array.of(9));
    page.writeU32(Sring.rsp_event, 7);
    expect(other.publish()).toBe(true);
    expect(page.readU32(Sring.rsp_prod)).toBe(7);
  });
});

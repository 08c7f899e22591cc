import { describe, expect, it } from "vitest";
import { XenstoreInterface as I, Xs } from "../../../abi/xen/xs-wire.js";
import { putBytes, takeBytes } from "../byte-ring.js";
import { ArrayPage } from "../shared-page.fixture.js";
import { requests, responses } from "./ring.fixture.js";
import { XenstoreRing } from "./ring.js";
import { Store } from "./store.js";
import { decodeHeader, encodeMessage, toBytes, toText } from "./wire.js";

/** The page between a guest and xenstored from one client to the next (Xen's docs/misc/xenstore-ring.txt). */
const GUEST = 1;
const HOME = "/local/domain/1";

function setUp() {
  const store = new Store();
  store.write(0, 0, `${HOME}/data`, toBytes("old"));
  store.setPermissions(0, 0, `${HOME}/data`, [{ domid: GUEST, access: "n" }]);
  const page = new ArrayPage();
  page.bytes.fill(0xee);
  const lines: string[] = [];
  let notified = 0;
  const log = { warn: (text: string) => lines.push(text), debug: () => undefined };
  const ring = new XenstoreRing(page, store, GUEST, () => notified++, log);
  const put = (bytes: Uint8Array): void => {
    putBytes(page, requests, bytes);
    ring.process();
  };
  const take = (): Uint8Array => takeBytes(page, responses, 1024) ?? new Uint8Array(0);
  const shown = (bytes: Uint8Array): [number, number, string] => {
    const { type, reqId, length } = decodeHeader(bytes);
    return [type, reqId, toText(bytes.subarray(16, 16 + length))];
  };
  const ask = (type: number, text: string, reqId = 7): [number, number, string] => {
    put(encodeMessage({ type, reqId, txId: 0, payload: toBytes(text) }));
    return shown(take());
  };
  return { ...{ store, page, ring, lines, put, take, ask }, notified: () => notified };
}

/** All bytes of a page that are not 0, with their places. */
const marks = ({ bytes }: ArrayPage): [number, number][] =>
  [...bytes.entries()].filter(([, byte]) => byte !== 0);

describe("a new page", () => {
  it("is empty, and says that errors are told", () => {
    const { page, ring, notified } = setUp();
    expect(marks(page)).toEqual([[I.server_features, 2]]);
    ring.process();
    expect([notified(), ring.dead]).toEqual([0, false]);
  });
});

describe("a request", () => {
  it("may come a byte at a time", () => {
    const { put, take, notified } = setUp();
    const bytes = encodeMessage({ type: Xs.READ, reqId: 9, txId: 0, payload: toBytes("data\0") });
    for (const byte of bytes.subarray(0, -1)) put(Uint8Array.of(byte));
    expect(take()).toHaveLength(0);
    const before = notified();
    put(bytes.subarray(-1));
    expect(notified()).toBe(before + 1);
    const reply = { type: Xs.READ, reqId: 9, txId: 0, payload: toBytes("old") };
    expect(take()).toEqual(encodeMessage(reply));
  });

  it.each([
    [4096, false],
    [4097, true],
  ])("of %i bytes breaks the connection: %s", (length, isBroken) => {
    const { put, page, ring, lines } = setUp();
    const head = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: new Uint8Array(0) });
    new DataView(head.buffer).setUint32(12, length, true);
    put(head);
    expect([ring.dead, page.readU32(I.error), lines.length]).toEqual(
      isBroken ? [true, 3, 1] : [false, 0, 0],
    );
  });
});

describe("a broken connection", () => {
  it.each([
    ["requests", I.req_prod],
    ["responses", I.rsp_cons],
  ])("by indices of %s is told once, and nothing is exchanged any more", (_, index) => {
    const { page, ring, lines, notified, store, ask } = setUp();
    ask(Xs.WATCH, "data\0t\0");
    page.writeU32(index, 0x8000_0000);
    const before = notified();
    const read = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: toBytes("data\0") });
    if (index === I.rsp_cons) putBytes(page, requests, read);
    ring.process();
    expect([ring.dead, page.readU32(I.error), notified()]).toEqual([true, 2, before + 1]);
    expect(lines).toEqual([expect.stringContaining("broke the ring protocol")]);
    page.writeU32(index, 0);
    const [taken, given] = [page.readU32(I.req_cons), page.readU32(I.rsp_prod)];
    store.write(0, 0, `${HOME}/data`, toBytes("new"));
    ring.process();
    expect([page.readU32(I.req_cons), page.readU32(I.rsp_prod)]).toEqual([taken, given]);
    expect([notified(), lines.length, store.watches()]).toEqual([before + 1, 1, []]);
  });

  it("is over for the next client", () => {
    const { page, ring, ask } = setUp();
    page.writeU32(I.req_prod, 0x8000_0000);
    ring.process();
    ring.reset();
    expect([ring.dead, marks(page)]).toEqual([false, [[I.server_features, 2]]]);
    expect(ask(Xs.READ, "data\0")).toEqual([Xs.READ, 7, "old"]);
  });
});

describe("the next client on the same page", () => {
  it("has no watches, no transactions and nothing that was on its way", () => {
    const { page, ring, store, ask, put, take } = setUp();
    const before = store.memory(GUEST);
    ask(Xs.WATCH, "data\0t\0");
    take();
    const [, , id] = ask(Xs.TRANSACTION_START, "\0");
    // An event that waits behind a full ring, and half a request.
    store.write(0, 0, `${HOME}/data`, toBytes("x".repeat(1008)));
    for (let i = 0; i < 3; i++)
      put(encodeMessage({ type: Xs.READ, reqId: i, txId: 0, payload: toBytes("data\0") }));
    put(Uint8Array.of(1, 2, 3));
    store.write(0, 0, `${HOME}/data`, toBytes("old"));
    ring.reset();
    expect(marks(page)).toEqual([[I.server_features, 2]]);
    expect([store.watches(), store.memory(GUEST)]).toEqual([[], before]);
    expect(store.checkTransaction(GUEST, Number.parseInt(id, 10))).toBe("ENOENT");
    ring.process();
    store.write(0, 0, `${HOME}/data`, toBytes("new"));
    expect(take()).toHaveLength(0);
    expect(ask(Xs.READ, "data\0", 5)).toEqual([Xs.READ, 5, "new"]);
    expect(store.memory(GUEST)).toBe(before);
  });

  it("may have as many requests without an answer as the one before", () => {
    const { page, ring, store } = setUp();
    store.write(0, 0, `${HOME}/data`, toBytes("x".repeat(1008)));
    const read = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: toBytes("data\0") });
    const many = Uint8Array.from(Array.from({ length: 40 }, () => [...read]).flat());
    for (let client = 0; client < 2; client++) {
      putBytes(page, requests, many);
      ring.process();
      // One answer fills the ring, and xenstored's quota "outstanding" is 20.
      expect(page.readU32(I.req_cons)).toBe(21 * read.length);
      ring.reset();
    }
  });
});

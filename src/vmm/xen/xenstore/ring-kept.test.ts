/** xenstore's ring in an exact snapshot: requests and messages of which a part is on its way, and what waits. */

import { describe, expect, it } from "vitest";
import { XenstoreInterface as I, XenstoreError, Xs } from "../../../abi/xen/xs-wire.js";
import { putBytes, takeBytes } from "../byte-ring.js";
import { ArrayPage } from "../shared-page.fixture.js";
import { requests, responses } from "./ring.fixture.js";
import { XenstoreRing } from "./ring.js";
import { Store } from "./store.js";
import { decodeHeader, encodeMessage, toBytes, toText } from "./wire.js";

const GUEST = 1;
const HOME = "/local/domain/1";

function guestOf(store: Store, page = new ArrayPage()) {
  const lines: string[] = [];
  let notified = 0;
  const log = { warn: (text: string) => lines.push(text), debug: () => undefined };
  const ring = new XenstoreRing(page, store, GUEST, () => notified++, log);
  const put = (bytes: Uint8Array): void => {
    putBytes(page, requests, bytes);
    ring.process();
  };
  let got = new Uint8Array(0);
  /** All whole messages, read as a guest does it that has the time. */
  const messages = (): [number, string][] => {
    for (;;) {
      const bytes = takeBytes(page, responses, 1024) ?? new Uint8Array(0);
      if (bytes.length === 0) break;
      got = Uint8Array.of(...got, ...bytes);
      ring.process();
    }
    const all: [number, string][] = [];
    while (got.length >= 16 && got.length >= 16 + decodeHeader(got).length) {
      const { type, length } = decodeHeader(got);
      all.push([type, toText(got.subarray(16, 16 + length))]);
      got = got.slice(16 + length);
    }
    return all;
  };
  return { ring, store, page, lines, put, messages, notified: () => notified };
}

function setUp() {
  const store = new Store();
  store.write(0, 0, `${HOME}/data`, toBytes("old"));
  store.setPermissions(0, 0, `${HOME}/data`, [{ domid: GUEST, access: "n" }]);
  return guestOf(store);
}

const request = (type: number, text: string): Uint8Array =>
  encodeMessage({ type, reqId: 7, txId: 0, payload: toBytes(text) });
const shown = (type: number, text: string): [number, string] => [type, text];

/** Another ring that goes on, with another store and a copy of the page. */
function again(old: ReturnType<typeof guestOf>) {
  const kept = old.ring.kept;
  const store = new Store();
  const before = old.store.kept;
  store.keep(before);
  const next = guestOf(store);
  next.page.write(0, old.page.bytes);
  expect(next.ring.keep(kept, before.watches)).toBe(true);
  store.settle(before);
  expect([next.ring.kept, store.kept.watches.length]).toEqual([kept, before.watches.length]);
  return next;
}

describe("a ring in an exact snapshot", () => {
  it.each([
    1, 15, 16, 20,
  ])("has %i bytes of a request, and answers when the others come", (count) => {
    const old = setUp();
    const bytes = request(Xs.READ, "data\0");
    old.put(bytes.subarray(0, count));
    expect(old.ring.kept.input).toEqual(bytes.subarray(0, count));
    const next = again(old);
    for (const each of [old, next]) {
      each.put(bytes.subarray(count));
      expect(each.messages()).toEqual([shown(Xs.READ, "old")]);
      // The next one begins anew.
      expect(each.ring.kept).toMatchObject({ input: new Uint8Array(0), outstanding: 0 });
    }
  });

  it("has what is left of a message that is being sent, and what waits behind it, in its order", () => {
    const old = setUp();
    old.store.write(GUEST, 0, `${HOME}/data`, toBytes("x".repeat(1500)));
    old.put(request(Xs.WATCH, "data\0token\0"));
    old.put(request(Xs.READ, "data\0"));
    old.put(request(Xs.READ, "data/none\0"));
    old.store.write(GUEST, 0, `${HOME}/data/a`, toBytes(""));
    old.store.write(GUEST, 0, `${HOME}/data/b`, toBytes(""));
    const { sending, message, outstanding, connection } = old.ring.kept;
    expect([sending.length > 0, message?.isReply, outstanding]).toEqual([true, true, 2]);
    expect(connection.output.map(({ event, reply }) => event ?? reply?.length)).toEqual([
      ...[23, "data/a\0token\0", "data/b\0token\0"],
    ]);
    const next = again(old);
    // What has not been heard of is told once.
    next.store.write(GUEST, 0, `${HOME}/data/a`, toBytes("1"));
    for (const each of [old, next])
      expect(each.messages()).toEqual([
        shown(Xs.WATCH, "OK\0"),
        shown(Xs.WATCH_EVENT, "data\0token\0"),
        shown(Xs.READ, "x".repeat(1500)),
        shown(Xs.ERROR, "ENOENT\0"),
        shown(Xs.WATCH_EVENT, "data/a\0token\0"),
        shown(Xs.WATCH_EVENT, "data/b\0token\0"),
      ]);
    for (const each of [old, next]) {
      const { message: none, outstanding: open, connection: left } = each.ring.kept;
      expect([none, open, left.output]).toEqual([undefined, 0, []]);
    }
    expect(next.store.memory(GUEST)).toBe(old.store.memory(GUEST) + 1);
  });

  it("has its client's watches alone, each as it was named", () => {
    const old = setUp();
    old.put(request(Xs.WATCH, "data\0relative\0"));
    old.put(request(Xs.WATCH, `${HOME}/data\0absolute\0`));
    old.store.watch({ domid: 0, path: HOME, token: "other", fire: () => undefined });
    old.messages();
    const kept = old.store.kept;
    const store = new Store();
    store.keep(kept);
    const next = guestOf(store);
    expect(next.ring.keep(old.ring.kept, kept.watches)).toBe(true);
    expect(store.watches().map(({ domid, token }) => [domid, token])).toEqual([
      [GUEST, "relative"],
      [GUEST, "absolute"],
    ]);
    store.write(GUEST, 0, `${HOME}/data/x`, toBytes(""));
    expect(next.messages()).toEqual([
      shown(Xs.WATCH_EVENT, "data/x\0relative\0"),
      shown(Xs.WATCH_EVENT, `${HOME}/data/x\0absolute\0`),
    ]);
  });

  it("that has lost events says so once, in whichever process", () => {
    const old = setUp();
    old.put(request(Xs.WATCH, "data\0t\0"));
    old.messages();
    const used = 2.5 * 2 ** 20 - old.store.memory(GUEST);
    old.store.useMemory(GUEST, used);
    for (const name of ["a", "b"]) old.store.write(0, 0, `${HOME}/data/${name}`, toBytes(""));
    expect([old.lines.length, old.ring.kept.connection.overflowed]).toEqual([1, true]);
    const next = again(old);
    for (const each of [old, next]) {
      each.store.write(0, 0, `${HOME}/data/c`, toBytes(""));
      each.store.useMemory(GUEST, -used);
      each.store.write(0, 0, `${HOME}/data/d`, toBytes(""));
      expect(each.messages()).toEqual([shown(Xs.WATCH_EVENT, "data/d\0t\0")]);
    }
    expect([old.lines.length, next.lines]).toEqual([1, []]);
  });

  it("that was closed stays so", () => {
    const old = setUp();
    old.page.writeU32(I.req_prod, 5000);
    old.ring.process();
    const next = again(old);
    expect([old.ring.dead, next.ring.dead, next.lines]).toEqual([true, true, []]);
    next.page.writeU32(I.req_prod, next.page.readU32(I.req_cons));
    next.put(request(Xs.READ, "data\0"));
    expect([next.messages(), next.notified()]).toEqual([[], 0]);
  });

  const header = (length: number): Uint8Array => {
    const bytes = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: new Uint8Array(0) });
    new DataView(bytes.buffer).setUint32(12, length, true);
    return bytes;
  };
  it.each([
    ["a request that is whole", request(Xs.READ, "data\0"), false],
    ["one without a payload", header(0), false],
    ["more than a request can have", new Uint8Array(16 + 4096 + 1), false],
    ["one that wants a byte more", Uint8Array.of(...header(4096), ...new Uint8Array(4095)), true],
    ["the longest one, whole", Uint8Array.of(...header(4096), ...new Uint8Array(4096)), false],
  ])("is refused or taken with %s", (_, input, isTaken) => {
    const { ring } = setUp();
    expect(ring.keep({ ...ring.kept, input }, [])).toBe(isTaken);
  });
});

describe("a ring", () => {
  it("takes no request of a client that has no memory left, until it has", () => {
    const { put, store, messages, ring } = setUp();
    const used = 2.5 * 2 ** 20 - store.memory(GUEST);
    store.useMemory(GUEST, used);
    put(request(Xs.READ, "data\0"));
    expect(messages()).toEqual([]);
    store.useMemory(GUEST, -1);
    ring.process();
    expect(messages()).toEqual([shown(Xs.READ, "old")]);
  });

  it.each([
    [
      "request indices",
      (page: ArrayPage) => page.writeU32(I.req_prod, 5000),
      XenstoreError.RINGIDX,
    ],
    [
      "payload too long",
      (page: ArrayPage) => putBytes(page, requests, request(Xs.READ, "x".repeat(900))),
      0,
    ],
  ] as const)("says what was wrong: %s", (what, breakIt, error) => {
    const { page, ring, lines } = setUp();
    breakIt(page);
    if (error === 0) page.writeU32(I.req + 12, 4097);
    ring.process();
    expect(lines).toEqual([expect.stringContaining(`(${what})`)]);
    expect(page.readU32(I.error)).toBe(error === 0 ? XenstoreError.PROTO : error);
  });

  it("whose answers cannot be put is closed, too", () => {
    const { page, ring, lines, put } = setUp();
    page.writeU32(I.rsp_cons, 5000);
    put(request(Xs.READ, "data\0"));
    expect([ring.dead, lines]).toEqual([true, [expect.stringContaining("(response indices)")]]);
    expect(page.readU32(I.error)).toBe(XenstoreError.RINGIDX);
  });

  it("forgets with its client what was on its way: memory, watches, transactions", () => {
    const { ring, store, put, messages } = setUp();
    const before = store.memory(GUEST);
    store.write(0, 0, `${HOME}/data`, toBytes("x".repeat(1500)));
    put(request(Xs.WATCH, "data\0t\0"));
    put(request(Xs.TRANSACTION_START, "\0"));
    for (let i = 0; i < 4; i++) put(request(Xs.READ, "data\0"));
    put(request(Xs.READ, "data\0").subarray(0, 10));
    ring.reset();
    expect([store.memory(GUEST), store.watches(), store.kept.transactions]).toEqual([
      ...[before + 1497, [], []],
    ]);
    put(request(Xs.READ, "data\0"));
    expect(messages()).toEqual([shown(Xs.READ, "x".repeat(1500))]);
  });
});

describe("requests", () => {
  const texts: [string, number, string, string][] = [
    ["a type that is none", 99, "data\0", "ENOSYS"],
    ["an event, which only xenstored sends", Xs.WATCH_EVENT, "data\0", "ENOSYS"],
    ["an error, too", Xs.ERROR, "data\0", "ENOSYS"],
    ["what is the tool stack's", Xs.INTRODUCE, "data\0", "EACCES"],
    ["a path without its end", Xs.READ, "data", "EINVAL"],
    ["a value without a path", Xs.WRITE, "data", "EINVAL"],
    ["a value for no path", Xs.WRITE, "\0x", "EINVAL"],
    ["a part of nothing", Xs.DIRECTORY_PART, "data\0", "EINVAL"],
    ["a part of no path", Xs.DIRECTORY_PART, "//\0" + "0\0", "EINVAL"],
    ["a watch without a token", Xs.WATCH, "data\0", "EINVAL"],
    ["a watch with more", Xs.WATCH, "data\0t\0u\0", "EINVAL"],
    ["a watch of no path", Xs.WATCH, "//\0t\0", "EINVAL"],
    ["the end of a watch of none", Xs.UNWATCH, "//\0t\0", "ENOENT"],
    ["permissions of no path", Xs.SET_PERMS, "//\0n1\0", "EINVAL"],
    ["the end of no transaction", Xs.TRANSACTION_END, "X\0", "EINVAL"],
    ["a domain without a number", Xs.GET_DOMAIN_PATH, "1", "EINVAL"],
  ];
  it.each(texts)("with %s (%i, %j) are %s", (_, type, text, error) => {
    const { put, messages } = setUp();
    put(request(type, text));
    expect(messages()).toEqual([shown(Xs.ERROR, `${error}\0`)]);
  });

  it("about watches may name any transaction; others only their own", () => {
    const { put, messages } = setUp();
    for (const type of [Xs.WATCH, Xs.UNWATCH, Xs.READ]) {
      const payload = toBytes(type === Xs.READ ? "data\0" : "data\0t\0");
      put(encodeMessage({ type, reqId: 1, txId: 77, payload }));
    }
    expect(messages()).toEqual([
      shown(Xs.WATCH, "OK\0"),
      shown(Xs.WATCH_EVENT, "data\0t\0"),
      shown(Xs.UNWATCH, "OK\0"),
      shown(Xs.ERROR, "ENOENT\0"),
    ]);
  });

  it("whose reply is longer than 4,096 bytes get E2BIG", () => {
    for (const [count, isFine] of [
      [256, true],
      [257, false],
    ] as const) {
      const { put, store, messages } = setUp();
      // Each name has 16 bytes with its end.
      for (let i = 0; i < count; i++) store.write(0, 0, `${HOME}/data/${1e14 + i}`, toBytes(""));
      put(request(Xs.DIRECTORY, "data\0"));
      const [[type, text] = [0, ""]] = messages();
      expect([type, text.length]).toEqual(isFine ? [Xs.DIRECTORY, 4096] : [Xs.ERROR, 6]);
    }
  });
});

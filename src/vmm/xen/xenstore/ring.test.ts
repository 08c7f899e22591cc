import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { XenstoreInterface as I, Xs } from "../../../abi/xen/xs-wire.js";
import { seed } from "../../../base/seed.fixture.js";
import { putBytes, takeBytes } from "../byte-ring.js";
import { ArrayPage } from "../shared-page.fixture.js";
import { writeInitialNodes } from "./initial-nodes.js";
import { requests, responses } from "./ring.fixture.js";
import { XenstoreRing } from "./ring.js";
import { Store } from "./store.js";
import { decodeHeader, encodeMessage, toBytes, toText } from "./wire.js";

const GUEST = 1;
const log = { warn: () => undefined, debug: () => undefined };

function setUp() {
  const store = new Store();
  const place = { port: 1, gfn: 2 };
  const ids = { domid: GUEST, name: "g", uuid: "u", vcpus: 1, memoryBytes: 1 << 20 };
  writeInitialNodes(store, { ...ids, store: place, console: place });
  const page = new ArrayPage();
  let notified = 0;
  const ring = new XenstoreRing(page, store, GUEST, () => notified++, log);
  let received = new Uint8Array(0);
  const collect = (): void => {
    const bytes = takeBytes(page, responses, 1024) ?? new Uint8Array(0);
    const both = new Uint8Array(received.length + bytes.length);
    both.set(received);
    both.set(bytes, received.length);
    received = both;
  };
  /** Sends bytes as a guest does, reading replies on the way; answers [type, text] of each. */
  const send = (bytes: Uint8Array): [number, string][] => {
    let rest = bytes;
    do {
      rest = rest.subarray(putBytes(page, requests, rest) ?? rest.length);
      ring.process();
      for (let i = 0; i < 8; i++) {
        collect();
        ring.process();
      }
    } while (rest.length > 0);
    const messages: [number, string][] = [];
    while (received.length >= 16) {
      const { type, length } = decodeHeader(received);
      if (received.length < 16 + length) break;
      messages.push([type, toText(received.subarray(16, 16 + length))]);
      received = received.slice(16 + length);
    }
    return messages;
  };
  const ask = (type: number, text: string, txId = 0): [number, string][] =>
    send(encodeMessage({ type, reqId: 7, txId, payload: toBytes(text) }));
  return { store, page, ring, send, ask, notified: () => notified };
}

describe("xenstore over the ring", () => {
  it("answers the requests of a Linux guest", () => {
    const { ask } = setUp();
    expect(ask(Xs.READ, "domid\0")).toEqual([[Xs.READ, "1"]]);
    expect(ask(Xs.READ, "absent\0")).toEqual([[Xs.ERROR, "ENOENT\0"]]);
    expect(ask(Xs.RESET_WATCHES, "\0")).toEqual([[Xs.RESET_WATCHES, "OK\0"]]);
    expect(ask(Xs.WATCH, "control/shutdown\0tok\0")).toEqual([
      [Xs.WATCH, "OK\0"],
      [Xs.WATCH_EVENT, "control/shutdown\0tok\0"],
    ]);
    expect(ask(Xs.WRITE, "control/shutdown\0halt")).toEqual([
      [Xs.WATCH_EVENT, "control/shutdown\0tok\0"],
      [Xs.WRITE, "OK\0"],
    ]);
    expect(ask(Xs.UNWATCH, "control/shutdown\0tok\0")).toEqual([[Xs.UNWATCH, "OK\0"]]);
    expect(ask(Xs.GET_PERMS, "domid\0")).toEqual([[Xs.GET_PERMS, "n0\0r1\0"]]);
    expect(ask(Xs.SET_PERMS, "data\0n1\0r2\0")).toEqual([[Xs.SET_PERMS, "OK\0"]]);
    expect(ask(Xs.DIRECTORY, "cpu\0")).toEqual([[Xs.DIRECTORY, "0\0"]]);
    expect(ask(Xs.MKDIR, "data/x\0")).toEqual([[Xs.MKDIR, "OK\0"]]);
    expect(ask(Xs.RM, "data/x\0")).toEqual([[Xs.RM, "OK\0"]]);
    expect(ask(Xs.GET_DOMAIN_PATH, "1\0")).toEqual([[Xs.GET_DOMAIN_PATH, "/local/domain/1\0"]]);
    expect(ask(Xs.IS_DOMAIN_INTRODUCED, "3\0")).toEqual([[Xs.ERROR, "EACCES\0"]]);
    expect(ask(Xs.CONTROL, "check\0")).toEqual([[Xs.ERROR, "EACCES\0"]]);
    expect(ask(20, "\0")).toEqual([[Xs.ERROR, "ENOSYS\0"]]);
  });

  it("runs transactions", () => {
    const { ask } = setUp();
    const [reply] = ask(Xs.TRANSACTION_START, "\0");
    const id = Number.parseInt(reply?.[1] ?? "", 10);
    expect(id).toBeGreaterThan(0);
    expect(ask(Xs.TRANSACTION_START, "\0", id)).toEqual([[Xs.ERROR, "EBUSY\0"]]);
    expect(ask(Xs.WRITE, "data/a\0v", id)).toEqual([[Xs.WRITE, "OK\0"]]);
    expect(ask(Xs.READ, "data/a\0")).toEqual([[Xs.ERROR, "ENOENT\0"]]);
    expect(ask(Xs.TRANSACTION_END, "T\0", id)).toEqual([[Xs.TRANSACTION_END, "OK\0"]]);
    expect(ask(Xs.READ, "data/a\0")).toEqual([[Xs.READ, "v"]]);
    expect(ask(Xs.READ, "data/a\0", id)).toEqual([[Xs.ERROR, "ENOENT\0"]]);
  });

  it("tells what the host changes, and lists big directories in parts", () => {
    const { ask, send, store } = setUp();
    ask(Xs.WATCH, "control/shutdown\0t\0");
    store.write(0, 0, "/local/domain/1/control/shutdown", toBytes("poweroff"));
    expect(send(new Uint8Array(0))).toEqual([[Xs.WATCH_EVENT, "control/shutdown\0t\0"]]);
    // A guest's own node would be too large.
    for (let i = 0; i < 500; i++) store.mkdir(0, 0, `/local/domain/1/data/a-long-name-${1000 + i}`);
    expect(ask(Xs.DIRECTORY, "data\0")).toEqual([[Xs.ERROR, "E2BIG\0"]]);
    let listed = "";
    for (;;) {
      const [reply] = ask(Xs.DIRECTORY_PART, `data\0${listed.length}\0`);
      const part = (reply?.[1] ?? "").replace(/^\d+\0/, "");
      listed += part;
      if (part.endsWith("\0\0")) break;
    }
    expect(listed.split("\0").filter((n) => n !== "")).toHaveLength(500);
  });

  it("leaves requests in the ring when 20 were not answered yet", () => {
    const { page, ring, store } = setUp();
    store.write(0, 0, "/local/domain/1/vm", toBytes("x".repeat(1008)));
    const read = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: toBytes("vm\0") });
    putBytes(page, requests, Uint8Array.from(Array.from({ length: 53 }, () => [...read]).flat()));
    ring.process();
    // The first answer fills the ring.
    expect(page.readU32(I.rsp_prod)).toBe(1024);
    expect(page.readU32(I.req_cons)).toBe(21 * read.length);
    takeBytes(page, responses, 1023);
    ring.process();
    expect(page.readU32(I.req_cons)).toBe(21 * read.length);
    takeBytes(page, responses, 1);
    ring.process();
    expect(page.readU32(I.req_cons)).toBe(22 * read.length);
  });

  it("closes the connection when the guest breaks the protocol", () => {
    const { page, ring } = setUp();
    page.writeU32(I.req_prod, 1025);
    ring.process();
    expect(ring.dead).toBe(true);
    expect(page.readU32(I.error)).toBe(2);

    const other = setUp();
    const huge = encodeMessage({ type: Xs.READ, reqId: 1, txId: 0, payload: new Uint8Array(0) });
    new DataView(huge.buffer).setUint32(12, 4097, true);
    other.send(huge);
    expect(other.ring.dead).toBe(true);
    expect(other.page.readU32(I.error)).toBe(3);
  });

  it("survives any guest", () => {
    const action = fc.oneof(
      fc.record({ offset: fc.nat(4092), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
      fc.record({ type: fc.nat(26), tx: fc.nat(3), payload: fc.uint8Array({ maxLength: 60 }) }),
      fc.record({
        type: fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 21, 22),
        tx: fc.nat(3),
        text: fc.constantFrom(
          "data\0",
          "data/x\0",
          "data\0n1\0",
          "/\0",
          "T\0",
          "@\0",
          "data\x000\0",
        ),
      }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const { page, ring, send, store } = setUp();
        for (const item of actions) {
          if ("offset" in item) page.writeU32(item.offset, item.value);
          else {
            const payload = "text" in item ? toBytes(item.text) : item.payload;
            send(encodeMessage({ type: item.type, reqId: 1, txId: item.tx, payload }));
          }
          ring.process();
        }
        expect(toText(store.read(0, 0, "/local/domain/1/domid") as Uint8Array)).toBe("1");
      }),
      { numRuns: 300, seed, verbose: true },
    );
  });

  it("keeps 2.5 MiB of events for a guest that does not read, once each, and then the connection works", () => {
    const { store, page, ring, ask } = setUp();
    for (let i = 0; i < 100; i++) ask(Xs.WATCH, `data\0${"t".repeat(900)}${i}\0`);
    const tx = ask(Xs.TRANSACTION_START, "\0")[0]?.[1].slice(0, -1) ?? "";
    for (let i = 0; i < 200; i++) {
      expect(
        store.write(GUEST, Number(tx), `/local/domain/1/data/${i}`, toBytes("x")),
      ).toBeUndefined();
    }
    expect(store.end(GUEST, Number(tx), true)).toBeUndefined();
    // The same again is no more.
    store.write(GUEST, 0, "/local/domain/1/data/0", toBytes("y"));
    const drain = (): number => {
      let bytes = 0;
      for (let got = -1; got !== 0; bytes += Math.max(got, 0)) {
        got = takeBytes(page, responses, 1024)?.length ?? 0;
        ring.process();
      }
      return bytes;
    };
    const bytes = drain();
    // The domain's nodes and watches count, too. What is in the ring does not: a part of one message.
    expect(bytes).toBeLessThanOrEqual(2.5 * 2 ** 20 - 100 * 900 + 2048);
    expect(bytes).toBeGreaterThan(2.3 * 2 ** 20);
    expect(ask(Xs.READ, "domid\0")).toEqual([[Xs.READ, "1"]]);
    store.write(GUEST, 0, "/local/domain/1/data/0", toBytes("z"));
    expect(drain()).toBeGreaterThan(100 * 916);
  });
});

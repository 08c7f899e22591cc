/** Scenarios that a real xenstored (Xen 4.17) answered, played on ours. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ArrayPage } from "../../src/vmm/xen/shared-page.fixture.js";
import { Connection } from "../../src/vmm/xen/xenstore/connection.js";
import { XenstoreRing } from "../../src/vmm/xen/xenstore/ring.js";
import { Store } from "../../src/vmm/xen/xenstore/store.js";
import { decodeHeader } from "../../src/vmm/xen/xenstore/wire.js";
import { play, type World } from "./scenario.mjs";

const cases = join(new URL(".", import.meta.url).pathname, "cases");
const log = { warn: () => undefined, debug: () => undefined };

/** A store with domains 1 to 3 on their rings, and domain 0. */
function ourWorld(): World {
  const store = new Store(undefined, (domid) => domid >= 0 && domid <= 3);
  const domains = new Map(
    [1, 2, 3].map((domid) => {
      const page = new ArrayPage();
      return [domid, { page, ring: new XenstoreRing(page, store, domid, () => undefined, log) }];
    }),
  );
  const of = (domid: number) => domains.get(domid) as NonNullable<ReturnType<typeof domains.get>>;
  const connection = new Connection(store, 0, {
    ready: () => undefined,
    overflow: () => undefined,
  });
  return {
    page: (domid) => of(domid).page,
    kick: (domid) => of(domid).ring.process(),
    send: (bytes) => {
      const { type, reqId, txId } = decodeHeader(bytes);
      connection.handle({ type, reqId, txId, payload: bytes.subarray(16) });
    },
    take: () => {
      const messages: Uint8Array[] = [];
      for (let next = connection.takeOutput(); next; next = connection.takeOutput())
        messages.push(next.bytes);
      return Buffer.concat(messages);
    },
    settle: () => Promise.resolve(),
    memory: (domid) => Promise.resolve(store.memory(domid)),
    patience: 3,
  };
}

describe("xenstored answers", () => {
  it.each(readdirSync(cases))("%s", async (name) => {
    const recorded = readFileSync(join(cases, name), "latin1");
    expect(await play(recorded, ourWorld())).toBe(recorded);
  });
});

/** The two rings that a domain is made with: where a guest finds them, after a soft reset and in an exact snapshot too. */

import { describe, expect, it } from "vitest";
import { Xencons } from "../../abi/xen/console.js";
import { HvmParam } from "../../abi/xen/hvm.js";
import { Xs } from "../../abi/xen/xs-wire.js";
import { evtchnPort } from "../../base/index.js";
import { putBytes, takeBytes } from "./byte-ring.js";
import { makeDomain } from "./kvm.fixture.js";
import { LinearPage } from "./shared-page.js";
import { requests, responses } from "./xenstore/ring.fixture.js";
import { encodeMessage, toBytes, toText } from "./xenstore/wire.js";

const CONSOLE_GFN = 0xfeff8;
const STORE_GFN = 0xfeff9;
const said = { data: Xencons.out, size: 2048, cons: Xencons.out_cons, prod: Xencons.out_prod };
const typed = { data: Xencons.in, size: 1024, cons: Xencons.in_cons, prod: Xencons.in_prod };

type Test = ReturnType<typeof makeDomain>;

function pageOf({ domain }: Test, gfn: number): LinearPage {
  const at = domain.physmap.memory.locate(gfn * 4096, 4096);
  if (at === undefined) throw new Error("the frame is not there");
  return new LinearPage(domain.config.vm.linear, at);
}
const node = ({ domain }: Test, path: string): string => {
  const value = domain.store.read(1, 0, `/local/domain/1/${path}`);
  return typeof value === "string" ? value : toText(value);
};
const param = ({ domain }: Test, index: number): number => Number(domain.params.get(index));

/** Says something on the console, and asks xenstore something, by ports that are where a guest looks for them. */
function use(test: Test): { heard: string; answer: string; raised: string[] } {
  const [store, console] = [pageOf(test, STORE_GFN), pageOf(test, CONSOLE_GFN)];
  test.written.length = 0;
  test.take();
  putBytes(console, said, toBytes("hello"));
  test.domain.ports.send(evtchnPort(param(test, HvmParam.CONSOLE_EVTCHN)));
  const heard = toText(Uint8Array.from(test.written));
  const message = { type: Xs.READ, reqId: 1, txId: 0, payload: toBytes("domid\0") };
  putBytes(store, requests, encodeMessage(message));
  test.domain.ports.send(evtchnPort(param(test, HvmParam.STORE_EVTCHN)));
  const answer = toText((takeBytes(store, responses, 1024) ?? new Uint8Array(0)).subarray(16));
  return { heard, answer, raised: test.take() };
}

/** Where each place says that the rings are. */
const places = (test: Test) => ({
  ports: test.domain.rings.ports,
  params: {
    store: param(test, HvmParam.STORE_EVTCHN),
    console: param(test, HvmParam.CONSOLE_EVTCHN),
  },
  nodes: { store: Number(node(test, "store/port")), console: Number(node(test, "console/port")) },
});

describe("the rings of a domain", () => {
  it("are where its parameters and nodes say, and carry bytes both ways", () => {
    const test = makeDomain();
    const ports = { store: 1, console: 2 };
    expect(places(test)).toEqual({ ports, params: ports, nodes: ports });
    expect([param(test, HvmParam.STORE_PFN), param(test, HvmParam.CONSOLE_PFN)]).toEqual([
      ...[STORE_GFN, CONSOLE_GFN],
    ]);
    expect([node(test, "store/ring-ref"), node(test, "console/ring-ref")]).toEqual([
      `${STORE_GFN}`,
      `${CONSOLE_GFN}`,
    ]);
    expect(use(test)).toMatchObject({ heard: "hello", answer: "1" });
    // The guest has no shared_info: its events wait, each once.
    const early = test.domain.delivery.kept.early.map(({ port }) => port);
    expect(new Set(early)).toEqual(new Set([1, 2]));
    test.domain.consoleInput(toBytes("typed"));
    expect(takeBytes(pageOf(test, CONSOLE_GFN), typed, 1024)).toEqual(toBytes("typed"));
    expect(test.domain.ports.list().map(({ state }) => state)).toEqual(["backend", "backend"]);
  });

  it("have new ports after a soft reset, which all places say; the console's bytes are still there", () => {
    const test = makeDomain();
    const filler = test.domain.ports.allocUnbound(0);
    putBytes(pageOf(test, CONSOLE_GFN), said, toBytes("oops "));
    test.domain.ports.close(evtchnPort(1));
    test.domain.softReset();
    const { ports, params, nodes } = places(test);
    expect([params, nodes]).toEqual([ports, ports]);
    expect(test.domain.ports.list().map(({ port }) => port)).toEqual([ports.store, ports.console]);
    expect(filler).toBe(3);
    expect(use(test)).toMatchObject({ heard: "oops hello", answer: "1" });
    // Nothing is left of the old ones: a domain with a backend's end in the air cannot be read.
    expect(test.domain.ports.kept).toBeDefined();
  });

  it("go on elsewhere by the ports that they had, with the input that waited", () => {
    const test = makeDomain();
    test.domain.consoleInput(new Uint8Array(1500).fill(0x61));
    const { rings, ports, store } = test.domain;
    const { kept } = rings;
    expect([kept.ports, kept.waiting.length, kept.complained]).toEqual([
      ...[{ store: 1, console: 2 }, 476, false],
    ]);
    const next = makeDomain();
    next.domain.ports.keep(ports.kept as NonNullable<typeof ports.kept>);
    expect(next.domain.rings.keep({ ...kept, complained: true }, store.kept.watches)).toBe(true);
    expect(next.domain.rings.kept).toMatchObject({ ...kept, complained: true });
    expect(use(next)).toMatchObject({ heard: "hello", answer: "1" });
    expect(takeBytes(pageOf(next, CONSOLE_GFN), typed, 1024)).toHaveLength(476);
  });

  it.each([
    ["store", 60],
    ["console", 61],
  ])("go on nowhere when the port of one is not there: %s", (name, port) => {
    const test = makeDomain();
    const { ports, rings, store } = test.domain;
    const kept = { ...rings.kept, ports: { ...rings.ports, [name]: port } };
    const next = makeDomain();
    next.domain.ports.keep(ports.kept as NonNullable<typeof ports.kept>);
    expect(next.domain.rings.keep(kept, store.kept.watches)).toBe(false);
  });
});

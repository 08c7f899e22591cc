/**
 * What Xen's security advisories found in network backends, and what a hostile frontend may try beside that: it harms
 * itself, and nothing else. The advisories are named where they are about the same kind of mistake.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Sring } from "../../../../abi/xen/ring.js";
import { seed } from "../../../../base/seed.fixture.js";
import { frameOf } from "../guest.fixture.js";
import { anyCommonStep } from "../hostile.fixture.js";
import {
  ip,
  LINUX,
  type NetFrontend,
  plain,
  RX_GFN,
  RX_REF,
  type Slot,
  TX_GFN,
  TX_REF,
  withCard,
} from "./frontend.fixture.js";

const MORE = 4;
const EXTRA = 8;
const TCP = 6;

type All = ReturnType<typeof withCard>;

function connected(): All {
  const all = withCard();
  all.frontend.connect();
  all.frontend.post(64);
  return all;
}

/** The card works both ways. */
function works({ frontend, network }: All): void {
  frontend.answers();
  frontend.received();
  network.sent.length = 0;
  frontend.transmit(plain(77));
  expect(frontend.answers()).toEqual(["100:0"]);
  expect(network.sent.map(({ bytes }) => bytes)).toEqual([plain(77)]);
  network.deliver([{ bytes: plain(78), checksum: "unknown" }]);
  expect(frontend.received().map(({ status }) => status)).toEqual([78]);
  expect(frontend.inUse()).toEqual([]);
}

/** The device was taken from the guest, and comes back when its next kernel begins anew. */
function failed(all: All): void {
  const { frontend, domain, network } = all;
  expect(frontend.read("state")).toBe("5");
  expect(domain.grantTable.inUse).toBe(false);
  expect(network.sent).toEqual([]);
  frontend.notify(frontend.port0);
  frontend.write("state", "6");
  frontend.write("state", "1");
  frontend.connect();
  frontend.post(8);
  works(all);
}

const chain = (count: number, size = 10): Slot[] =>
  Array.from({ length: count }, (_, i) => ({
    gref: 16 + (i % 64),
    id: i,
    flags: i + 1 < count ? MORE : 0,
    size: i === 0 ? size * count : size,
  }));

describe("packets that are not sent, and the card goes on", () => {
  const cases: [string, (f: NetFrontend) => (Slot | Uint8Array)[]][] = [
    ["no bytes", () => [{ size: 0 }]],
    ["13 bytes", () => [{ size: 13 }]],
    ["19 parts, more than Linux takes (XSA-39)", () => chain(19)],
    ["20 parts", () => chain(20)],
    [
      "parts that are more than the whole (XSA-448)",
      () => [{ flags: MORE, size: 60 }, { size: 61 }],
    ],
    [
      "parts of no bytes, and nothing else (XSA-448)",
      () => [{ flags: MORE, size: 0 }, { size: 0 }],
    ],
    ["no such grant", () => [{ gref: 200, size: 60 }]],
    ["a grant beyond the table", () => [{ gref: 0xffffffff, size: 60 }]],
    ["the console's grant", () => [{ gref: 0, size: 60 }]],
    ["xenstore's grant", () => [{ gref: 1, size: 60 }]],
    [
      "a bad grant behind good ones (XSA-361)",
      () => [
        { flags: MORE, size: 90 },
        { gref: 200, size: 30 },
      ],
    ],
    ["a blank checksum of what is no IP", () => [{ flags: 1, size: 60 }]],
    ["segments of what is no TCP", (f) => [{ flags: EXTRA, size: 60 }, f.extra(1448)]],
    ["segments of 1 byte (XSA-90)", (f) => [{ gref: 20, flags: EXTRA, size: 1054 }, f.extra(1)]],
    ["segments of the other IP", (f) => [{ gref: 20, flags: EXTRA, size: 1054 }, f.extra(1448, 2)]],
  ];
  it.each(cases)("%s", (_, make) => {
    const all = connected();
    const { frontend, network } = all;
    frontend.writeMemory(frameOf(20), 0, ip(4, TCP, plain(1000)));
    const slots = make(frontend);
    frontend.kick(...slots);
    const answers = frontend.answers();
    expect(answers).toHaveLength(slots.length);
    expect(answers.every((answer) => answer === "null" || answer.endsWith(":-1"))).toBe(true);
    expect(network.sent).toEqual([]);
    works(all);
  });

  it("headers that are spread over parts of a byte are one packet (XSA-423, XSA-432)", () => {
    const all = connected();
    const bytes = ip(4, TCP, plain(1000));
    all.frontend.transmit(bytes, 3, undefined, [...Array(17).fill(1), bytes.length - 17]);
    expect(all.network.sent).toHaveLength(1);
    works(all);
  });

  it("65535 bytes, and more than that with the header", () => {
    const all = connected();
    all.frontend.transmit(plain(65535));
    expect(all.network.sent.map(({ bytes }) => bytes.length)).toEqual([65535]);
    works(all);
  });
});

describe("frontends that are let go of", () => {
  const cases: [string, (f: NetFrontend) => (Slot | Uint8Array)[], string][] = [
    ["a packet of more than 20 parts (XSA-39)", () => chain(21), "a packet of more than 20 parts"],
    [
      "a packet without end (XSA-39)",
      () => Array(200).fill({ flags: MORE, size: 60 }),
      "a packet of more than 20 parts",
    ],
    ["a part that is missing", () => [{ flags: MORE, size: 60 }], "a part of a packet is missing"],
    [
      "what it says about itself is missing",
      () => [{ flags: EXTRA, size: 60 }],
      "what a packet says about itself is missing",
    ],
    [
      "the next thing that it says is missing",
      (f) => [{ flags: EXTRA, size: 60 }, f.extra(9, 1, 1, 1)],
      "what a packet says about itself is missing",
    ],
    [
      "it says things without end",
      (f) => [{ flags: EXTRA, size: 60 }, ...Array(200).fill(f.extra(9, 1, 1, 1))],
      "what a packet says about itself is missing",
    ],
    [
      "a kind that is none",
      (f) => [{ flags: EXTRA, size: 60 }, f.extra(9, 1, 0)],
      "a packet says something of kind 0 about itself",
    ],
    [
      "a kind that is not known",
      (f) => [{ flags: EXTRA, size: 60 }, f.extra(9, 1, 5)],
      "a packet says something of kind 5 about itself",
    ],
    ["segments of 0 bytes", (f) => [{ flags: EXTRA, size: 60 }, f.extra(0)], "segments of 0 bytes"],
    [
      "segments of another protocol",
      (f) => [{ flags: EXTRA, size: 60 }, f.extra(9, 3)],
      "segmentation of kind 3",
    ],
    [
      "one part beyond its page",
      () => [{ offset: 4090, size: 60 }],
      "a part of a packet is not within its page",
    ],
    [
      "the first part beyond its page",
      () => [{ offset: 4090, flags: MORE, size: 60 }, { size: 10 }],
      "a part of a packet is not within its page",
    ],
    [
      "a further part beyond its page",
      () => [
        { flags: MORE, size: 60 },
        { offset: 4095, size: 2 },
      ],
      "a part of a packet is not within its page",
    ],
    ["a part of 65535 bytes", () => [{ size: 65535 }], "a part of a packet is not within its page"],
  ];
  it.each(cases)("%s", (_, make, reason) => {
    const all = connected();
    all.frontend.kick(...make(all.frontend));
    expect(all.frontend.error()).toBe(`22 ${reason}`);
    failed(all);
  });

  it.each([
    ["to send", TX_GFN],
    ["to receive", RX_GFN],
  ])("indices of the ring %s that make no sense (XSA-155)", (which, gfn) => {
    for (const produced of [1000, 0x80000000, -1 >>> 0]) {
      const all = connected();
      all.frontend.ring(gfn, Sring.req_prod, produced);
      all.frontend.notify(all.frontend.port0);
      all.network.deliver([{ bytes: plain(60), checksum: "unknown" }]);
      expect(all.frontend.error()).toBe(`22 the ring ${which} cannot be used any more`);
      failed(all);
    }
  });

  it.each([
    ["to send", TX_GFN],
    ["to receive", RX_GFN],
  ])("the page of the ring %s that the balloon takes", (_, gfn) => {
    const all = connected();
    all.domain.physmap.release(gfn);
    all.frontend.notify(all.frontend.port0);
    all.network.deliver([{ bytes: plain(60), checksum: "unknown" }]);
    all.domain.physmap.populate(gfn);
    failed(all);
  });
});

describe("memory that changes under the backend", () => {
  it("a packet that is rewritten after it was sent (XSA-155)", () => {
    const { frontend, network } = connected();
    frontend.transmit(plain(60));
    frontend.writeMemory(frameOf(16), 0, new Uint8Array(60));
    expect(network.sent[0]?.bytes).toEqual(plain(60));
  });

  it("counts of responses that the guest writes", () => {
    const all = connected();
    for (const gfn of [TX_GFN, RX_GFN]) {
      all.frontend.ring(gfn, Sring.rsp_prod, 77);
      all.frontend.ring(gfn, Sring.rsp_event, 0x80000000);
    }
    all.frontend.transmit(plain(60));
    all.network.deliver([{ bytes: plain(60), checksum: "unknown" }]);
    for (const gfn of [TX_GFN, RX_GFN]) {
      expect(all.frontend.ring(gfn, Sring.rsp_prod)).toBe(1);
    }
  });

  it("pages to receive that cannot be used: an error in their slot, and nothing is written", () => {
    const all = connected();
    const { frontend, network, domain } = all;
    const others = frontend.readMemory(frameOf(17), 0, 4096);
    // Not granted, for reading only, the console's, beyond the table, taken by the balloon.
    domain.physmap.release(frameOf(143));
    const fresh = withCard();
    fresh.frontend.connect();
    fresh.domain.physmap.release(frameOf(143));
    fresh.frontend.post(6, { refs: [200, 17, 0, 0xffffffff, 143, 85] });
    fresh.network.deliver(Array(6).fill({ bytes: plain(60), checksum: "unknown" }));
    const got = fresh.frontend.received();
    expect(got.map(({ id, status }) => [id, status])).toEqual([
      ...[0, 1, 2, 3, 4].map((id) => [id, -1]),
      [5, 60],
    ]);
    expect(fresh.frontend.readMemory(frameOf(17), 0, 4096)).toEqual(others);
    expect(fresh.domain.grantTable.inUse).toBe(true);
    fresh.frontend.write("state", "6");
    expect(fresh.domain.grantTable.inUse).toBe(false);
    expect(network.sent).toEqual([]);
  });

  it("a bad page in the middle of a frame keeps the slots of the frame", () => {
    const { frontend, network } = withCard();
    frontend.connect();
    frontend.post(3, { refs: [80, 200, 82] });
    network.deliver([{ bytes: plain(9000), checksum: "unknown" }]);
    expect(frontend.received().map(({ status, flags }) => [status, flags])).toEqual([
      [4096, 4],
      [-1, 4],
      [808, 0],
    ]);
  });

  it("the rings as pages to receive into: the guest's own harm", () => {
    const all = connected();
    const { frontend, network } = all;
    frontend.post(2, { refs: [RX_REF, TX_REF] });
    network.deliver(Array(66).fill({ bytes: plain(4000), checksum: "unknown" }));
    frontend.notify(frontend.port0);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    frontend.post(8);
    works(all);
  });
});

describe("what a guest can make long", () => {
  it("events without requests are for nothing, and work is charged (XSA-332)", () => {
    const all = connected();
    const { frontend, domain } = all;
    domain.takeWork();
    for (let i = 0; i < 1000; i++) frontend.notify(frontend.port0);
    expect(domain.takeWork()).toBe(0);
    frontend.transmit(plain(60));
    expect(domain.takeWork()).toBeGreaterThanOrEqual(100);
    frontend.transmit(ip(4, TCP, plain(60000)), 3, frontend.extra(48));
    expect(domain.takeWork()).toBeGreaterThanOrEqual(125_000);
    works(all);
  });

  it("frames for a guest that posts no pages are bounded (XSA-392)", () => {
    const { frontend, network } = withCard();
    frontend.connect();
    const frame = { bytes: plain(60000), checksum: "unknown" } as const;
    let taken = 0;
    for (let i = 0; i < 100; i++) taken += network.deliver([frame]);
    expect(taken).toBe(5);
    // One free slot, for ever.
    frontend.post(1);
    expect(network.deliver([frame])).toBe(0);
  });
});

describe("connections", () => {
  const keys: [string, Record<string, string>][] = [
    ["no ring to send", { "tx-ring-ref": "" }],
    ["no ring to receive", { "rx-ring-ref": "" }],
    ["the same page twice", { "rx-ring-ref": `${TX_REF}` }],
    ["a ring that is not granted", { "tx-ring-ref": "200" }],
    ["another ring that is not granted", { "rx-ring-ref": "200" }],
    ["a ring for reading only", { "rx-ring-ref": "16" }],
    ["a ring beyond the table", { "rx-ring-ref": "4294967295" }],
    ["the console's ring", { "tx-ring-ref": "0" }],
    ["no port", { "event-channel": "" }],
    ["xenstore's port", { "event-channel": "1" }],
    ["a port that there is not", { "event-channel": "4000" }],
    ["ports that were not offered", { "event-channel": "", "event-channel-tx": "5" }],
    ["page flipping", { "request-rx-copy": "0" }],
  ];
  it.each(keys)("%s: refused, and the next try is free", (_, changes) => {
    const all = withCard();
    const { frontend, domain } = all;
    frontend.connect(1);
    for (const [name, value] of Object.entries(changes)) frontend.write(name, value);
    frontend.write("state", "4");
    expect(frontend.read("state")).toBe("5");
    expect(domain.grantTable.inUse).toBe(false);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    frontend.post(8);
    works(all);
  });

  it("keys of an older kernel that used what is not offered are not looked at", () => {
    const all = withCard();
    const { frontend } = all;
    const stale = { "event-channel-tx": "77", "event-channel-rx": "78" };
    frontend.connect(4, { ...LINUX, ...stale, "multi-queue-num-queues": "4294967295" });
    frontend.post(8);
    works(all);
  });

  it("states that toggle (XSA-350)", () => {
    const all = connected();
    const { frontend, domain } = all;
    for (let i = 0; i < 20; i++) {
      frontend.put({ size: 60 });
      for (const state of ["6", "1", "4", "5", "6", "1"]) frontend.write("state", state);
      expect(domain.grantTable.inUse).toBe(false);
    }
    frontend.connect();
    frontend.post(8);
    works(all);
  });

  it("a port that the guest closes or resets (XSA-368)", () => {
    const all = connected();
    const { frontend, domain, network } = all;
    domain.ports.reset();
    network.deliver([{ bytes: plain(60), checksum: "unknown" }]);
    expect(frontend.received()).toHaveLength(1);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    frontend.post(8);
    works(all);
  });
});

/** One thing that a frontend may do. */
type Step = (all: All) => void;

const anyRef = fc.oneof(
  fc.integer({ min: 14, max: 146 }),
  fc.constantFrom(0, 1, TX_REF, RX_REF, 0xffffffff),
);
const anySize = fc.oneof(fc.nat(70), fc.nat(4096), fc.nat(65535));
const anySlot = fc.record({
  gref: anyRef,
  offset: fc.oneof(fc.constant(0), fc.nat(5000)),
  flags: fc.oneof(fc.constantFrom(0, 0, 1, 3, MORE, EXTRA), fc.nat(65535)),
  id: fc.nat(65535),
  size: anySize,
});
const anyExtra = fc.tuple(fc.nat(3000), fc.nat(4), fc.nat(6), fc.nat(3));
const raw = fc.uint8Array({ minLength: 12, maxLength: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .array(fc.oneof({ weight: 5, arbitrary: anySlot }, raw, anyExtra), { maxLength: 24 })
      .map(
        (slots): Step =>
          ({ frontend }) =>
            frontend.kick(
              ...slots.map((slot) => (Array.isArray(slot) ? frontend.extra(...slot) : slot)),
            ),
      ),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom(4, 6), fc.constantFrom(6, 17), fc.nat(20000), fc.nat(3000), fc.nat(3))
      .map(
        ([version, protocol, length, size, flags]): Step =>
          ({ frontend }) => {
            const bytes = ip(version as 4 | 6, protocol, plain(length));
            const extra = frontend.extra(size, version === 4 ? 1 : 2);
            frontend.transmit(bytes, flags, size > 2000 ? undefined : extra);
          },
      ),
  },
  {
    weight: 6,
    arbitrary: fc.array(anyRef, { maxLength: 20 }).map(
      (refs): Step =>
        ({ frontend }) =>
          frontend.post(refs.length, { refs }),
    ),
  },
  {
    weight: 6,
    arbitrary: fc.integer({ min: 14, max: 65553 }).map(
      (length): Step =>
        ({ network }) =>
          void network.deliver([
            { bytes: plain(length), checksum: "unknown" },
            { bytes: ip(4, TCP, plain(length % 9000)), checksum: "blank", segmentSize: 1448 },
          ]),
    ),
  },
  fc.constant<Step>(({ frontend }) => void frontend.answers()),
  fc.constant<Step>(({ frontend }) => void frontend.received()),
  fc.boolean().map(
    (isFull): Step =>
      ({ network }) => {
        network.isFull = isFull;
        if (!isFull) network.room();
      },
  ),
  fc
    .tuple(
      fc.constantFrom(TX_GFN, RX_GFN),
      fc.constantFrom(0, 4, 8, 12),
      fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer()),
    )
    .map(
      ([gfn, offset, value]): Step =>
        ({ frontend }) =>
          void frontend.ring(gfn, offset, value >>> 0),
    ),
  {
    weight: 15,
    arbitrary: anyCommonStep({
      lastRef: 144,
      nodes: ["tx-ring-ref", "rx-ring-ref", "event-channel", "feature-sg", "feature-rx-notify"],
      values: ["8", "9", "0", "1", ""],
    }),
  },
);

it("any frontend harms itself only", () => {
  const all = withCard();
  const { frontend, network, domain, backend, test } = all;
  // What no grant names: nothing may change there.
  const outside = 0x200;
  frontend.writeMemory(outside, 0, new Uint8Array(8 * 4096).fill(0x5a));
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      frontend.connect();
      frontend.post(16);
      for (const act of steps) act(all);
      backend.resume();
      network.isFull = false;
      network.room();
      expect(frontend.readMemory(outside, 0, 8 * 4096).every((byte) => byte === 0x5a)).toBe(true);
      // Whatever was sent is whole.
      for (const { bytes, checksum, segmentSize } of network.sent) {
        expect([bytes.length >= 14, checksum === "blank", segmentSize]).toEqual([
          true,
          false,
          undefined,
        ]);
      }
      // However it was left: a kernel that begins anew gets its card, and nothing is left in use.
      domain.softReset();
      expect(domain.grantTable.inUse).toBe(false);
      for (let ref = 16; ref < 145; ref++) domain.physmap.populate(frameOf(ref));
      frontend.connect();
      expect(frontend.read("state")).toBe("4");
      frontend.post(8);
      works(all);
    }),
    { seed, numRuns: 60 },
  );
  expect(test.lines.length).toBeLessThan(60 * 40);
});

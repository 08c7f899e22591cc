/**
 * What Xen's security advisories found in block backends, and what a hostile frontend may try beside that: it harms
 * itself, and nothing else. The advisories are named where they are about the same kind of mistake.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlkifOp } from "../../../../abi/xen/blkif.js";
import { Sring } from "../../../../abi/xen/ring.js";
import { seed } from "../../../../base/seed.fixture.js";
import { frameOf } from "../guest.fixture.js";
import { anyCommonStep } from "../hostile.fixture.js";
import { type BlockFrontend, RING_REF, type Seg, withDisk } from "./frontend.fixture.js";

const { READ, WRITE, FLUSH_DISKCACHE } = BlkifOp;

function connected(options: Parameters<typeof withDisk>[0] = {}) {
  const all = withDisk(options);
  all.frontend.connect();
  return all;
}

/** The device works: a request is answered. */
function works({ frontend, disk }: { frontend: BlockFrontend; disk: { settle(): void } }): void {
  frontend.answers();
  frontend.send(frontend.request(READ, 4711n, 0n, [[20, 0, 0]]));
  disk.settle();
  expect(frontend.answers()).toEqual(["4711:0:0"]);
  expect(frontend.inUse()).toEqual([]);
}

const whole: Seg = [16, 0, 7];
const END = 2n ** 64n;

describe("requests that are refused, with nothing done (XSA-155 and others)", () => {
  const cases: [string, (frontend: BlockFrontend) => Uint8Array, number?][] = [
    ["no segment", (f) => f.request(READ, 1n, 0n, [])],
    [
      "12 segments",
      (f) =>
        f.request(
          WRITE,
          1n,
          0n,
          Array.from({ length: 12 }, () => whole),
        ),
    ],
    [
      "255 segments",
      (f) =>
        f.request(
          READ,
          1n,
          0n,
          Array.from({ length: 255 }, () => whole),
        ),
    ],
    [
      "flush with 12 segments",
      (f) =>
        f.request(
          3,
          1n,
          0n,
          Array.from({ length: 12 }, () => whole),
        ),
    ],
    ["first beyond last", (f) => f.request(READ, 1n, 0n, [[16, 5, 4]])],
    ["last beyond the page", (f) => f.request(READ, 1n, 0n, [[16, 0, 8]])],
    ["both beyond the page", (f) => f.request(WRITE, 1n, 0n, [[16, 255, 255]])],
    ["bad segment behind a good one", (f) => f.request(READ, 1n, 0n, [whole, [17, 7, 0]])],
    ["one sector beyond the disk", (f) => f.request(READ, 1n, 57n, [whole])],
    ["begin beyond the disk", (f) => f.request(WRITE, 1n, 64n, [[16, 0, 0]])],
    ["beyond 2^53", (f) => f.request(READ, 1n, 2n ** 55n, [whole])],
    ["wrap around 64 bits", (f) => f.request(WRITE, 1n, END - 8n, [whole])],
    ["the last sector of 64 bits", (f) => f.request(READ, 1n, END - 1n, [[16, 0, 0]])],
    ["flush with data beyond the disk", (f) => f.request(3, 1n, END - 1n, [[16, 0, 0]])],
    ["discard beyond the disk", (f) => f.discard(1n, 60n, 5n)],
    ["discard of 2^64 - 1", (f) => f.discard(1n, 0n, END - 1n)],
    ["discard that wraps", (f) => f.discard(1n, END - 4n, 8n)],
    ["secure discard", (f) => f.discard(1n, 0n, 8n, 1), -2],
    ["no such grant", (f) => f.request(READ, 1n, 0n, [[90, 0, 7]])],
    ["a grant beyond the table", (f) => f.request(READ, 1n, 0n, [[0xffffffff, 0, 7]])],
    ["the console's grant", (f) => f.request(WRITE, 1n, 0n, [[0, 0, 7]])],
    ["xenstore's grant", (f) => f.request(READ, 1n, 0n, [[1, 0, 7]])],
    [
      "a bad grant behind good ones (XSA-361)",
      (f) => f.request(READ, 1n, 0n, [whole, [17, 0, 7], [90, 0, 7]]),
    ],
    ["indirect: no segment", (f) => f.indirect(READ, 1n, 0n, [], { count: 0 })],
    ["indirect: 257 segments", (f) => f.indirect(READ, 1n, 0n, [whole], { count: 257 })],
    ["indirect: 65535 segments", (f) => f.indirect(WRITE, 1n, 0n, [whole], { count: 65535 })],
    ["indirect in indirect", (f) => f.indirect(6, 1n, 0n, [whole])],
    ["indirect flush", (f) => f.indirect(3, 1n, 0n, [whole])],
    ["indirect discard", (f) => f.indirect(5, 1n, 0n, [whole])],
    ["indirect: list not granted", (f) => f.indirect(READ, 1n, 0n, [whole], { pages: [90] })],
    ["indirect: bad segment", (f) => f.indirect(READ, 1n, 0n, [whole, [16, 0, 8]])],
    ["indirect: bad grant", (f) => f.indirect(WRITE, 1n, 0n, [whole, [91, 0, 7]])],
    ["indirect: beyond the disk", (f) => f.indirect(READ, 1n, 60n, [whole])],
  ];

  it.each(cases)("%s", (_, make, status = -1) => {
    const all = connected();
    const { frontend, disk } = all;
    const before = disk.bytes.slice();
    frontend.send(make(frontend));
    expect(frontend.answers().map((answer) => answer.split(":").at(-1))).toEqual([`${status}`]);
    expect(disk.asked).toEqual([]);
    expect(disk.bytes).toEqual(before);
    expect(frontend.inUse()).toEqual([]);
    works(all);
  });

  it("writes to a disk for reading, and reads into pages for reading", () => {
    const all = connected({ readonly: true });
    const { frontend, disk } = all;
    frontend.grant(17, frameOf(17), { flags: 5 });
    frontend.send(
      frontend.request(WRITE, 1n, 0n, [whole]),
      frontend.request(FLUSH_DISKCACHE, 2n, 0n, [whole]),
      frontend.discard(3n, 0n, 8n),
      frontend.request(READ, 4n, 0n, [[17, 0, 7]]),
    );
    expect(frontend.answers()).toEqual(["1:1:-1", "2:3:-1", "3:5:-1", "4:0:-1"]);
    expect(disk.asked).toEqual([]);
    works(all);
  });

  it("a page for reading may be written from", () => {
    const { frontend, disk } = connected();
    frontend.grant(17, frameOf(17), { flags: 5 });
    frontend.send(frontend.request(WRITE, 1n, 0n, [[17, 0, 7]]));
    expect(frontend.flags(17)).toBe(0xd);
    disk.settle();
    expect(frontend.answers()).toEqual(["1:1:0"]);
  });
});

describe("memory that changes under the backend", () => {
  it("a slot that is rewritten after it was taken (XSA-155)", () => {
    const all = connected();
    const { frontend, disk } = all;
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    frontend.writeMemory(0x50, 64, new Uint8Array(112).fill(0xff));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
    expect(frontend.readMemory(frameOf(16), 0, 1)[0]).toBe(4);
    works(all);
  });

  it("a list of segments that is rewritten after it was taken (XSA-155)", () => {
    const all = connected();
    const { frontend, disk } = all;
    frontend.send(frontend.indirect(READ, 1n, 3n, [[16, 1, 1]]));
    frontend.writeMemory(frameOf(79), 0, new Uint8Array(8).fill(0xff));
    disk.settle();
    expect(frontend.readMemory(frameOf(16), 512, 1)[0]).toBe(4);
    works(all);
  });

  it("data that is rewritten after a write was asked for: what was there is written", () => {
    const { frontend, disk } = connected();
    frontend.writeMemory(frameOf(16), 0, new Uint8Array(512).fill(1));
    frontend.send(frontend.request(WRITE, 1n, 0n, [[16, 0, 0]]));
    frontend.writeMemory(frameOf(16), 0, new Uint8Array(512).fill(2));
    disk.settle();
    expect(disk.bytes[0]).toBe(1);
  });

  it("a grant that is taken back, or given to another frame, in use", () => {
    const all = connected();
    const { frontend, disk } = all;
    frontend.send(frontend.request(READ, 1n, 3n, [[16, 0, 0]]));
    const other = frontend.readMemory(0x70, 0, 512);
    frontend.grant(16, 0x70, { flags: 1 });
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
    expect(frontend.readMemory(frameOf(16), 0, 1)[0]).toBe(4);
    expect(frontend.readMemory(0x70, 0, 512)).toEqual(other);
    // The flags that the guest wrote are its own: only the two bits of use are taken away.
    expect(frontend.flags(16)).toBe(1);
  });

  it("a page that the balloon takes while the host reads", () => {
    const all = connected();
    const { frontend, disk, domain } = all;
    frontend.send(
      frontend.request(READ, 1n, 3n, [
        [16, 0, 7],
        [17, 0, 7],
      ]),
    );
    domain.physmap.release(frameOf(17));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:-1"]);
    works(all);
  });

  it("a page that the balloon took before the write", () => {
    const all = connected();
    const { frontend, disk, domain } = all;
    domain.physmap.release(frameOf(17));
    frontend.send(
      frontend.request(WRITE, 1n, 3n, [
        [16, 0, 7],
        [17, 0, 7],
      ]),
    );
    expect([frontend.answers(), disk.asked]).toEqual([["1:1:-1"], []]);
    works(all);
  });

  it("the ring's page that the balloon takes", () => {
    const { frontend, disk, domain, test } = connected();
    frontend.send(frontend.request(READ, 1n, 3n, [whole]));
    domain.physmap.release(0x50);
    disk.settle();
    expect(frontend.read("state")).toBe("5");
    expect(test.lines).toEqual(["xvda: the ring cannot be used any more"]);
    expect(frontend.flags(RING_REF)).toBe(1);
    expect(frontend.inUse()).toEqual([]);
  });

  it("an overlapping read: the same page in every segment, and the ring's own page", () => {
    const all = connected();
    const { frontend, disk } = all;
    frontend.send(frontend.request(READ, 1n, 0n, [whole, whole, whole, [16, 3, 4]]));
    frontend.send(frontend.request(READ, 2n, 0n, [[RING_REF, 7, 7]]));
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0", "2:0:0"]);
    expect(frontend.inUse()).toEqual([]);
    expect(frontend.flags(RING_REF)).toBe(0x19);
    works(all);
  });
});

describe("the ring", () => {
  it.each([
    ["far ahead (XSA-39)", 33],
    ["2^31 ahead", 2 ** 31],
    ["backwards", 2 ** 32 - 1],
  ])("requests that are %s end the connection, with a word on the host", (_, index) => {
    const { frontend, disk, test } = connected();
    frontend.write("state", "4");
    frontend.send(frontend.request(READ, 1n, 0n, [whole]));
    frontend.ring(Sring.req_prod, index);
    frontend.notify(frontend.port0);
    expect(frontend.read("state")).toBe("5");
    expect(frontend.inUse()).toEqual([]);
    frontend.notify(frontend.port0);
    disk.settle();
    expect(frontend.answers()).toEqual([]);
    expect(test.lines).toHaveLength(1);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
  });

  it("the same identifier twice, and identifiers of all 64 bits", () => {
    const { frontend, disk } = connected();
    const id = END - 1n;
    for (let i = 0; i < 3; i++) frontend.send(frontend.request(READ, id, 0n, [whole]));
    disk.settle();
    expect(frontend.answers()).toEqual([`${id}:0:0`, `${id}:0:0`, `${id}:0:0`]);
  });

  it("responses have zeros between their fields (XSA-216)", () => {
    const { frontend, disk } = connected();
    frontend.put(frontend.request(READ, END - 1n, 0n, [whole]).fill(0xff, 24 + 8));
    frontend.send();
    disk.settle();
    const bytes = frontend.readMemory(0x50, 64, 16);
    expect([bytes[9], ...bytes.subarray(12)]).toEqual([0, 0, 0, 0, 0]);
  });

  it("responses that the guest does not read are no more than there are slots", () => {
    const all = connected();
    const { frontend, disk } = all;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 32; i++) frontend.put(frontend.request(READ, 1n, 0n, [whole]));
      frontend.send();
      expect(disk.asked).toHaveLength(32);
      disk.settle();
      expect(frontend.answers()).toHaveLength(32);
    }
    works(all);
  });

  it("events without requests are for nothing, and work is charged (XSA-332)", () => {
    const all = connected();
    const { frontend, domain } = all;
    domain.takeWork();
    for (let i = 0; i < 1000; i++) frontend.notify(frontend.port0);
    expect(domain.takeWork()).toBe(0);
    frontend.send(frontend.request(READ, 1n, 64n, [whole, whole]));
    expect(domain.takeWork()).toBe(300);
    works(all);
  });
});

describe("connections", () => {
  const keys: [string, Record<string, string>][] = [
    ["no ring", { "ring-ref": "" }],
    ["a ring that is not granted", { "ring-ref": "99" }],
    ["a ring beyond the table", { "ring-ref": "4294967295" }],
    ["the console's ring", { "ring-ref": "0" }],
    ["a negative ring", { "ring-ref": "-8" }],
    ["a ring with more words", { "ring-ref": "8 8" }],
    ["no port", { "event-channel": "" }],
    ["port 0", { "event-channel": "0" }],
    ["xenstore's port", { "event-channel": "1" }],
    ["a port that there is not", { "event-channel": "4000" }],
    ["a port of 32 bits", { "event-channel": "4294967295" }],
    ["another protocol", { protocol: "arm-abi" }],
    ["a protocol that is a name of JavaScript", { protocol: "constructor" }],
    ["an endless protocol", { protocol: "x".repeat(2000) }],
    ["an empty protocol", { protocol: "" }],
  ];
  it.each(keys)("%s: refused, and the next try is free", (_, changes) => {
    const { frontend, domain } = withDisk();
    frontend.connect(1);
    for (const [name, value] of Object.entries(changes)) frontend.write(name, value);
    frontend.write("state", "3");
    expect(frontend.read("state")).toBe("5");
    expect(domain.grantTable.inUse).toBe(false);
    // As Linux's backends say it: a number of errno.h, and what is wrong.
    expect(frontend.error()).toMatch(new RegExp(`^22 ${Object.keys(changes)[0]} `));
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
  });

  it("a ring with more requests than it has slots is refused, and the next try is free", () => {
    const { frontend, domain } = withDisk();
    frontend.connect(1);
    frontend.ring(Sring.req_prod, 33);
    frontend.write("state", "3");
    expect([frontend.read("state"), frontend.error()]).toEqual([
      ...["5", "22 the indices of the ring make no sense"],
    ]);
    expect(domain.grantTable.inUse).toBe(false);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
  });

  it("a ring for reading is refused", () => {
    const { frontend } = withDisk();
    frontend.connect(1);
    frontend.grant(RING_REF, 0x50, { flags: 5 });
    frontend.write("state", "3");
    expect(frontend.read("state")).toBe("5");
  });

  it("states that toggle while the host works (XSA-350)", () => {
    const { frontend, disk, domain } = connected();
    frontend.write("state", "4");
    for (let i = 0; i < 20; i++) {
      frontend.send(frontend.request(READ, BigInt(i), 0n, [whole]));
      for (const state of ["6", "1", "3", "5", "6", "1"]) frontend.write("state", state);
      expect(domain.grantTable.inUse).toBe(false);
    }
    expect(disk.asked).toHaveLength(1);
    disk.settle();
    expect(frontend.read("state")).toBe("2");
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
  });

  it("a port that the guest closes or resets (XSA-368)", () => {
    const all = connected();
    const { frontend, disk, domain } = all;
    frontend.send(frontend.request(READ, 1n, 0n, [whole]));
    domain.ports.reset();
    disk.settle();
    expect(frontend.answers()).toEqual(["1:0:0"]);
    frontend.write("state", "6");
    expect(frontend.read("state")).toBe("6");
    frontend.write("state", "1");
    frontend.connect();
    works(all);
  });

  it("a soft reset leaves no use behind that would end another one's (XSA-371)", () => {
    const { frontend, disk, domain } = connected();
    frontend.send(frontend.request(READ, 1n, 0n, [whole]));
    domain.softReset();
    frontend.connect();
    const grant = domain.grants.map(16 as never, false);
    disk.settle();
    expect(frontend.flags(16)).toBe(0x19);
    if (typeof grant !== "number") grant.unmap();
    expect(frontend.flags(16)).toBe(1);
  });
});

/** One thing that a frontend may do. */
type Step = (all: ReturnType<typeof withDisk>) => void;

const anyRef = fc.oneof(
  fc.integer({ min: 14, max: 82 }),
  fc.constantFrom(0, 1, RING_REF, 0xffffffff),
);
const anySegment = fc.tuple(anyRef, fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }));
const anySector = fc.oneof(
  fc.bigInt({ min: 0n, max: 70n }),
  fc.bigInt({ min: 0n, max: END - 1n }),
  fc.constant(END - 1n),
);
const anyId = fc.bigInt({ min: 0n, max: END - 1n });
const anyRequest = fc.tuple(
  fc.oneof(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 255 })),
  anyId,
  anySector,
  fc.array(anySegment, { maxLength: 14 }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: anyRequest.map(
      ([operation, id, sector, segments]): Step =>
        (all) => {
          const { frontend } = all;
          frontend.send(frontend.request(operation, id, sector, segments));
        },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(anyRequest, fc.integer({ min: 0, max: 600 }), anyRef).map(
      ([[operation, id, sector, segments], count, page]): Step =>
        ({ frontend }) =>
          frontend.send(
            frontend.indirect(operation & 7, id, sector, segments, { pages: [page, page], count }),
          ),
    ),
  },
  fc.tuple(anyId, anySector, anySector).map(
    ([id, sector, count]): Step =>
      ({ frontend }) =>
        frontend.send(frontend.discard(id, sector, count)),
  ),
  {
    weight: 4,
    arbitrary: fc.uint8Array({ minLength: 112, maxLength: 112 }).map(
      (bytes): Step =>
        ({ frontend }) =>
          frontend.send(bytes.subarray(0, frontend.width === 64 ? 112 : 108)),
    ),
  },
  {
    weight: 6,
    arbitrary: fc.integer({ min: 0, max: 40 }).map(
      (which): Step =>
        ({ disk }) =>
          disk.asked[which % Math.max(1, disk.asked.length)]?.end(
            which > 35 ? { code: "EIO", message: "bad" } : undefined,
          ),
    ),
  },
  fc.constant<Step>(({ disk }) => disk.settle()),
  fc.constant<Step>(({ frontend }) => void frontend.answers()),
  fc
    .tuple(fc.constantFrom(0, 4, 8, 12), fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer()))
    .map(
      ([offset, value]): Step =>
        ({ frontend }) =>
          void frontend.ring(offset, value >>> 0),
    ),
  {
    weight: 15,
    arbitrary: anyCommonStep({
      lastRef: 80,
      nodes: ["ring-ref", "event-channel", "protocol", "backend"],
      values: ["8", "16", "1", "", "x86_32-abi"],
    }),
  },
);

it.each([64, 32] as const)("any frontend of %i bits harms itself only", (width) => {
  const all = withDisk({ width });
  const { frontend, disk, domain, backend, test } = all;
  // What no grant names: nothing may change there.
  const outside = 0x200;
  frontend.writeMemory(outside, 0, new Uint8Array(8 * 4096).fill(0x5a));
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      frontend.connect();
      for (const act of steps) act(all);
      backend.resume();
      disk.settle();
      expect(frontend.readMemory(outside, 0, 8 * 4096).every((byte) => byte === 0x5a)).toBe(true);
      // However it was left: a kernel that begins anew gets its disk, and nothing is left in use.
      domain.softReset();
      expect(domain.grantTable.inUse).toBe(false);
      for (let ref = 16; ref < 81; ref++) domain.physmap.populate(frameOf(ref));
      frontend.connect();
      expect(frontend.read("state")).toBe("4");
      frontend.answers();
      frontend.send(frontend.request(READ, 1n, 0n, [[20, 0, 0]]));
      disk.settle();
      // A failed flush has made it fail for good.
      expect(frontend.answers()).toEqual([`1:0:${backend.isBroken ? -1 : 0}`]);
    }),
    { seed, numRuns: 60 },
  );
  expect(test.lines.length).toBeLessThan(60 * 40);
});

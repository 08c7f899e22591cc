/** GNTTABOP_copy by public/grant_table.h, with the answers and their order as of Xen's common/grant_table.c. */
import { describe, expect, it } from "vitest";
import { grant_entry_v1 } from "../../../abi/xen/grant-table.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, put, SELF } from "./arguments.fixture.js";

const GRANT_TABLE_OP = 20;
const COPY = 5;
const [SOURCE_GREF, DEST_GREF] = [1, 2] as const;
/** Statuses: GNTST_*. */
const [OKAY, GENERAL_ERROR, BAD_DOMAIN, BAD_GNTREF, PERMISSION_DENIED, BAD_PAGE, BAD_COPY_ARG] = [
  0, -1, -2, -3, -8, -9, -10,
] as const;
/** The domain of the test, and one that there is not. */
const [OWN, OTHER] = [1, 9] as const;

interface End {
  readonly u: number | bigint;
  readonly domid: number;
  readonly offset: number;
}
interface Copy {
  readonly from: End;
  readonly to: End;
  readonly len: number;
  readonly flags: number;
}

const frame = (u: number | bigint, offset = 0, domid: number = SELF): End => ({ u, domid, offset });
/** Grants of the test: 8 and 9 of frames 0x20 and 0x21 to itself; 10 for reading; 11 of no memory; 12 to domain 0. */
const GRANTS = [
  [8, 1, OWN, 0x20],
  [9, 1, OWN, 0x21],
  [10, 5, OWN, 0x22],
  [11, 1, OWN, 0x9000],
  [12, 1, 0, 0x23],
] as const;

function setUp() {
  const test = makeDomain();
  const { domain, call } = test;
  const { memory, grantFrames } = domain;
  for (const [ref, flags, domid, gfn] of GRANTS)
    grantFrames[0]?.write(ref * 8, grant_entry_v1.encode({ flags, domid, frame: gfn }));
  const flagsOf = (ref: number): number => grantFrames[0]?.read(ref * 8, 1)[0] ?? 0;
  const copy = (one: Partial<Copy>, compat = false): number => {
    const { from, to, len, flags }: Copy = {
      ...{ from: frame(0x10), to: frame(0x11), len: 8, flags: 0 },
      ...one,
    };
    const long = compat ? 4 : 8;
    put(domain, [
      ...([from, to] as const).flatMap(
        ({ u, domid, offset }) =>
          [
            [long, u],
            [2, domid],
            [2, offset],
          ] as const,
      ),
      [long, 0x5555],
    ]);
    const tail = AT + (compat ? 16 : 32);
    memory.writeU16(tail, len);
    memory.writeU16(tail + 2, flags);
    memory.writeU16(tail + 4, 0x7777);
    memory.writeU16(tail + 6, 0x6666);
    expect(call(GRANT_TABLE_OP, [COPY, AT, 1], { compat })).toBe(0);
    expect(memory.readU16(tail + 6)).toBe(0x6666);
    return ((memory.readU16(tail + 4) ?? 0) << 16) >> 16;
  };
  const bytes = (gfn: number, offset: number, length: number): number[] => [
    ...(memory.read(gfn * 4096 + offset, length) ?? []),
  ];
  return { ...test, memory, copy, bytes, flagsOf };
}

describe("a copy", () => {
  it.each([
    ["a frame to a frame", frame(0x10, 16), frame(0x11, 32), 0, [0x10, 0x11]],
    ["a frame to a grant", frame(0x10, 16), frame(8, 32), DEST_GREF, [0x10, 0x20]],
    ["a grant to a frame", frame(8, 16), frame(0x11, 32), SOURCE_GREF, [0x20, 0x11]],
    ["a grant to a grant", frame(8, 16), frame(9, 32), SOURCE_GREF | DEST_GREF, [0x20, 0x21]],
    ["a grant for reading", frame(10, 16), frame(0x11, 32), SOURCE_GREF, [0x22, 0x11]],
    ["a grant to itself", frame(8, 16), frame(8, 32), SOURCE_GREF | DEST_GREF, [0x20, 0x20]],
    ["a grant by the own number", frame(8, 16, OWN), frame(0x11, 32), SOURCE_GREF, [0x20, 0x11]],
    // A reference has 32 bits of the union's 64.
    ["a reference", frame(2n ** 32n + 8n, 16), frame(0x11, 32), SOURCE_GREF, [0x20, 0x11]],
  ] as const)("of %s moves its bytes, and leaves no grant in use", (_, from, to, flags, gfns) => {
    for (const compat of [false, true]) {
      const { copy, memory, bytes, domain, flagsOf } = setUp();
      if (compat && Number(from.u) >= 2 ** 32) return;
      const [fromGfn, toGfn] = gfns;
      memory.write(fromGfn * 4096 + 16, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9));
      expect(copy({ from, to, flags }, compat)).toBe(OKAY);
      expect(bytes(toGfn, 31, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
      expect(domain.grantTable.inUse).toBe(false);
      expect([8, 9, 10].map(flagsOf)).toEqual([1, 1, 5]);
    }
  });

  it.each([
    ["a whole page", { len: 4096 }, OKAY],
    ["the last byte", { from: frame(0x10, 4095), to: frame(0x11, 4095), len: 1 }, OKAY],
    ["beyond the source's page", { from: frame(0x10, 4089) }, BAD_COPY_ARG],
    ["beyond the destination's page", { to: frame(0x11, 4089) }, BAD_COPY_ARG],
    ["more than a page", { len: 4097 }, BAD_COPY_ARG],
    ["a frame of nobody", { from: frame(0x9000) }, BAD_PAGE],
    ["to a frame of nobody", { to: frame(0x9000) }, BAD_PAGE],
    ["a frame beyond all addresses", { from: frame(2n ** 40n) }, BAD_PAGE],
    ["to a frame beyond all addresses", { to: frame(2n ** 64n - 1n) }, BAD_PAGE],
    ["a frame of domain 0", { from: frame(0x10, 0, 0) }, PERMISSION_DENIED],
    // Only as DOMID_SELF.
    ["a frame by the own number", { from: frame(0x10, 0, OWN) }, PERMISSION_DENIED],
    ["to a frame by the own number", { to: frame(0x10, 0, OWN) }, PERMISSION_DENIED],
    ["a grant of no domain", { from: frame(8, 0, OTHER), flags: SOURCE_GREF }, BAD_DOMAIN],
    ["to a grant of no domain", { to: frame(8, 0, OTHER), flags: DEST_GREF }, BAD_DOMAIN],
    [
      "a grant of domain 0, which has none",
      { from: frame(8, 0, 0), flags: SOURCE_GREF },
      BAD_GNTREF,
    ],
    ["an empty grant", { from: frame(13), flags: SOURCE_GREF }, GENERAL_ERROR],
    ["a grant to another", { from: frame(12), flags: SOURCE_GREF }, GENERAL_ERROR],
    ["a grant beyond the table", { from: frame(1 << 20), flags: SOURCE_GREF }, BAD_GNTREF],
    ["to a grant for reading", { to: frame(10), flags: DEST_GREF }, GENERAL_ERROR],
    ["a grant of no memory", { from: frame(11), flags: SOURCE_GREF }, BAD_PAGE],
    ["to a grant of no memory", { to: frame(11), flags: DEST_GREF }, BAD_PAGE],
    // The flag of the other end says nothing about this one.
    [
      "a frame with the destination's flag",
      { from: frame(8, 0, OTHER), to: frame(8), flags: DEST_GREF },
      PERMISSION_DENIED,
    ],
  ] as const)("%s: %o is answered %i", (_, one, status) => {
    const { copy, domain, memory, bytes } = setUp();
    for (const gfn of [0x10, 8, 0x20]) memory.write(gfn * 4096, new Uint8Array(4096).fill(gfn));
    expect(copy(one)).toBe(status);
    expect(domain.grantTable.inUse).toBe(false);
    if (status !== OKAY) expect(bytes(0x11, 0, 4096).every((byte) => byte === 0)).toBe(true);
  });

  const badOffset = 4090;
  it.each([
    ["both domains", "the source's grant", frame(13), frame(0x11, 0, 0), PERMISSION_DENIED],
    ["the source's grant", "the destination's frame", frame(13), frame(0x9000), GENERAL_ERROR],
    ["the source's grant", "offsets", frame(13, badOffset), frame(0x11), GENERAL_ERROR],
    ["the destination's frame", "offsets", frame(8, badOffset), frame(0x9000), BAD_PAGE],
    ["the destination's frame", "its offset", frame(8), frame(0x9000, badOffset), BAD_PAGE],
  ] as const)("is asked about %s before %s", (_, __, from, to, status) => {
    const { copy, domain } = setUp();
    expect(copy({ from, to, flags: SOURCE_GREF })).toBe(status);
    expect(domain.grantTable.inUse).toBe(false);
  });
});

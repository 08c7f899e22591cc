/**
 * No access that the TLB does not know goes through: every fast operation that looks into the TLB is
 * tried with an empty one, on both paths, at every address near 0 and in every entry.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { At, GuestCpu, Pte } from "../../src/engine/tests/guest-cpu.fixture.js";
import { pairOps } from "../../tools/build/gen-fast-pairs.mjs";
import {
  aimed,
  type FastCase,
  type FastOp,
  findCases,
  lookups,
  memoryOps,
  OPS,
} from "./fast-cases.js";
import {
  CARRIERS,
  type Carrier,
  type Condition,
  everyAddress,
  type Fault,
  HIGH,
  type Path,
  Sweep,
  someAddresses,
} from "./sweep.js";

const PROBE = 0x340n;
const FETCH = 0x10;
const isPair = (op: FastOp) => op.name.includes("+");
const canonical = (address: bigint) => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

interface Way {
  readonly found: FastCase;
  readonly carrier: Carrier;
  /** From the address that is carried to the one that is accessed. */
  readonly offset: bigint;
  readonly fetch: boolean;
}

/** In which registers an address leads to an access of its own. */
function ways(sweep: Sweep, found: FastCase): Way[] {
  return CARRIERS.flatMap((carrier) => {
    const [fault] = sweep.run(found.code, carrier, BigUint64Array.of(PROBE));
    if (fault?.vector !== 14 || fault.cr2 + 64n < PROBE || fault.cr2 > PROBE + 64n) return [];
    const fetch = (fault.error & FETCH) !== 0;
    return [{ found, carrier, offset: fault.cr2 - PROBE, fetch }];
  });
}

/** What is wrong with the fault of one address; undefined when it is right. */
function wrong(
  { found, offset }: Way,
  condition: Condition,
  address: bigint,
  fault?: Fault,
): string | undefined {
  const at = BigInt.asUintN(64, address + offset);
  const name = `${found.op.name} at ${at.toString(16)}`;
  if (fault === undefined) return `${name}: goes through`;
  const got = `${name}: vector ${fault.vector}, CR2 ${fault.cr2.toString(16)}`;
  if (!canonical(at)) return [12, 13, 17].includes(fault.vector) ? undefined : got;
  if (fault.vector === 14)
    return fault.cr2 === at && (!isAligned(found.op) || at % 16n === 0n) ? undefined : got;
  if (at % 16n === 0n) return got;
  const expected = isAligned(found.op) ? 13 : condition === "alignment checks" ? 17 : 14;
  return fault.vector === expected ? undefined : got;
}

const isAligned = (op: FastOp) => op.body.includes("MISS_ALIGNED");

function sweepAll(sweep: Sweep, all: readonly Way[], addresses: BigUint64Array): string[] {
  return all.flatMap((way) => {
    const faults = sweep.run(way.found.code, way.carrier, addresses);
    return faults
      .flatMap((fault, i) => wrong(way, sweep.condition, addresses[i] as bigint, fault) ?? [])
      .slice(0, 1);
  });
}

let cases: Map<string, FastCase>;
let all: Way[];

beforeAll(async () => {
  const guest = await GuestCpu.create("long64");
  guest.control({ cr4: guest.cpu.cr4 | 0x200n });
  cases = findCases(guest);
  const sweep = await Sweep.create("user", "cached");
  all = memoryOps().flatMap((op) => {
    const found = cases.get(op.name);
    return found ? ways(sweep, found) : [];
  });
}, 300_000);

describe("every fast operation that looks into the TLB", () => {
  it("is what some code is decoded to", () => {
    expect(memoryOps().flatMap((op) => (cases.has(op.name) ? [] : op.name))).toEqual([]);
    expect(memoryOps().length).toBeGreaterThan(400);
  });

  it("has a way to each of its look-ups", () => {
    const missing = memoryOps().flatMap((op) => {
      const mine = all.filter(({ found }) => found.op === op);
      const data = mine.filter(({ fetch }) => !fetch).length;
      const code = mine.length - data;
      const needs = lookups(op);
      // A pair is the text of its parts, as the next test says. A far jump is aimed by its distance.
      const wantData = isPair(op) ? Math.min(needs.data, 1) : needs.data;
      const wantCode = isPair(op) || cases.get(op.name)?.far ? 0 : needs.code;
      return data >= wantData && code >= wantCode
        ? []
        : `${op.name}: ${data} of ${wantData}, ${code} of ${wantCode}`;
    });
    expect(missing).toEqual([]);
  });

  it("is, if it is a pair, both of its parts", () => {
    const alone = OPS.filter((op) => !isPair(op));
    const body = new Map(alone.map((op) => [op.name, op.body]));
    for (const op of pairOps(alone)) {
      const [first, second] = op.name.split("+") as [string, string];
      expect(op.body).toBe(
        `{ ${body.get(first)?.replace("@NEXT", "")} } p += 32; ${body.get(second)}`,
      );
    }
  });

  it.each([
    ["user", "cached", everyAddress()],
    ["user", "each", someAddresses()],
    ["user", "compiled", everyAddress()],
    ["supervisor", "cached", someAddresses()],
    ["supervisor", "compiled", someAddresses()],
    ["alignment checks", "cached", someAddresses()],
    ["data breakpoints", "cached", someAddresses()],
  ] satisfies [Condition, Path, BigUint64Array][])(
    "faults where nothing is mapped: %s, %s",
    async (condition, path, addresses) => {
      const sweep = await Sweep.create(condition, path);
      expect(sweepAll(sweep, all, addresses)).toEqual([]);
      const { REGION } = sweep.guest.vm.counters();
      // Most addresses of each operation are tried by a region. For a user there is another one for the handler; a
      // supervisor's handler goes on to the operation in the same one.
      const most = condition === "user" ? 1 : 0.5;
      if (path === "compiled") expect(REGION).toBeGreaterThan(most * all.length * addresses.length);
    },
    600_000,
  );
});

describe("a direct jump to a page that is not mapped", () => {
  const TARGETS = [0, 1, 0xff1, 0xfff, 0x1000, 0x400000];
  const OPERANDS: readonly Carrier[] = ["rsi", "rax", "rdx"];
  // In one of them, beside -2: together they make each condition true.
  const VALUES = [
    0n,
    1n,
    2n,
    0x101n,
    0x8080n,
    1n << 31n,
    1n << 63n,
    (1n << 31n) - 1n,
    (1n << 63n) - 1n,
    (1n << 64n) - 1n,
    (1n << 64n) - 2n,
  ];
  /** cmp rsi,rdx; nop: the flags of a Jcc that has no comparison of its own. */
  const FLAGS = [0x48, 0x39, 0xd6, 0x90];

  it.each(["user", "supervisor"] as const)("faults: %s", async (condition) => {
    const sweep = await Sweep.create(condition, "cached");
    const jumps = [...cases.values()].filter((found) => found.far && lookups(found.op).code > 0);
    expect(jumps.length).toBeGreaterThan(100);
    const wrongs = jumps.flatMap((found) => {
      const before = found.op.name.startsWith("jcc") ? FLAGS : [];
      return TARGETS.filter((target) => {
        const code = [...before, ...aimed(found, HIGH + At.CODE + before.length, target)];
        const goes = (carrier: Carrier, value: bigint) => {
          const [fault] = sweep.run(code, carrier, BigUint64Array.of(value));
          const fetch = ((fault?.error ?? 0) & FETCH) !== 0;
          return fault?.vector === 14 && fault.cr2 === BigInt(target) && fetch;
        };
        return !VALUES.some((value) => OPERANDS.some((carrier) => goes(carrier, value)));
      }).map((target) => `${found.op.name} to ${target.toString(16)}`);
    });
    expect(wrongs).toEqual([]);
  }, 300_000);
});

describe("what the TLB knew of page 0 before", () => {
  const LOAD = [0x48, 0x8b, 0x16]; // mov rdx,[rsi]
  const STORE = [0x48, 0x89, 0x16]; // mov [rsi],rdx
  const OPERATIONS = [
    LOAD,
    STORE,
    [0x0f, 0x28, 0x16],
    [0x0f, 0x29, 0x16],
    [0x0f, 0x10, 0x16],
    [0x0f, 0x11, 0x16],
  ];
  const FIRST = BigUint64Array.of(0x40n);
  const READ_ONLY = Pte.P | Pte.U;

  /** Touches page 0 with all of the operations. */
  function warm(sweep: Sweep): void {
    sweep.guest.map(0n, BigInt(At.DATA), Pte.P | Pte.W | Pte.U | Pte.G);
    for (const code of [[0x0f, 0x01, 0x3e], ...OPERATIONS])
      expect(sweep.run(code, "rsi", FIRST)).toEqual([undefined]);
  }

  const unmap = (sweep: Sweep) => sweep.guest.put64(sweep.guest.entry(0n), 0n);
  it.each([
    ["INVLPG", [0x0f, 0x01, 0x3e]],
    ["MOV to CR3 without global pages", [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]],
    ["a change of CR4.PGE", [0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0]],
  ])("is forgotten after %s", async (_, flush) => {
    const sweep = await Sweep.create("supervisor", "cached");
    warm(sweep);
    unmap(sweep);
    for (const code of OPERATIONS) {
      const faults = sweep.run([...flush, ...code], "rsi", someAddresses());
      expect(
        faults.filter(
          (fault) => fault?.vector !== 14 && fault?.vector !== 13 && fault?.vector !== 12,
        ),
      ).toEqual([]);
      warm(sweep);
      unmap(sweep);
    }
  });

  it.each([
    ["a change of the slots", (sweep: Sweep) => sweep.guest.vm.core.flushAllVcpus()],
    ["registers set from outside", (sweep: Sweep) => sweep.guest.cpu.syncSregs()],
  ])("is forgotten after %s", async (_, flush) => {
    for (const code of OPERATIONS) {
      const sweep = await Sweep.create("supervisor", "cached");
      warm(sweep);
      unmap(sweep);
      flush(sweep);
      expect(sweep.run(code, "rsi", everyAddress())).not.toContain(undefined);
    }
  });

  it("is asked again for writes when they are to be logged", async () => {
    const sweep = await Sweep.create("supervisor", "cached");
    warm(sweep);
    sweep.guest.map(0n, BigInt(At.DATA), READ_ONLY);
    sweep.guest.vm.core.dropAllWriteTags();
    expect(sweep.run(STORE, "rsi", everyAddress())).not.toContain(undefined);
    expect(sweep.run(LOAD, "rsi", FIRST)).toEqual([undefined]);
  });
});

/**
 * Fast operations in flat 32-bit code: as fast-memory.test.ts, but an address is cut to 32 bits before it is
 * looked up: pages 4 GiB above are mapped, and the upper halves of registers hold something.
 */
import { beforeAll, expect, it } from "vitest";
import { EngineExit } from "../../src/engine/bridge/port.js";
import {
  At,
  CR4,
  GuestCpu,
  PATHS,
  Pte,
  Sel,
  segment,
} from "../../src/engine/tests/guest-cpu.fixture.js";
import { type FastCase, findCases, memoryOps } from "./fast-cases.js";

/** RAM is here, and nothing below. */
const HIGH = 0x80000000;
const CELL = HIGH + At.DATA + 0x800;
const PROBE = 0x340;
const PAGE_FAULT = 14;
const CARRIERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [EAX, ECX, ESP] = [0, 1, 4] as const;
const DISTANT = 0x100000000;

/** A guest whose code, tables and data lie at HIGH. */
class Flat {
  readonly guest: GuestCpu;

  private constructor(guest: GuestCpu) {
    this.guest = guest;
    const { cpu } = guest;
    for (let at = 0; at < At.RAM; at += 0x1000)
      guest.map(BigInt(HIGH + at), BigInt(at), Pte.P | Pte.W | Pte.U);
    // What would be found if an address was not cut to 32 bits.
    for (const at of [0, 0x1000]) guest.map(BigInt(DISTANT + at), 0n, Pte.P | Pte.W | Pte.U);
    for (const at of [0n, 0x200000n]) guest.put64(guest.entry(at, 2), 0n);
    for (let vector = 0; vector < 32; vector++)
      guest.gate(vector, Sel.CODE64, HIGH + At.HANDLERS + vector * 16, 0xe);
    guest.put64(At.TSS + 4, BigInt(HIGH + At.STACK0));
    cpu.setGdt({ base: BigInt(HIGH + At.GDT), limit: 0xff });
    cpu.setIdt({ base: BigInt(HIGH + At.IDT), limit: 0xfff });
    cpu.setSegment(7, {
      ...segment(Sel.TSS, 0, 0x7ff, 11, { s: false }),
      base: BigInt(HIGH + At.TSS),
    });
    guest.control({ cr4: cpu.cr4 | CR4.OSFXSR });
  }

  static async create(decode: (typeof PATHS)[number]): Promise<Flat> {
    return new Flat(await GuestCpu.create("long32", { cpl: 3, decode }));
  }

  /** To privilege level 3, with an empty TLB. */
  #enter(): void {
    const { cpu } = this.guest;
    const more = { dpl: 3, g: true, db: true };
    cpu.setSegment(1, segment(Sel.USER_CODE32, 0, 0xffffffff, 0xb, more));
    for (const n of [0, 2, 3]) cpu.setSegment(n, segment(Sel.USER_DATA, 0, 0xffffffff, 3, more));
    this.guest.control({ rflags: 2n });
  }

  #write(bytes: readonly number[]): void {
    this.guest.bytes(At.CODE, Buffer.from([...bytes, 0xf4]).toString("hex"));
  }

  /** Runs `code` with `address` in one register. CR2 of its page fault; undefined when it went through, or has another fault. */
  run(
    code: readonly number[],
    carrier: number,
    address: number,
    fresh: boolean,
  ): number | undefined {
    const { cpu } = this.guest;
    if (fresh) this.#write(code);
    this.#enter();
    for (const register of CARRIERS) cpu.setGpr(register, BigInt(CELL));
    cpu.setGpr(ECX, 0n);
    cpu.setGpr(EAX, 0n);
    cpu.setGpr(ESP, BigInt(HIGH + At.USER_STACK));
    // Upper halves that 32-bit code does not see.
    cpu.setGpr(carrier, BigInt(address) | BigInt(DISTANT));
    cpu.rip = BigInt(HIGH + At.CODE);
    const exit = this.guest.run(1000);
    const handler = HIGH + At.HANDLERS + PAGE_FAULT * 16 + 1;
    if (exit !== EngineExit.HLT || Number(cpu.rip) !== handler) return undefined;
    // Of the code, or where it jumped to.
    const cr2 = Number(cpu.cr2);
    const place = this.guest.u32(At.STACK0 - 40) - HIGH - At.CODE;
    return (place >= 0 && place < code.length) || place + HIGH + At.CODE === cr2 ? cr2 : undefined;
  }
}

interface Way {
  readonly found: FastCase;
  readonly carrier: number;
  readonly offset: number;
}

const PLACES = [0, 1, 0xff1, 0xffd];
/** Near 0, in each page of the TLB's reach, below 4 GiB so that something wraps. */
const ADDRESSES = [
  ...Array.from({ length: 0x1010 }, (_, at) => at).filter((at) => at % 61 === 0 || at > 0xff0),
  ...Array.from(
    { length: 2048 },
    (_, i) => (i << 12) | (PLACES[i % PLACES.length] as number),
  ).filter((_, i) => i % 13 === 0),
  ...[0, 1, 0x11, 0xff0, 0xff8, 0xfff].map((at) => 0xfffff000 + at),
];

let cases: Map<string, FastCase>;
let ways: Way[];

beforeAll(async () => {
  const guest = await GuestCpu.create("long32");
  guest.control({ cr4: guest.cpu.cr4 | CR4.OSFXSR });
  cases = findCases(guest, 32);
  const flat = await Flat.create("cached");
  ways = memoryOps(32).flatMap((op) => {
    const found = cases.get(op.name);
    if (found === undefined) return [];
    return CARRIERS.flatMap((carrier) => {
      const cr2 = flat.run(found.code, carrier, PROBE, true);
      if (cr2 === undefined || Math.abs(cr2 - PROBE) > 64) return [];
      return [{ found, carrier, offset: cr2 - PROBE }];
    });
  });
}, 300_000);

it("are what some 32-bit code is decoded to, each with a way to its look-up", () => {
  expect(memoryOps(32).flatMap((op) => (cases.has(op.name) ? [] : op.name))).toEqual([]);
  const reached = new Set(ways.map(({ found }) => found.op.name));
  // A direct jump is aimed by its distance: fast-memory.test.ts tries them.
  const missing = memoryOps(32).filter((op) => !reached.has(op.name) && !cases.get(op.name)?.far);
  expect(missing.map((op) => op.name)).toEqual([]);
  expect(memoryOps(32).length).toBeGreaterThan(250);
});

it.each(PATHS)("fault where nothing is mapped, at the address modulo 2^32: %s", async (path) => {
  const flat = await Flat.create(path);
  const wrongs: string[] = [];
  for (const { found, carrier, offset } of ways) {
    let fresh = true;
    for (const address of ADDRESSES) {
      const at = (address + offset) >>> 0;
      const cr2 = flat.run(found.code, carrier, address, fresh);
      fresh = false;
      // What needs an aligned operand raises #GP; across the last page's end, the first byte or that at 0 is named.
      const aligned = found.op.body.includes("MISS_ALIGNED") && at % 16 !== 0;
      if (aligned || cr2 === at || (cr2 === 0 && at > 0xfffffff0)) continue;
      wrongs.push(`${found.op.name} ${carrier}: ${at.toString(16)}, ${cr2?.toString(16)}`);
      break;
    }
  }
  expect(wrongs).toEqual([]);
  const { REGION } = flat.guest.vm.counters();
  if (path === "compiled") expect(REGION).toBeGreaterThan((ways.length * ADDRESSES.length) / 2);
}, 600_000);

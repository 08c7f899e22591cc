import { describe, expect, it } from "vitest";
import type { EngineCounters } from "../bridge/port.js";
import { At, CR4, GuestCpu, le, Pte } from "./guest-cpu.fixture.js";

/** Two pages that share an entry of the TLB: the index takes bits 12 to 22 and 19 to 29 together. */
const ONE = 0x7f00_0000_0000n;
const OTHER = ONE + (1n << 34n);

async function countersAfter(code: string, prepare: (t: GuestCpu) => void = () => undefined) {
  const t = await GuestCpu.create("long64");
  for (const va of [ONE, OTHER, AT_CODE]) t.map(va, BigInt(At.DATA), Pte.P | Pte.W | Pte.A | Pte.D);
  prepare(t);
  t.code(`${code} f4`);
  t.runToHandler();
  return t.vm.counters();
}

/** What a piece of code adds to a counter, in the middle of a longer one. */
async function added(code: string, name: keyof EngineCounters): Promise<number> {
  // Warm: the code's page and the stack have been used.
  const before = await countersAfter("50 58 90");
  return (await countersAfter(`50 58 90 ${code}`))[name] - before[name];
}

const READ_ONE = `48 bb ${le(ONE, 8)} 48 8b 03`;
const READ_OTHER = `48 bb ${le(OTHER, 8)} 48 8b 03`;
/** A page of data that has the index of the code's page. */
const AT_CODE = ONE + BigInt(At.CODE);
const READ_AT_CODE = `48 bb ${le(AT_CODE, 8)} 48 8b 03`;
const LOAD_CR3 = "0f 20 d8 0f 22 d8";

describe("the engine's counters", () => {
  it.each<[string, string, keyof EngineCounters, number]>([
    ["a handler of its own for CMC", "f5", "GENERIC", 1],
    ["a miss and an entry for a page", READ_ONE, "FILL_READ", 1],
    ["no second miss", `${READ_ONE} 48 8b 03`, "MISS", 1],
    ["two pages in one entry", `${READ_ONE} ${READ_OTHER}`, "CONFLICT", 1],
    ["one after the other again", `${READ_ONE} ${READ_OTHER} ${READ_ONE}`, "CONFLICT", 2],
    ["none between code and the data it uses", `${READ_AT_CODE} 90 ${READ_AT_CODE}`, "CONFLICT", 0],
    ["a flush by CR3", LOAD_CR3, "FLUSH", 1],
  ])("count %s", async (_, code, name, times) => {
    expect(await added(code, name)).toBe(times);
  });

  it("a load of CR3 looks at what is not global, and only once", async () => {
    const pages = (bits: bigint) => (t: GuestCpu) => {
      t.control({ cr4: CR4.PAE | CR4.PGE });
      for (let i = 0n; i < 8n; i++) t.map(ONE + i * 0x1000n, BigInt(At.DATA), Pte.P | Pte.A | bits);
    };
    const read = Array.from({ length: 8 }, (_, i) => `48 8b 83 ${le(i * 0x1000)}`).join(" ");
    const code = `48 bb ${le(ONE, 8)} ${read} ${LOAD_CR3} ${LOAD_CR3}`;
    const [local, global] = [
      await countersAfter(code, pages(0n)),
      await countersAfter(code, pages(Pte.G)),
    ];
    expect(local.FLUSHED - global.FLUSHED).toBe(8);
  });
});

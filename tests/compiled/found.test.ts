import { expect, it } from "vitest";
import {
  At,
  GuestCpu,
  type GuestCpuOptions,
  Pte,
} from "../../src/engine/tests/guest-cpu.fixture.js";

/**
 * A page whose fetches have the same entry of the TLB as those of the program's page (bits 12 to 22 and 23 to 33), and where
 * it is in memory at first: what leads from its address there is the same as for the program's page, by 32 bits.
 */
const OTHER = 2n ** 32n + BigInt(At.CODE + (512 << 12));
const OLD = At.CODE + (512 << 12);
/** Another page that it is mapped to later. */
const NEW = At.DATA;
const TURNS = 3000;
const PIECE = 500;

/**
 * Jumps from page to page; then OTHER is mapped to other code.
 * What a jump compares is the page that the entry belongs to: it is that of the jump itself, and what it adds to an address would lead to the old code.
 */
async function run(options: GuestCpuOptions): Promise<bigint[]> {
  const t = await GuestCpu.create("long64", options);
  const u32 = (value: number): string => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes.toString("hex");
  };
  // mov rdx, OTHER; again: inc rax; jmp +0; jmp rdx; back: jmp again
  t.code(`48ba${u32(Number(OTHER & 0xffffffffn))}${u32(1)} 48ffc0 eb00 ffe2 ebf7`);
  // inc rbx, or inc rcx; mov esi, back; jmp rsi
  const rest = `be${u32(At.CODE + 17)} ffe6`;
  t.map(OTHER, BigInt(OLD), Pte.P | Pte.W);
  t.bytes(OLD, `48ffc3 ${rest}`);
  t.bytes(NEW, `48ffc1 ${rest}`);
  const turns = (): void => {
    for (let done = 0; done < TURNS * 7; done += PIECE) t.run(PIECE);
  };
  turns();
  t.put64(t.entry(OTHER), BigInt(NEW) | Pte.P | Pte.W);
  t.control({ cr3: t.cpu.cr3 });
  turns();
  if (options.decode === "compiled") {
    const { LEFT_INDIRECT } = t.vm.counters();
    expect(LEFT_INDIRECT).toBeGreaterThan(TURNS);
  }
  return [0, 1, 3].map((register) => t.reg(register));
}

it.each([
  2, 60,
])("a jump to a page that shares the TLB's entry with its own, %d blocks a region", async (record) => {
  const compile = { sample: 1, threshold: 9, record, batch: 1 };
  expect(await run({ decode: "compiled", compile })).toEqual(await run({ decode: "each" }));
});

import { expect, it } from "vitest";
import {
  At,
  GuestCpu,
  type GuestCpuOptions,
  Pte,
} from "../../src/engine/tests/guest-cpu.fixture.js";

/** A page whose fetches have the same entry of the TLB as those of the program's page. */
const OTHER = At.CODE + (512 << 12);
/** Another page that it is mapped to later. */
const NEW = At.DATA;
const TURNS = 3000;
const PIECE = 500;

/**
 * Jumps from page to page, both of which are mapped to the memory of the same address at first; then OTHER is mapped to other code.
 * What a jump compares is the page that the entry belongs to: it is that of the jump itself, and what it adds to an address would lead to the old code.
 */
async function run(options: GuestCpuOptions): Promise<bigint[]> {
  const t = await GuestCpu.create("long64", options);
  const u32 = (value: number): string => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes.toString("hex");
  };
  // mov edx, OTHER; again: inc rax; jmp +0; jmp rdx; back: jmp again
  t.code(`ba${u32(OTHER)} 48ffc0 eb00 ffe2 ebf7`);
  // inc rbx, or inc rcx; mov esi, back; jmp rsi
  const rest = `be${u32(At.CODE + 12)} ffe6`;
  t.bytes(OTHER, `48ffc3 ${rest}`);
  t.bytes(NEW, `48ffc1 ${rest}`);
  const turns = (): void => {
    for (let done = 0; done < TURNS * 7; done += PIECE) t.run(PIECE);
  };
  turns();
  t.put64(t.entry(BigInt(OTHER)), BigInt(NEW) | Pte.P | Pte.W);
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

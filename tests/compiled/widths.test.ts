import { expect, it } from "vitest";
import {
  At,
  GuestCpu,
  type GuestCpuOptions,
  Sel,
} from "../../src/engine/tests/guest-cpu.fixture.js";

const TURNS = 400;
const LENGTH = 0x30;
const STUB = At.USER_CODE + 0x100;
const ROUTINE = At.USER_CODE + 0x180;

const u32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes.toString("hex");
};
const callFar = (selector: number): string => `9a ${u32(STUB)} ${u32(selector | 3).slice(0, 4)}`;

/**
 * The same bytes are executed as 32-bit and as 64-bit code in turn: `inc r64` of one is `dec eax; inc r32` of the other, and a region
 * that had blocks of both would go on in the wrong ones behind the routine's return.
 */
async function run(options: GuestCpuOptions, piece: number, first: number) {
  const t = await GuestCpu.create("long32", { ...options, cpl: 3 });
  const second = first === Sel.USER_CODE32 ? Sel.USER_CODE64 : Sel.USER_CODE32;
  // mov esi, TURNS; again: call far, twice; dec esi (FF /1, not 48 to 4F); jnz again; jmp to itself
  const calls = callFar(first) + callFar(second);
  t.code(`be ${u32(TURNS)} ${calls} ffce 75ee ebfe`);
  // call routine; inc rcx; inc rbx; retf
  t.bytes(STUB, `e8 ${u32(ROUTINE - STUB - 5)} 48ffc1 48ffc3 cb`);
  // inc rax; inc rdx; ret
  t.bytes(ROUTINE, "48ffc0 48ffc2 c3");
  const all = TURNS * LENGTH;
  for (let done = 0; done < all; done += piece) t.run(Math.min(piece, all - done));
  const registers = Array.from({ length: 8 }, (_, i) => t.reg(i));
  return { state: [t.rip, t.cpu.instructions, ...registers], counters: t.vm.counters() };
}

it.each([
  Sel.USER_CODE32,
  Sel.USER_CODE64,
])("code of both widths at one address, in regions of one (%i first)", async (first) => {
  const expected = await run({ decode: "each" }, 1e6, first);
  for (const threshold of [3, 9]) {
    for (const piece of [1000, 200, 61]) {
      const compile = { sample: 1, threshold, record: 60, batch: 1 };
      const { state, counters } = await run({ decode: "compiled", compile }, piece, first);
      expect(state, `pieces of ${piece}`).toEqual(expected.state);
      expect(counters.COMPILED).toBeGreaterThan(TURNS);
    }
  }
});

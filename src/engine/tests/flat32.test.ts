/** Flat 32-bit code at the ends of the address space, and where the same bytes are other code. On all paths. */
import { describe, expect, it } from "vitest";
import { EngineExit } from "../bridge/port.js";
import { At, GuestCpu, le, PATHS, Pte, Sel } from "./guest-cpu.fixture.js";

const LAST_PAGE = 0xfffff000;
const [V_GP, V_PF] = [13, 14];

/** In compatibility mode; the last page below 4 GiB is that of DATA, and page 0 is behind it. */
async function make(decode: (typeof PATHS)[number]): Promise<GuestCpu> {
  const t = await GuestCpu.create("long32", { decode });
  t.map(BigInt(LAST_PAGE), BigInt(At.DATA), Pte.P | Pte.W);
  return t;
}

/** Runs to a handler in pieces: code is compiled between them. */
function toHandler(t: GuestCpu): number | undefined {
  for (let i = 0; i < 20; i++)
    if (t.run(3) !== EngineExit.BUDGET) return (t.rip - 1 - At.HANDLERS) / 16;
  return t.runToHandler(10_000);
}

describe.each(PATHS)("flat 32-bit code: %s", (decode) => {
  it("goes on at 0 behind the last byte of 4 GiB", async () => {
    const t = await make(decode);
    // inc eax; inc ecx at the end; dec ebx; jnz back to the end; int3 at 0
    t.bytes(At.DATA + 0xffe, "40 41");
    t.bytes(0, `4b 0f 85 ${le(-9)} cc`);
    t.set({ RAX: 0n, RCX: 0n, RBX: 500n });
    t.cpu.rip = BigInt(LAST_PAGE + 0xffe);
    expect(toHandler(t)).toBe(3);
    expect([t.reg(0), t.reg(1), t.reg(3)]).toEqual([500n, 500n, 0n]);
  });

  it("pushes and returns across the end of 4 GiB", async () => {
    const t = await make(decode);
    // mov esp, 2; push 0x11223344; pop edx; mov esp, 4; call next; next: pop esi; dec ebx; jnz back; mov esp, STACK; int3
    t.code(
      `bc 02000000 68 44332211 5a bc 04000000 e8 00000000 5e 4b 0f 85 ${le(-(5 + 5 + 1 + 5 + 5 + 1 + 1 + 6))} bc ${le(At.STACK)} cc`,
    );
    t.put64(0, 0n);
    t.set({ RBX: 300n, RDX: 0n });
    expect(toHandler(t)).toBe(3);
    expect(t.reg(2)).toBe(0x11223344n);
    expect(t.reg(6)).toBe(BigInt(At.CODE + 21));
    // The upper half of what was pushed first lies at 0: the call has written over it.
    expect(t.u32(0)).toBe(At.CODE + 21);
    expect(t.u16(At.DATA + 0xffe)).toBe(0x3344);
  });

  it("does not see the upper halves of registers", async () => {
    const t = await make(decode);
    // add eax, [ebx+ecx*2-8]; dec edx; jnz; int3
    t.code(`03 44 4b f8 4a 0f 85 ${le(-11)} cc`);
    t.put32(At.DATA + 8, 3);
    t.set({
      RAX: 0xffff0000_00000000n,
      RBX: 0x77_00000000n | BigInt(At.DATA),
      RCX: 0x99_00000008n,
      RDX: 0x11_000000c8n,
    });
    expect(toHandler(t)).toBe(3);
    expect([t.reg(0), t.reg(2)]).toEqual([600n, 0n]);
  });

  it("is made anew where a segment has a limit or the code another size", async () => {
    const t = await make(decode);
    t.descriptor(Sel.FREE, 0, 0x1000, 0x93, 4);
    // mov ds, esi; mov eax, [DATA]; dec ebx; jnz back to mov eax; int3
    const body = `8e de a1 ${le(At.DATA)} 4b 0f 85 ${le(-12)} cc`;
    t.code(body);
    t.set({ RBX: 300n, RSI: BigInt(Sel.DATA) });
    expect(toHandler(t)).toBe(3);
    t.cpu.rip = BigInt(At.CODE);
    t.set({ RBX: 300n, RSI: BigInt(Sel.FREE), RSP: BigInt(At.STACK) });
    // The handler was 64-bit code: back to 32-bit code.
    const wide = t.cpu.segment(1);
    t.cpu.setSegment(1, { ...wide, selector: Sel.CODE32, l: false, db: true });
    t.cpu.syncSregs();
    // Not in pieces: single instructions are not looked up.
    expect(t.runToHandler(10_000)).toBe(V_GP);
    t.cpu.setSegment(1, { ...wide, selector: Sel.CODE16, base: BigInt(At.CODE), l: false });
    t.cpu.syncSregs();
    t.cpu.rip = 0n;
    // mov ax, [DATA & 0xffff] is shorter, and what follows is other code.
    t.set({ RBX: 300n, RSI: BigInt(Sel.DATA), RSP: BigInt(At.STACK) });
    expect(t.run(2)).toBe(0);
    expect(t.rip).toBe(5);
  });

  it("faults at an address modulo 2^32", async () => {
    const t = await make(decode);
    t.put64(t.entry(BigInt(At.DATA + 0x1000)), 0n);
    // mov eax, [ebx + 0x7fffffff]
    t.code("8b 83 ff ff ff 7f");
    t.set({ RBX: BigInt(0x80000001 + At.DATA + 0x1000) });
    expect(t.runToHandler(100)).toBe(V_PF);
    expect(t.cpu.cr2).toBe(BigInt(At.DATA + 0x1000));
  });
});

describe("the first instructions of flat 32-bit code", () => {
  /** Steps that a VM takes for a loop of 300 instructions. */
  async function steps(single32: number): Promise<number> {
    const t = await GuestCpu.create("long32", { decode: "cached", single32 });
    // dec ebx; jnz back; int3
    t.code("4b 75 fd cc");
    t.set({ RBX: 150n });
    expect(t.runToHandler(10_000)).toBe(3);
    expect(t.reg(3)).toBe(0n);
    return t.vm.counters().STEP;
  }

  it("are done one by one, as many as is said", async () => {
    const none = await steps(0);
    expect((await steps(100)) - none).toBe(100);
    expect((await steps(17)) - none).toBe(17);
  });
});

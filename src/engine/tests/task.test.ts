import { describe, expect, it } from "vitest";
import { At, Flag, GuestCpu, le, Reg, Sel } from "./guest-cpu.fixture.js";

const TSS_B = 0x3400;

/** A second task of 32 bits at TSS_B, named by Sel.FREE, which runs at `eip`. */
async function twoTasks(eip: number): Promise<GuestCpu> {
  const t = await GuestCpu.create("protected32");
  t.descriptor(Sel.TSS, At.TSS, 0x3ff, 0x8b);
  t.descriptor(Sel.FREE, TSS_B, 0x67, 0x89);
  t.put32(TSS_B + 32, eip);
  t.put32(TSS_B + 36, 2);
  t.put32(TSS_B + 40, 0xaaaa);
  t.put32(TSS_B + 56, 0x28000);
  for (const at of [72, 80, 84, 88, 92]) t.put16(TSS_B + at, Sel.DATA);
  t.put16(TSS_B + 76, Sel.CODE32);
  return t;
}

describe("hardware task switches", () => {
  it("CALL to a TSS nests, IRET comes back", async () => {
    const t = await twoTasks(At.CODE + 0x100);
    t.bytes(At.CODE + 0x100, "89 c3 cf"); // mov ebx,eax; iret
    t.set({ RAX: 0x1111n, RBX: 0x2222n });
    t.code(`9a 00 00 00 00 ${le(Sel.FREE, 2)} f4`);
    expect(t.runToHandler()).toBeUndefined();
    expect([t.reg(Reg.RAX), t.reg(Reg.RBX)]).toEqual([0x1111n, 0x2222n]);
    expect(t.u32(TSS_B + 52)).toBe(0xaaaa); // EBX of the other task, saved by IRET
    expect(t.u16(TSS_B)).toBe(Sel.TSS);
    expect((t.u32(At.GDT + Sel.FREE + 4) >> 8) & 0xff).toBe(0x89);
    expect(t.cpu.cr0 & 8n).toBe(8n);
    expect(t.cpu.segment(7).selector).toBe(Sel.TSS);
  });

  it("JMP leaves the old task available and is not nested", async () => {
    const t = await twoTasks(At.CODE + 0x100);
    t.bytes(At.CODE + 0x100, "f4");
    t.code(`ea 00 00 00 00 ${le(Sel.FREE, 2)} f4`);
    t.runToHandler();
    expect(t.rip).toBe(At.CODE + 0x101);
    expect(t.cpu.rflags & Flag.NT).toBe(0n);
    expect((t.u32(At.GDT + Sel.TSS + 4) >> 8) & 0xff).toBe(0x89);
    expect((t.u32(At.GDT + Sel.FREE + 4) >> 8) & 0xff).toBe(0x8b);
    expect(t.reg(Reg.RSP)).toBe(0x28000n);
  });

  it("a task gate takes an exception with its error code", async () => {
    const t = await twoTasks(At.CODE + 0x100);
    t.bytes(At.CODE + 0x100, "f4");
    t.gate(13, Sel.FREE, 0, 5);
    t.code("66 b8 a8 07 8e d8").runToHandler();
    expect(t.stack(1)).toEqual([0x7a8n]);
    expect(t.u32(At.TSS + 32)).toBe(At.CODE + 4);
    expect(t.cpu.rflags & Flag.NT).toBe(Flag.NT);
  });

  it("refuses a busy task, and one whose TSS is too small", async () => {
    const t = await twoTasks(At.CODE);
    t.descriptor(Sel.FREE, TSS_B, 0x67, 0x8b);
    expect(t.code(`ea 00 00 00 00 ${le(Sel.FREE, 2)}`).runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([BigInt(Sel.FREE)]);
    const u = await twoTasks(At.CODE);
    u.descriptor(Sel.FREE, TSS_B, 0x66, 0x89);
    expect(u.code(`ea 00 00 00 00 ${le(Sel.FREE, 2)}`).runToHandler()).toBe(10);
  });

  it("a bad segment is a fault of the new task", async () => {
    const t = await twoTasks(At.CODE + 0x100);
    t.put16(TSS_B + 84, 0x7a8);
    t.code(`ea 00 00 00 00 ${le(Sel.FREE, 2)}`);
    expect(t.runToHandler()).toBe(10);
    expect(t.stack(2)).toEqual([0x7a8n, BigInt(At.CODE + 0x100)]);
  });
});

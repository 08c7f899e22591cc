import { describe, expect, it } from "vitest";
import { At, CR4, Flag, GuestCpu, le, Pte, Reg } from "./guest-cpu.fixture.js";

const HLT = "f4";
const EXIT_HLT = 1;
const EXIT_MMIO = 3;
const EXIT_SHUTDOWN = 9;
const DEVICE = 0x500000;

/** RFLAGS after POPF of `value`, at a privilege level and with `before` as flags. */
async function popf(cpl: 0 | 3, before: bigint, value: bigint, prefix = ""): Promise<bigint> {
  const t = await GuestCpu.create("long64", { cpl });
  t.control({ rflags: before });
  // push imm32; popf; then INT3 or HLT shows the flags
  t.code(`68 ${le(value)} ${prefix} 9d ${cpl === 3 ? "0f 0b" : HLT}`);
  if (cpl === 0) {
    expect(t.run()).toBe(EXIT_HLT);
    return t.cpu.rflags;
  }
  expect(t.runToHandler()).toBe(6);
  return (t.stack(3)[2] ?? 0n) & ~Flag.RF;
}

describe("POPF", () => {
  const ALL = 0x3f7fd5n & ~Flag.TF & ~Flag.NT;

  it("changes everything but VM, VIF, VIP and RF at privilege level 0", async () => {
    expect(await popf(0, 2n, ALL)).toBe(0x243ed7n);
    expect(await popf(0, 0x243ed7n, 0n)).toBe(2n);
  });

  it("leaves the upper half alone with 16-bit operands", async () => {
    expect(await popf(0, 2n, ALL, "66")).toBe(0x3ed7n);
    expect(await popf(0, 0x240002n, 0n, "66")).toBe(0x240002n);
  });

  it("leaves IOPL, and IF without the privilege, at level 3", async () => {
    expect(await popf(3, 0x202n, ALL)).toBe(0x240ed7n);
    expect(await popf(3, 0x202n, 0n)).toBe(0x202n);
    expect(await popf(3, 0x3202n, 0n)).toBe(0x3002n);
  });

  it("takes AC as SMAP's override at once", async () => {
    for (const [ac, vector] of [
      [0n, 14],
      [Flag.AC, undefined],
    ] as const) {
      const t = await GuestCpu.create("long64");
      for (const at of [At.CODE, At.STACK - 0x1000, At.TSS, At.IDT, At.GDT, At.HANDLERS]) {
        t.map(BigInt(at), BigInt(at), Pte.P | Pte.W);
      }
      t.control({ cr4: t.cpu.cr4 | CR4.SMAP });
      t.set({ RSI: BigInt(At.DATA) }).code(`68 ${le(ac | 2n)} 9d 8b 06 ${HLT}`);
      expect(t.runToHandler()).toBe(vector);
    }
  });
});

describe("instructions with several accesses", () => {
  it("replay a read-modify-write of a device", async () => {
    const t = await GuestCpu.create("long64");
    t.map(BigInt(DEVICE), BigInt(DEVICE), Pte.P | Pte.W | Pte.U);
    t.set({ RDI: BigInt(DEVICE), RAX: 5n }).code(`01 07 ${HLT}`);
    expect(t.run()).toBe(EXIT_MMIO);
    expect(t.cpu.exit.write).toBe(false);
    t.cpu.completeRead(7n);
    expect(t.run()).toBe(EXIT_MMIO);
    expect([t.cpu.exit.write, t.cpu.exit.data, t.cpu.exit.size]).toEqual([true, 12n, 4]);
    t.cpu.completeWrite();
    expect(t.run()).toBe(EXIT_HLT);
  });

  it("push what they read from a device, and pop into it", async () => {
    const t = await GuestCpu.create("long64");
    t.map(BigInt(DEVICE), BigInt(DEVICE), Pte.P | Pte.W | Pte.U);
    t.set({ RDI: BigInt(DEVICE) }).code(`ff 37 8f 47 08 ${HLT}`);
    expect(t.run()).toBe(EXIT_MMIO);
    t.cpu.completeRead(0x1122334455667788n);
    expect(t.run()).toBe(EXIT_MMIO);
    expect([Number(t.cpu.exit.address), t.cpu.exit.data]).toEqual([
      DEVICE + 8,
      0x1122334455667788n,
    ]);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 8));
    t.cpu.completeWrite();
    expect(t.run()).toBe(EXIT_HLT);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK));
  });

  it("keep the stack pointer when POP r/m faults at its destination", async () => {
    const t = await GuestCpu.create("long64");
    t.code(`8f 04 24 8f 05 ${le(0x700000)} ${HLT}`);
    t.put64(At.STACK - 16, 0xabcdn);
    t.set({ RSP: BigInt(At.STACK - 16) });
    expect(t.runToHandler()).toBe(14);
    expect(t.u64(At.STACK - 8)).toBe(0xabcdn); // [rsp] after the increment
    expect(t.stack(5)[4]).toBe(BigInt(At.STACK - 8));
  });

  it("compare and exchange 16 bytes only where they are aligned", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RDI: BigInt(At.DATA + 8) }).code(`f0 48 0f c7 0f ${HLT}`);
    expect(t.runToHandler()).toBe(13);
    t.set({ RDI: BigInt(At.DATA), RBX: 3n, RCX: 4n }).code(`f0 48 0f c7 0f ${HLT}`);
    expect(t.run()).toBe(EXIT_HLT);
    expect([t.u64(At.DATA), t.u64(At.DATA + 8)]).toEqual([3n, 4n]);
    expect(t.cpu.rflags & Flag.ZF).toBe(Flag.ZF);
  });
});

describe("16-bit stacks", () => {
  it("wrap and keep the upper half of ESP", async () => {
    const t = await GuestCpu.create("real");
    t.set({ RSP: 0x12340000n, RAX: 0xbeefn }).code(`50 5b ${HLT}`);
    expect(t.run()).toBe(EXIT_HLT);
    expect([t.reg(Reg.RSP), t.reg(Reg.RBX), t.u16(0x1fffe)]).toEqual([
      0x12340000n,
      0xbeefn,
      0xbeef,
    ]);
  });

  it("shut down where neither a push nor the frame of its #SS fits", async () => {
    const t = await GuestCpu.create("real");
    t.set({ RSP: 1n }).code("50");
    expect(t.run()).toBe(EXIT_SHUTDOWN);
    expect(t.reg(Reg.RSP)).toBe(1n);
  });
});

describe("near branches", () => {
  it("do not leave the code segment", async () => {
    const t = await GuestCpu.create("real");
    // jmp rel32 to 0x10005
    t.code(`66 e9 ${le(0xffff)}`);
    expect(t.runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([0n]);
  });

  it("cut the target to 16 bits", async () => {
    const t = await GuestCpu.create("real");
    t.bytes(At.CODE + 0xfff0, HLT);
    t.code("e9 ed ff");
    expect(t.run()).toBe(EXIT_HLT);
    expect(t.rip).toBe(0xfff1);
  });
});

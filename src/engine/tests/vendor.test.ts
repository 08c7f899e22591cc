/** Where Intel's and AMD's processors answer differently, the engine answers as AMD's: CPUID says so. */
import { describe, expect, it } from "vitest";
import { At, CR4, Flag, GuestCpu, Reg, Sel } from "./guest-cpu.fixture.js";

const HLT = "f4";
const EXIT_HLT = 1;
const UD = 6;
const PF = 14;
const HOLE = At.DATA + 0x2000;

/** A vCPU in 64-bit mode, with RBX at DATA and a page that is not there at HOLE, with RAX. */
async function long(): Promise<GuestCpu> {
  const t = await GuestCpu.create("long64");
  t.put64(t.entry(BigInt(HOLE)), 0n);
  t.control({ cr4: t.cpu.cr4 | CR4.OSFXSR });
  return t.set({ RBX: BigInt(At.DATA), RAX: BigInt(HOLE) });
}

describe("undefined operations", () => {
  it("are PREFETCHW with a register, but not with memory", async () => {
    const t = await long();
    expect(t.code(`0f 0d 0b ${HLT}`).runToHandler()).toBeUndefined();
    expect(t.code(`0f 0d c9 ${HLT}`).runToHandler()).toBe(UD);
  });

  it.each(["b9", "ff"])("are 0F %s without a look at the next byte", async (opcode) => {
    const t = await long();
    t.put64(t.entry(BigInt(At.CODE + 0x1000)), 0n);
    t.bytes(At.CODE + 0xffe, `0f ${opcode}`);
    t.cpu.rip = BigInt(At.CODE + 0xffe);
    expect(t.runToHandler()).toBe(UD);
  });
});

describe("near branches in 64-bit code with 66", () => {
  const NEAR = 0x5000;

  it("cut their target and push 16 bits", async () => {
    const t = await long();
    t.bytes(NEAR, HLT);
    // call from 0x10004 to 0x5000
    expect(t.code("66 e8 fc 4f").run()).toBe(EXIT_HLT);
    expect(t.rip).toBe(NEAR + 1);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 2));
    expect(t.u16(At.STACK - 2)).toBe(4);
  });

  it("return to 16 bits", async () => {
    const t = await long();
    t.bytes(NEAR, HLT);
    t.put64(At.STACK, 0x10005000n);
    expect(t.code("66 c3").run()).toBe(EXIT_HLT);
    expect(t.rip).toBe(NEAR + 1);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK + 2));
  });

  it("ignore it beside REX.W", async () => {
    const t = await long();
    expect(t.code(`66 48 e8 01 00 00 00 90 ${HLT}`).run()).toBe(EXIT_HLT);
    expect(t.rip).toBe(At.CODE + 9);
    expect(t.u64(At.STACK - 8)).toBe(BigInt(At.CODE + 7));
  });
});

it("LFS with REX.W reads an offset of 32 bits", async () => {
  const t = await long();
  t.put64(At.DATA, 0xffff_0000_89ab_cdefn);
  t.put16(At.DATA + 4, Sel.DATA);
  expect(t.code(`48 0f b4 03 ${HLT}`).runToHandler()).toBeUndefined();
  expect(t.reg(Reg.RAX)).toBe(0x89abcdefn);
  expect(t.cpu.segment(4).selector).toBe(Sel.DATA);
});

describe("repeated comparisons that fault leave the flags of the last element before", () => {
  const ARITHMETIC = 0x8d5n;
  const CF_SF_AF_PF = 0x95n;

  /** The arithmetic flags in the frame of the page fault of one instruction (hex). */
  async function flagsAfter(code: string, before: bigint, bytes: number): Promise<bigint> {
    const t = await long();
    t.put64(HOLE - 8, 0x0600_0000_0000_0000n);
    t.put64(At.DATA, 0x0600_0000_0000_0000n);
    t.control({ rflags: 2n | before });
    t.set({ RAX: 1n, RCX: 100n, RSI: BigInt(At.DATA + 8 - bytes), RDI: BigInt(HOLE - bytes) });
    expect(t.code(code).runToHandler()).toBe(PF);
    expect(t.reg(Reg.RCX)).toBe(BigInt(100 - bytes));
    return (t.stack(4)[3] ?? 0n) & ARITHMETIC;
  }

  it("of SCAS", async () => {
    // 1 - 6 = fb, and 1 - 0 = 1 before it.
    expect(await flagsAfter("f2 ae", Flag.ZF, 8)).toBe(CF_SF_AF_PF & ~4n);
    expect(await flagsAfter("f2 ae", Flag.ZF, 1)).toBe(CF_SF_AF_PF & ~4n);
  });

  it("of CMPS", async () => {
    expect(await flagsAfter("f3 a6", Flag.CF, 8)).toBe(Flag.ZF | 4n);
  });

  it("and those from before when there is none", async () => {
    expect(await flagsAfter("f2 ae", Flag.ZF, 0)).toBe(Flag.ZF);
    expect(await flagsAfter("f3 a6", Flag.CF, 0)).toBe(Flag.CF);
  });
});

it("FIST of nothing faults on memory before it notes the stack fault", async () => {
  const t = await long();
  t.put16(At.DATA, 0x37e);
  // fninit; fldcw [rbx]; fist word [rax]; the handler's HLT
  expect(t.code(`db e3 d9 2b df 10 ${HLT}`).runToHandler()).toBe(PF);
  // fnstsw ax shows no exception
  expect(t.code(`df e0 ${HLT}`).runToHandler()).toBeUndefined();
  expect(t.reg(Reg.RAX) & 0xffffn).toBe(0n);
});

it("FSTP writes all of 80 bits or none", async () => {
  const t = await long();
  t.put64(HOLE - 8, 0x1122_3344_5566_7788n);
  // fninit; fld1; fstp tbyte [rax-8]
  expect(t.code(`db e3 d9 e8 db 78 f8 ${HLT}`).runToHandler()).toBe(PF);
  expect(t.u64(HOLE - 8)).toBe(0x1122_3344_5566_7788n);
});

it("MOVSXD to 16 bits reads 32", async () => {
  const t = await long();
  expect(t.code(`66 63 4b 02 ${HLT}`).runToHandler()).toBeUndefined();
  expect(t.code(`66 63 48 fe ${HLT}`).runToHandler()).toBe(PF);
});

it("PUSH of a segment register with 32 bits writes all of them", async () => {
  const t = await GuestCpu.create("protected32");
  t.put32(At.STACK - 4, 0xffffffff);
  expect(t.code(`1e ${HLT}`).runToHandler()).toBeUndefined();
  expect(t.u32(At.STACK - 4)).toBe(Sel.DATA);
});

it("DPPS prefers the NaN of the lowest lane", async () => {
  const t = await long();
  for (let i = 0; i < 4; i++) {
    t.put32(At.DATA + 4 * i, 0x7fc00010 + i);
    t.put32(At.DATA + 16 + 4 * i, 0x3f800000);
  }
  t.code(`0f 10 03 0f 10 4b 10 66 0f 3a 40 c1 ff 0f 11 43 20 ${HLT}`);
  expect(t.runToHandler()).toBeUndefined();
  for (let i = 0; i < 4; i++) expect(t.u32(At.DATA + 32 + 4 * i)).toBe(0x7fc00010);
});

/** What the guest's CPUID hides of the processor, and the instructions that exist mainly for that. */
import { describe, expect, it } from "vitest";
import { HiddenInstruction } from "../bridge/port.js";
import { At, GuestCpu, type Mode, Reg } from "./guest-cpu.fixture.js";

const HLT = "f4";
const UD = 6;
const GP = 13;
const TSC_AUX = 0xc0000103;
const TSD = 4n;
const PVI = 2n;
const ALL = Object.values(HiddenInstruction).reduce((all, bit) => all | bit, 0);

const RDTSCP = "0f 01 f9";
/** invpcid rdx,[rbx]: all contexts. */
const INVPCID = "66 0f 38 82 13";
const RDPID = "f3 0f c7 f8";
const MOVBE = "0f 38 f0 03";

async function guest(mode: Mode = "long64", cpl: 0 | 3 = 0): Promise<GuestCpu> {
  const t = await GuestCpu.create(mode, { cpl });
  t.cpu.writeMsr(TSC_AUX, 0x89abcdefn);
  t.put64(At.DATA, 0x1122334455667788n);
  return t.set({ RBX: BigInt(At.DATA), RDX: 2n, RAX: ~0n });
}

const hide = (t: GuestCpu, instructions: number) => t.cpu.hide({ instructions, cr4: 0n, xcr0: 0n });

describe("hidden instructions", () => {
  it.each([
    ["RDTSCP", RDTSCP],
    ["INVPCID", INVPCID],
    ["RDPID", RDPID],
    ["MOVBE", MOVBE],
  ] as const)("%s is #UD, and the others are not", async (name, code) => {
    const t = await guest();
    expect(t.code(`${code} ${HLT}`).runToHandler()).toBeUndefined();
    hide(t, ALL & ~HiddenInstruction[name]);
    expect(t.code(`${code} ${HLT}`).runToHandler()).toBeUndefined();
    hide(t, HiddenInstruction[name]);
    expect(t.code(`${code} ${HLT}`).runToHandler()).toBe(UD);
    expect(t.stack(1)).toEqual([BigInt(At.CODE)]);
  });

  it("are looked at behind privilege", async () => {
    const t = await guest("long64", 3);
    hide(t, ALL);
    expect(t.code(INVPCID).runToHandler()).toBe(GP);
    const u = await guest("long64", 3);
    hide(u, ALL);
    u.control({ cr4: u.cpu.cr4 | TSD });
    expect(u.code(RDTSCP).runToHandler()).toBe(GP);
  });
});

describe("RDPID", () => {
  it.each(["long64", "protected32"] as const)("gives TSC_AUX in %s", async (mode) => {
    const t = await guest(mode);
    t.code(`${RDPID} ${HLT}`).run();
    expect(t.reg(Reg.RAX)).toBe(0x89abcdefn);
  });
});

describe("MOVBE", () => {
  it.each([
    [16, "66 0f 38 f0 03", 0xffffffffffff8877n],
    [32, "0f 38 f0 03", 0x88776655n],
    [64, "48 0f 38 f0 03", 0x8877665544332211n],
  ])("loads %s bits", async (_bits, code, value) => {
    const t = await guest();
    t.code(`${code} ${HLT}`).run();
    expect(t.reg(Reg.RAX)).toBe(value);
  });

  it.each([
    [16, "66 0f 38 f1 03", 0x112233445566efcdn],
    [32, "0f 38 f1 03", 0x11223344efcdab89n],
    [64, "48 0f 38 f1 03", 0xefcdab8967452301n],
  ])("stores %s bits", async (_bits, code, value) => {
    const t = await guest();
    t.set({ RAX: 0x0123456789abcdefn });
    t.code(`${code} ${HLT}`).run();
    expect(t.u64(At.DATA).toString(16)).toBe(value.toString(16));
  });

  it("has no register form", async () => {
    const t = await guest();
    expect(t.code(`0f 38 f0 c0 ${HLT}`).runToHandler()).toBe(UD);
  });
});

describe("hidden bits", () => {
  const UMIP = 0x800n;

  it("of CR4 fault, and others do not", async () => {
    const t = await guest();
    t.cpu.hide({ instructions: 0, cr4: UMIP, xcr0: 0n });
    t.set({ RAX: t.cpu.cr4 | UMIP });
    expect(t.code(`0f 22 e0 ${HLT}`).runToHandler()).toBe(GP);
    t.cpu.hide({ instructions: 0, cr4: ~UMIP & ~t.cpu.cr4, xcr0: 0n });
    expect(t.code(`0f 22 e0 ${HLT}`).runToHandler()).toBeUndefined();
    expect(t.cpu.cr4 & UMIP).toBe(UMIP);
  });

  it("EFER and TSC_AUX leave run() once something was hidden, other MSRs do not", async () => {
    const t = await guest();
    const rdmsr = (index: number) => {
      t.set({ RCX: BigInt(index) });
      return t.code(`0f 32 ${HLT}`).run();
    };
    const [before, STAR] = [rdmsr(TSC_AUX), 0xc0000081];
    hide(t, 0);
    expect(rdmsr(STAR)).toBe(before);
    expect(rdmsr(TSC_AUX)).not.toBe(before);
    expect(rdmsr(0xc0000080)).not.toBe(before);
    t.cpu.msrExits = true;
    expect(rdmsr(STAR)).not.toBe(before);
    t.cpu.msrExits = false;
    expect(rdmsr(STAR)).toBe(before);
    expect(rdmsr(TSC_AUX)).not.toBe(before);
  });
});

it("CR4.VME and PVI have no effect", async () => {
  const t = await guest("protected32", 3);
  t.control({ cr4: t.cpu.cr4 | PVI | 1n });
  // CLI at CPL 3 would clear VIF.
  expect(t.code("fa").runToHandler()).toBe(GP);
});

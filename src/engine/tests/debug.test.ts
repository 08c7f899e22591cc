import { describe, expect, it } from "vitest";
import { EngineExit } from "../bridge/port.js";
import { At, CR4, Flag, GuestCpu, PATHS, Pte, Reg, Sel } from "./guest-cpu.fixture.js";

const BS = 0x4000n;
const DR6 = 0xffff0ff0n;
/** DR7 for breakpoint 0: type 0 code, 1 write, 3 access; length code 0, 1, 3, 2 for 1, 2, 4, 8. */
const dr7 = (type: number, length = 0): bigint => BigInt(2 | (type << 16) | (length << 18) | 0x400);

/** What a run of `code` from flags and debug registers ends in: #DB at which address, with which DR6. */
async function firstTrap(
  code: string,
  set: (t: GuestCpu) => void,
  mode: "long64" | "protected32" = "long64",
) {
  const t = await GuestCpu.create(mode);
  t.code(code);
  set(t);
  t.cpu.syncSregs();
  const vector = t.runToHandler();
  return { t, vector, rip: Number(t.stack(1)[0]) - At.CODE, dr6: t.cpu.dr(6) };
}

const tf = (t: GuestCpu): void => {
  t.cpu.rflags = 2n | Flag.TF;
};

describe("single-step", () => {
  it("traps after one instruction, and clears TF for the handler", async () => {
    const { t, vector, rip, dr6 } = await firstTrap("90 90 f4", tf);
    expect({ vector, rip, dr6 }).toEqual({ vector: 1, rip: 1, dr6: DR6 | BS });
    expect(t.cpu.rflags & Flag.TF).toBe(0n);
    expect(t.stack(3)[2]).toBe(2n | Flag.TF);
  });

  it("traps after the instruction behind POPF that sets TF", async () => {
    const { rip } = await firstTrap("9c 81 0c 24 00 01 00 00 9d 90 90 f4", () => undefined);
    expect(rip).toBe(10);
  });

  it("traps after a POPF that clears TF", async () => {
    const { rip } = await firstTrap("9d 90 90 f4", (t) => {
      t.set({ RSP: BigInt(At.STACK - 8) });
      t.put64(At.STACK - 8, 2n);
      tf(t);
    });
    expect(rip).toBe(1);
  });

  it("waits for the instruction behind MOV SS", async () => {
    const { rip } = await firstTrap("8e d0 90 90 f4", (t) => {
      t.set({ RAX: BigInt(Sel.DATA) });
      tf(t);
    });
    expect(rip).toBe(3);
  });

  it("does not trap after INT n or a fault", async () => {
    const soft = await firstTrap("cd 80", tf);
    expect(soft.vector).toBe(0x80);
    expect(soft.t.stack(3)[2]).toBe(2n | Flag.TF);
    const fault = await firstTrap("0f 0b", tf);
    expect(fault.vector).toBe(6);
  });

  it("traps after every turn of a repeated string instruction", async () => {
    const { t, rip } = await firstTrap("f3 aa 90", (t) => {
      t.set({ RCX: 3n, RDI: BigInt(At.DATA) });
      tf(t);
    });
    expect(rip).toBe(0);
    expect(t.reg(Reg.RCX)).toBe(2n);
  });

  it("SYSCALL that masks TF does not trap", async () => {
    const { vector } = await firstTrap("0f 05", (t) => {
      t.cpu.writeMsr(0xc0000080, 0xd01n);
      t.cpu.writeMsr(0xc0000081, 8n << 32n);
      t.cpu.writeMsr(0xc0000082, BigInt(At.CODE + 0x100));
      t.cpu.writeMsr(0xc0000084, 0x100n);
      t.bytes(At.CODE + 0x100, "90 f4");
      tf(t);
    });
    expect(vector).toBeUndefined();
  });
});

describe.each(PATHS)("SYSRET (%s)", (decode) => {
  it.each<[string, bigint, bigint, number | undefined]>([
    ["that sets TF traps behind itself", 0n, Flag.TF, 0],
    ["that clears TF does not trap", Flag.TF, 0n, undefined],
    ["that loads RF does not keep it", 0n, Flag.RF, 0],
  ])("%s", async (_, before, after, at) => {
    const t = await GuestCpu.create("long64", { decode });
    t.cpu.writeMsr(0xc0000080, 0xd01n);
    t.cpu.writeMsr(0xc0000081, BigInt(Sel.USER_CODE32) << 48n);
    t.bytes(At.USER_CODE, "90 90 0f 0b");
    t.set({ RCX: BigInt(At.USER_CODE), R11: 2n | after }).code("48 0f 07");
    // A fault before SYSRET's own trap would be a trap of what came before: TF is set here only.
    t.control({ rflags: 2n | before });
    if ((after & Flag.RF) !== 0n) {
      t.cpu.setDr(0, BigInt(At.USER_CODE));
      t.cpu.setDr(7, dr7(0));
    }
    const vector = t.runToHandler();
    if (at === undefined) expect([vector, t.stack(1)]).toEqual([6, [BigInt(At.USER_CODE + 2)]]);
    else expect([vector, t.stack(1)]).toEqual([1, [BigInt(At.USER_CODE + at)]]);
    if (at !== undefined) expect(t.cpu.dr(6) & 0x4001n).toBe(after === Flag.TF ? BS : 1n);
  });
});

describe("breakpoints", () => {
  it("on an instruction: a fault before it, over which RF helps", async () => {
    const { t, vector, rip, dr6 } = await firstTrap("90 90 90 f4", (t) => {
      t.cpu.setDr(0, BigInt(At.CODE + 1));
      t.cpu.setDr(7, dr7(0));
    });
    expect({ vector, rip, dr6 }).toEqual({ vector: 1, rip: 1, dr6: DR6 | 1n });
    t.cpu.rip = BigInt(At.CODE + 1);
    t.control({ rflags: 2n | Flag.RF });
    expect(t.runToHandler()).toBeUndefined();
    expect(t.cpu.rflags & Flag.RF).toBe(0n);
  });

  it.each<[string, number, number, string, number | undefined]>([
    ["write hit by a write", 1, 0, "89 03 90 f4", 2],
    ["write not hit by a read", 1, 0, "8b 03 90 f4", undefined],
    ["access hit by a read", 3, 0, "8b 03 90 f4", 2],
    ["access hit by the end of a wide read", 3, 0, "48 8b 43 fc 90 f4", 4],
    ["access not hit by a neighbour", 3, 3, "8b 43 04 90 f4", undefined],
    ["four bytes cover the last", 1, 3, "88 43 03 90 f4", 3],
    ["eight bytes cover the last", 1, 2, "88 43 07 90 f4", 3],
    ["push", 1, 0, "48 89 dc 48 83 c4 08 50 90 f4", 8],
  ])("data: %s", async (_, type, length, code, at) => {
    const { vector, rip, dr6 } = await firstTrap(code, (t) => {
      t.set({ RBX: BigInt(At.DATA) });
      t.cpu.setDr(0, BigInt(At.DATA));
      t.cpu.setDr(7, dr7(type, length));
    });
    expect(vector).toBe(at === undefined ? undefined : 1);
    if (at !== undefined) expect({ rip, dr6 }).toEqual({ rip: at, dr6: DR6 | 1n });
  });

  it("on a port, with CR4.DE", async () => {
    const { t } = await firstTrap("f4", () => undefined);
    t.cpu.setDr(1, 0x80n);
    t.cpu.setDr(7, 0x0020_0408n);
    t.control({ cr4: CR4.PAE | CR4.DE }).code("e6 80 90 f4");
    expect(t.run()).toBe(2);
    t.cpu.completeWrite();
    expect([t.run(), t.cpu.pendingTraps]).toEqual([0, 2]);
    expect(t.runToHandler()).toBe(1);
    expect(t.stack(1)).toEqual([BigInt(At.CODE + 2)]);
    expect(t.cpu.dr(6) & 0xfn).toBe(2n);
  });

  it("general detect faults on MOV DR, and is switched off for the handler", async () => {
    const { t, vector, rip, dr6 } = await firstTrap("0f 21 c0", (t) => t.cpu.setDr(7, 0x2400n));
    expect({ vector, rip, dr6 }).toEqual({ vector: 1, rip: 0, dr6: DR6 | 0x2000n });
    expect(t.cpu.dr(7)).toBe(0x400n);
  });
});

describe("MOV DR", () => {
  it("keeps the fixed bits of DR6 and DR7", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RAX: 0xffff_ffffn });
    t.code("0f 23 f0 0f 21 f3 31 c0 0f 23 f8 0f 21 f9 f4").runToHandler();
    expect([t.reg(Reg.RBX), t.reg(Reg.RCX)]).toEqual([0xffffefffn, 0x400n]);
  });

  it("DR4 and DR5 are DR6 and DR7 without CR4.DE, and do not exist with it", async () => {
    const t = await GuestCpu.create("long64");
    t.code("0f 21 eb f4").runToHandler();
    expect(t.reg(Reg.RBX)).toBe(t.cpu.dr(7));
    t.control({ cr4: CR4.PAE | CR4.DE });
    expect(t.code("0f 21 eb").runToHandler()).toBe(6);
  });
});

describe("alignment check", () => {
  it("raises #AC at privilege level 3 with AM and AC only", async () => {
    for (const [cr0, rflags, vector] of [
      [0x80050031n, 2n | Flag.AC, 17],
      [0x80010031n, 2n | Flag.AC, 0x80],
      [0x80050031n, 2n, 0x80],
    ] as const) {
      const t = await GuestCpu.create("long64", { cpl: 3 });
      t.gate(0x80, Sel.CODE64, At.HANDLERS + 0x800, 0xe, 3);
      t.control({ cr0, rflags }).set({ RBX: BigInt(At.DATA + 1) });
      expect(t.code("8a 03 8b 03 cd 80").runToHandler()).toBe(vector);
      if (vector === 17) expect(t.stack(2)).toEqual([0n, BigInt(At.USER_CODE + 2)]);
    }
  });
});

describe("code that changes", () => {
  it("is seen at once, in the same block, in another page and across pages", async () => {
    const t = await GuestCpu.create("long64");
    // mov byte [rip+6],0x42; nop; nop...; mov al,0x11 (its immediate is what changes)
    t.code("c6 05 03 00 00 00 42 90 90 b0 11 f4").runToHandler();
    expect(t.reg(Reg.RAX) & 0xffn).toBe(0x42n);
  });

  it("a loop that rewrites its own immediate each time round", async () => {
    const t = await GuestCpu.create("long64");
    // mov ecx,5; L: inc byte [rip+1] (the immediate); add eax,imm8 (starts 0); loop L
    t.set({ RAX: 0n }).code("b9 05 00 00 00 fe 05 02 00 00 00 83 c0 00 e2 f5 f4").runToHandler();
    expect(t.reg(Reg.RAX)).toBe(15n);
  });

  it("written through another mapping of the page", async () => {
    const t = await GuestCpu.create("long64");
    const alias = 0x6000_0000_0000n;
    t.map(alias, BigInt(At.CODE), Pte.P | Pte.W);
    t.set({ RBX: alias + 4n })
      .code("c6 03 77 b0 11 f4")
      .runToHandler();
    expect(t.reg(Reg.RAX) & 0xffn).toBe(0x77n);
  });
});

describe("breakpoints of a debugger outside the guest", () => {
  /** DR7 for breakpoint 1: type 0 code, 1 write, 3 access; one byte. */
  const second = (type: number): number => 0x400 | 8 | (type << 20);
  const watching = async (code: string, type: number, at: number = At.DATA) => {
    const t = await GuestCpu.create("long64");
    t.code(code);
    t.set({ RDI: BigInt(At.DATA), RSI: BigInt(At.DATA), RCX: 3n });
    t.cpu.watch([0n, BigInt(at)], second(type));
    t.cpu.intercept(3);
    return t;
  };

  it("see every access, whether or not it changes anything", async () => {
    // mov al,[rdi]; mov [rdi],al; add byte [rdi],0; nop; hlt
    const seen = async (type: number) => {
      const t = await watching("8a 07 88 07 80 07 00 90 f4", type);
      const stops: number[] = [];
      while (t.run() === EngineExit.DEBUG) {
        expect(t.cpu.exit.dataLow).toBe(0xffff0ff2);
        stops.push(t.rip - At.CODE);
      }
      return stops;
    };
    expect(await seen(1)).toEqual([4, 7]);
    expect(await seen(3)).toEqual([2, 4, 7]);
    expect(await seen(0)).toEqual([]);
  });

  it("are in force instead of the guest's own, and raise nothing in the guest", async () => {
    const t = await watching("88 07 88 07 f4", 1);
    t.cpu.setDr(0, BigInt(At.DATA));
    t.cpu.setDr(7, dr7(1));
    t.cpu.setDr(6, DR6);
    t.cpu.syncSregs();
    expect([t.run(), t.cpu.exit.dataLow, t.rip - At.CODE]).toEqual([16, 0xffff0ff2, 2]);
    expect(t.cpu.dr(6)).toBe(DR6);
    t.cpu.watch([], 0);
    t.cpu.intercept(0);
    expect(t.runToHandler()).toBe(1);
    expect(t.cpu.dr(6)).toBe(DR6 | 1n);
  });

  it("keep INT3, with any prefixes, and leave INT 3 to the guest", async () => {
    const t = await watching("f2 66 cc cd 03", 0, 0);
    expect([t.run(), t.cpu.exit.aux, t.rip - At.CODE]).toEqual([16, 3, 0]);
    t.cpu.rip = BigInt(At.CODE + 3);
    expect(t.runToHandler()).toBe(3);
  });
});

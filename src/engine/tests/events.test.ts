import { describe, expect, it } from "vitest";
import { At, CR0, CR4, EFER, Flag, GuestCpu, le, Pte, Reg, Sel } from "./guest-cpu.fixture.js";

const UD = "0f 0b";
const HLT = "f4";

describe("exceptions in 64-bit mode", () => {
  it("pushes five quadwords, aligned, and clears IF through an interrupt gate", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RSP: BigInt(At.STACK - 3) }).control({ rflags: 0x202n | Flag.CF });
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 16 - 40));
    const saved = 0x202n | Flag.CF | Flag.RF;
    const frame = [At.CODE, Sel.CODE64, saved, At.STACK - 3, Sel.DATA].map(BigInt);
    expect(t.stack(5)).toEqual(frame);
    expect(t.cpu.rflags & Flag.IF).toBe(0n);
    expect(t.cpu.segment(2).selector).toBe(Sel.DATA); // same level: SS stays
  });

  it("leaves IF alone through a trap gate", async () => {
    const t = await GuestCpu.create("long64");
    t.gate(6, Sel.CODE64, At.HANDLERS + 96, 0xf);
    t.control({ rflags: 0x202n });
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.cpu.rflags & Flag.IF).toBe(Flag.IF);
  });

  it("takes RSP0 and a null SS on the way from privilege level 3", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK0 - 40));
    expect(t.stack(5)[3]).toBe(BigInt(At.USER_STACK));
    expect(t.stack(5)[4]).toBe(BigInt(Sel.USER_DATA));
    expect(t.cpu.segment(2).selector).toBe(0);
    expect(t.cpu.cpl).toBe(0);
  });

  it("takes the stack of IST even at the same level", async () => {
    const t = await GuestCpu.create("long64");
    t.gate(6, Sel.CODE64, At.HANDLERS + 96, 0xe, 0, 2);
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.IST + 0x1000 - 40));
  });

  it("pushes an error code for #GP", async () => {
    const t = await GuestCpu.create("long64");
    // mov ax,0x7a8; mov ds,ax: beyond the GDT
    expect(t.code("66 b8 a8 07 8e d8").runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([0x7a8n, BigInt(At.CODE + 4)]);
  });

  it("makes a double fault of a contributory fault during another", async () => {
    const t = await GuestCpu.create("long64");
    t.gate(13, 0, 0, 0xe); // null code selector: #GP while delivering #GP
    t.code("66 b8 a8 07 8e d8");
    expect(t.runToHandler()).toBe(8);
    expect(t.stack(1)).toEqual([0n]);
  });

  it("reports a benign fault's delivery problem as it is", async () => {
    const t = await GuestCpu.create("long64");
    t.put64(At.IDT + 6 * 16, 0n);
    expect(t.code(UD).runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([BigInt(6 * 8 + 2 + 1)]);
  });

  it("says #NP for a gate that is not present", async () => {
    const t = await GuestCpu.create("long64");
    t.put32(At.IDT + 6 * 16 + 4, t.u32(At.IDT + 6 * 16 + 4) & ~0x8000);
    expect(t.code(UD).runToHandler()).toBe(11);
    expect(t.stack(1)).toEqual([BigInt(6 * 8 + 2 + 1)]);
  });

  it("shuts down on a triple fault", async () => {
    const t = await GuestCpu.create("long64");
    t.cpu.setIdt({ base: 0n, limit: 0 });
    t.code(UD);
    expect(t.run()).toBe(9);
    expect(t.rip).toBe(At.CODE);
  });
});

describe("software interrupts", () => {
  it("INT n saves the next instruction's address", async () => {
    const t = await GuestCpu.create("long64");
    expect(t.code("cd 80").runToHandler()).toBe(0x80);
    expect(t.stack(3)).toEqual([At.CODE + 2, Sel.CODE64, 2].map(BigInt));
  });

  it("INT n needs the gate's privilege; the error code has no EXT bit", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    expect(t.code("cd 80").runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([BigInt(0x80 * 8 + 2), BigInt(At.USER_CODE)]);
  });

  it("INT3 passes a gate of DPL 3", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    t.gate(3, Sel.CODE64, At.HANDLERS + 48, 0xe, 3);
    expect(t.code("cc").runToHandler()).toBe(3);
    expect(t.stack(1)).toEqual([BigInt(At.USER_CODE + 1)]);
  });

  it("INT1 does not look at the gate's DPL", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    expect(t.code("f1").runToHandler()).toBe(1);
    expect(t.stack(1)).toEqual([BigInt(At.USER_CODE + 1)]);
  });

  it("INTO traps only with OF", async () => {
    const t = await GuestCpu.create("protected32");
    // xor eax,eax; into; mov al,127; add al,1; into
    expect(t.code("31 c0 ce b0 7f 04 01 ce").runToHandler()).toBe(4);
    expect(t.stack(1)).toEqual([BigInt(At.CODE + 8)]);
  });
});

describe("events in 32-bit protected mode", () => {
  it("pushes EFLAGS, CS, EIP at the same level", async () => {
    const t = await GuestCpu.create("protected32");
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 12));
    expect(t.stack(3)).toEqual([BigInt(At.CODE), BigInt(Sel.CODE32), 2n | Flag.RF]);
  });

  it("switches stacks from privilege level 3", async () => {
    const t = await GuestCpu.create("protected32", { cpl: 3 });
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK0 - 20));
    expect(t.stack(5)).toEqual(
      [At.USER_CODE, Sel.USER_CODE32, 2n | Flag.RF, At.USER_STACK, Sel.USER_DATA].map(BigInt),
    );
    expect(t.cpu.segment(2).selector).toBe(Sel.DATA);
  });

  it("pushes words through a 16-bit gate", async () => {
    const t = await GuestCpu.create("protected32");
    t.gate(6, Sel.CODE32, At.HANDLERS + 96, 6);
    expect(t.code(UD).runToHandler()).toBe(6);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 6));
    expect(t.u16(At.STACK - 6)).toBe(At.CODE & 0xffff);
  });

  it("gives #TS with a bad stack selector in the TSS", async () => {
    const t = await GuestCpu.create("protected32", { cpl: 3 });
    t.put16(At.TSS + 8, Sel.CODE32);
    t.gate(10, Sel.CODE32, At.HANDLERS + 160, 0xe);
    t.code(UD);
    expect(t.run()).toBe(9); // #TS needs the same stack: double, then triple fault
  });

  it("returns by IRET to the same and to an outer level", async () => {
    const t = await GuestCpu.create("protected32");
    // push SS, ESP, EFLAGS, CS, EIP of user code; iret
    const at = At.USER_CODE;
    t.bytes(at, "cd 80");
    t.code(
      `6a ${le(Sel.USER_DATA, 1)} 68 ${le(At.USER_STACK)} 68 ${le(0x202)} 6a ${le(Sel.USER_CODE32, 1)} 68 ${le(at)} cf`,
    );
    t.gate(0x80, Sel.CODE32, At.HANDLERS + 0x800, 0xe, 3);
    expect(t.runToHandler()).toBe(0x80);
    expect(t.stack(5)).toEqual(
      [at + 2, Sel.USER_CODE32, 0x202, At.USER_STACK, Sel.USER_DATA].map(BigInt),
    );
    expect(t.cpu.segment(3).selector).toBe(0); // DS had DPL 0
  });
});

describe("events in real mode", () => {
  it("pushes FLAGS, CS, IP and goes through the vector table", async () => {
    const t = await GuestCpu.create("real");
    t.control({ rflags: 0x202n });
    t.code("cd 21");
    expect(t.runToHandler()).toBe(0x21);
    expect(t.stack(3)).toEqual([2n, BigInt(At.CODE >> 4), 0x202n]);
    expect(t.cpu.rflags & Flag.IF).toBe(0n);
    expect(t.cpu.segment(1).base).toBe(0n);
  });

  it("IRET returns", async () => {
    const t = await GuestCpu.create("real");
    t.bytes(At.HANDLERS + 0x210, "cf");
    t.code(`cd 21 b8 34 12 ${HLT}`);
    expect(t.runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RAX) & 0xffffn).toBe(0x1234n);
    expect(t.cpu.segment(1).selector).toBe(At.CODE >> 4);
  });

  it("#GP beyond the segment limit", async () => {
    const t = await GuestCpu.create("real");
    expect(t.code("a1 ff ff").runToHandler()).toBe(13); // mov ax,[0xffff]
    expect(t.stack(1)).toEqual([0n]);
  });
});

describe("IRET in 64-bit mode", () => {
  const frame = (rip: number, cs: number, flags: number, rsp: number, ss: number): string =>
    [ss, rsp, flags, cs, rip].map((value) => `68 ${le(value)}`).join(" ");

  it("goes to privilege level 3 and back", async () => {
    const t = await GuestCpu.create("long64");
    t.bytes(At.USER_CODE, UD);
    t.code(`${frame(At.USER_CODE, Sel.USER_CODE64, 0x202, At.USER_STACK, Sel.USER_DATA)} 48 cf`);
    expect(t.runToHandler()).toBe(6);
    expect(t.stack(5)).toEqual(
      [At.USER_CODE, Sel.USER_CODE64, 0x202n | Flag.RF, At.USER_STACK, Sel.USER_DATA].map(BigInt),
    );
  });

  it("goes to compatibility mode", async () => {
    const t = await GuestCpu.create("long64");
    t.bytes(At.USER_CODE, `b8 78 56 34 12 48 ${UD}`); // mov eax; dec eax
    t.code(`${frame(At.USER_CODE, Sel.USER_CODE32, 0x202, At.USER_STACK, Sel.USER_DATA)} 48 cf`);
    expect(t.runToHandler()).toBe(6);
    expect(t.reg(Reg.RAX)).toBe(0x12345677n);
    expect(t.stack(2)[1]).toBe(BigInt(Sel.USER_CODE32));
  });

  it("refuses a null SS at privilege level 3, and NT", async () => {
    const t = await GuestCpu.create("long64");
    t.code(`${frame(At.USER_CODE, Sel.USER_CODE64, 0x202, At.USER_STACK, 0)} 48 cf`);
    expect(t.runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([0n]);
    const u = await GuestCpu.create("long64");
    u.control({ rflags: 2n | Flag.NT });
    u.code(`${frame(At.CODE, Sel.CODE64, 2, At.STACK, 0)} 48 cf`);
    expect(u.runToHandler()).toBe(13);
    expect(u.cpu.rflags & Flag.NT).toBe(0n);
  });

  it("always pops SS and RSP, and may load a null SS at level 0", async () => {
    const t = await GuestCpu.create("long64");
    t.bytes(At.CODE + 0x100, HLT);
    t.code(`${frame(At.CODE + 0x100, Sel.CODE64, 2, 0x1f008, 0)} 48 cf`);
    t.runToHandler();
    expect(t.reg(Reg.RSP)).toBe(0x1f008n);
    expect(t.cpu.segment(2).selector).toBe(0);
  });
});

/** What an IRETQ at level 0 pops, and the GDT and flags it meets; what is not named is as usual. */
interface IretCase {
  readonly rip?: bigint;
  readonly cs?: number;
  readonly ss?: number;
  readonly flags?: bigint;
  /** Access byte of the code and of the stack descriptor; limit of both; base of the stack. */
  readonly code?: number;
  readonly stack?: number;
  readonly limit?: number;
  readonly base?: number;
}

/** The state after an IRETQ, and of the handler that it ran into. `warm`: one went before it already. */
async function afterIret(warm: boolean, change: IretCase): Promise<Record<string, unknown>> {
  const t = await GuestCpu.create("long64");
  for (let page = 0; page < At.DATA; page += 0x1000) {
    t.map(BigInt(page), BigInt(page), Pte.P | Pte.W);
  }
  t.control({ cr4: t.cpu.cr4 | CR4.SMAP, rflags: 0x202n });
  const frame = (at: number, values: readonly (bigint | number)[]) => {
    values.forEach((value, i) => {
      t.put64(at + i * 8, BigInt(value));
    });
  };
  const segments = (limit: number, code: number, stack: number, base: number) => {
    t.descriptor(Sel.CODE64, 0, limit, code, 0xa);
    t.descriptor(Sel.DATA, base, limit, stack, 0xc);
  };
  segments(0xfffff, 0x9b, 0x93, 0);
  t.descriptor(Sel.FREE, 0, 0xfffff, 0x9b, 0xa);
  for (let vector = 0; vector < 32; vector++)
    t.gate(vector, Sel.FREE, At.HANDLERS + vector * 16, 0xe);
  const [second, first] = [At.CODE + 0x80, At.CODE + 0x40];
  t.bytes(first, "48 cf");
  // mov rax,[DATA], which is a user page: with RFLAGS.AC only.
  t.bytes(second, `90 48 8b 04 25 ${le(At.DATA)} ${HLT}`);
  // The first frame ends in another IRETQ, with the segments loaded and the table in the TLB.
  frame(At.STACK - 0x100, [first, Sel.CODE64, 0x202, At.STACK - 0x80, Sel.DATA]);
  frame(At.STACK - 0x80, [
    change.rip ?? second,
    change.cs ?? Sel.CODE64,
    change.flags ?? 0x202n,
    At.STACK - 0x20,
    change.ss ?? Sel.DATA,
  ]);
  t.set({ RSP: BigInt(At.STACK - (warm ? 0x100 : 0x80)) });
  if (warm) {
    t.code("48 cf");
    t.run(1);
  } else {
    t.code("90");
    t.cpu.rip = BigInt(first);
  }
  const { limit = 0xfffff, code = 0x9b, stack = 0x93, base = 0 } = change;
  segments(limit, code, stack, base);
  t.run(1);
  const { rip, rflags, cpl } = t.cpu;
  const state = { rip, rflags, cpl, rsp: t.reg(Reg.RSP) };
  const end = t.run(10);
  const table = [t.u64(At.GDT + Sel.CODE64), t.u64(At.GDT + Sel.DATA)];
  return { ...state, end, at: t.rip, cs: t.cpu.segment(1), ss: t.cpu.segment(2), table };
}

describe("IRETQ to the same segments", () => {
  const CASES: Record<string, IretCase> = {
    "an ordinary one": {},
    "RFLAGS.AC set": { flags: 0x40202n },
    "RFLAGS.TF set": { flags: 0x302n },
    "all flags": { flags: 0x3f7fd7n },
    "an address that is not canonical": { rip: 1n << 47n },
    "a data segment as code": { code: 0x93 },
    "code that is not present": { code: 0x1b },
    "code of another level": { code: 0xfb },
    "code that was not accessed": { code: 0x9a },
    "conforming code": { code: 0x9f },
    "a stack that is read-only": { stack: 0x91 },
    "a stack that is not present": { stack: 0x13 },
    "a stack that was not accessed": { stack: 0x92 },
    "a stack with a base": { base: 0x12345678 },
    "another limit": { limit: 0x12345 },
    "a null stack": { ss: 0 },
    "a null stack with RPL": { ss: 3 },
    "a stack with RPL": { ss: Sel.DATA | 3 },
    "code with RPL": { cs: Sel.CODE64 | 3 },
    "code of 32 bits": { cs: Sel.CODE32 },
    "a selector outside of the GDT": { ss: 0xfff0 },
    "a selector of the LDT": { cs: Sel.CODE64 | 4 },
  };
  it.each(
    Object.entries(CASES),
  )("%s: does the same when the tables are in the TLB", async (_, change) => {
    expect(await afterIret(true, change)).toEqual(await afterIret(false, change));
  });
});

describe("injected events", () => {
  it("delivers an interrupt before the next instruction", async () => {
    const t = await GuestCpu.create("long64");
    t.control({ rflags: 0x202n });
    t.code("90 f4");
    t.cpu.injectInterrupt(0x55);
    expect(t.runToHandler()).toBe(0x55);
    expect(t.stack(3)).toEqual([BigInt(At.CODE), BigInt(Sel.CODE64), 0x202n]);
  });

  it("leaves before an IRET that is waited for", async () => {
    const t = await GuestCpu.create("long64");
    t.bytes(At.HANDLERS + 32, "90 48 cf");
    t.code("90 90 f4");
    t.cpu.injectNmi();
    t.cpu.iretExit = true;
    expect(t.run()).toBe(10);
    expect([t.rip, t.run()]).toEqual([At.HANDLERS + 33, 10]);
    t.cpu.iretExit = false;
    expect([t.run(1), t.rip]).toEqual([0, At.CODE]);
  });

  it("leaves before #UD and #AC that the caller takes, with nothing changed", async () => {
    const t = await GuestCpu.create("long64");
    t.code("0f 0b");
    t.cpu.intercept(4);
    expect([t.run(), t.cpu.exit.aux, t.rip]).toEqual([16, 6, At.CODE]);
    t.cpu.intercept(3);
    expect(t.runToHandler()).toBe(6);
  });

  it("holds an interrupt window back for one instruction after STI", async () => {
    const t = await GuestCpu.create("long64");
    t.cpu.requestInterruptWindow = true;
    t.code("fb 90 90 f4");
    expect(t.run()).toBe(5);
    expect(t.rip).toBe(At.CODE + 2);
  });

  it("injects an exception with an error code", async () => {
    const t = await GuestCpu.create("long64");
    t.code(HLT);
    t.cpu.injectException(13, 0);
    expect(t.runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([0n, BigInt(At.CODE)]);
  });
});

describe("virtual-8086 mode", () => {
  async function enter(code: string, iopl: bigint): Promise<GuestCpu> {
    const t = await GuestCpu.create("protected32");
    t.bytes(0x12340, code);
    const flags = Number(Flag.VM | iopl | 2n);
    // push GS FS DS ES SS ESP EFLAGS CS EIP; iret
    const push = [0, 0, 0x2000, 0, 0x1000, 0xf000, flags, 0x1234, 0];
    t.code(`${push.map((value) => `68 ${le(value)}`).join(" ")} cf`);
    t.gate(0x21, Sel.CODE32, At.HANDLERS + 0x210, 0xe, 3);
    return t;
  }

  it("runs 16-bit code and comes back by INT with nine doublewords", async () => {
    const t = await enter("b8 34 12 cd 21", Flag.IOPL3);
    expect(t.runToHandler()).toBe(0x21);
    expect(t.reg(Reg.RAX)).toBe(0x1234n);
    expect(t.stack(9)).toEqual(
      [5n, 0x1234n, Flag.VM | Flag.IOPL3 | 2n, 0xf000n, 0x1000n, 0n, 0x2000n, 0n, 0n].map(BigInt),
    );
    expect(t.cpu.segment(3).selector).toBe(0);
    expect(t.cpu.rflags & Flag.VM).toBe(0n);
    expect(t.cpu.cpl).toBe(0);
  });

  it("refuses INT n, CLI, PUSHF without IOPL 3, but not INT3", async () => {
    for (const code of ["cd 21", "fa", "9c", "cf"]) {
      const t = await enter(code, 0n);
      expect(t.runToHandler()).toBe(13);
      expect(t.stack(2)).toEqual([0n, 0n]);
    }
    const t = await enter("cc", 0n);
    t.gate(3, Sel.CODE32, At.HANDLERS + 48, 0xe, 3);
    expect(t.runToHandler()).toBe(3);
  });

  it("reaches memory by paragraphs", async () => {
    const t = await enter("a1 10 00 cd 21", Flag.IOPL3);
    t.put16(0x20010, 0xbeef);
    t.runToHandler();
    expect(t.reg(Reg.RAX) & 0xffffn).toBe(0xbeefn);
  });
});

describe("entering long mode as a kernel does", () => {
  it("by PAE, EFER.LME, CR0.PG and a far jump", async () => {
    const t = await GuestCpu.create("protected32");
    const top = t.tablePage();
    const pointers = t.tablePage();
    const directory = t.tablePage();
    t.put64(top, BigInt(pointers) | 7n);
    t.put64(pointers, BigInt(directory) | 7n);
    for (let n = 0n; n < 2n; n++) t.put64(directory + Number(n) * 8, (n << 21n) | 0x87n);
    const target = At.CODE + 0x100;
    t.bytes(target, "49 b8 88 77 66 55 44 33 22 11 f4"); // mov r8,imm64
    // mov eax,cr4; or eax,0x20; mov cr4,eax; mov eax,top; mov cr3,eax
    // mov ecx,0xc0000080; rdmsr; or eax,0x100; wrmsr; mov eax,cr0; or eax,1<<31; mov cr0,eax
    t.code(
      `0f 20 e0 83 c8 20 0f 22 e0 b8 ${le(top)} 0f 22 d8 b9 80 00 00 c0 0f 32 0d 00 01 00 00 0f 30
       0f 20 c0 0d 00 00 00 80 0f 22 c0 ea ${le(target)} ${le(Sel.CODE64, 2)}`,
    );
    expect(t.run()).toBe(1);
    expect(t.cpu.gpr(8)).toBe(0x1122334455667788n);
    expect(t.cpu.efer).toBe(EFER.LME | EFER.LMA);
    expect(t.cpu.cr0 & CR0.PG).toBe(CR0.PG);
    expect(t.cpu.longMode64).toBe(true);
  });
});

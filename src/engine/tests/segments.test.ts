import { describe, expect, it } from "vitest";
import { At, CR4, EFER, Flag, GuestCpu, le, Reg, Sel } from "./guest-cpu.fixture.js";

const HLT = "f4";
/** mov ax,selector; mov ds,ax */
const loadDs = (selector: number): string => `66 b8 ${le(selector, 2)} 8e d8`;

describe("limits in protected mode", () => {
  async function withDs(access: number, limit: number, flags: number, code: string) {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, At.DATA, limit, access, flags);
    t.code(`${loadDs(Sel.FREE)} ${code} ${HLT}`);
    return { t, vector: t.runToHandler() };
  }
  it.each<[string, number, number, number, string, number | undefined]>([
    ["last byte", 0x93, 0xfff, 4, "a0 ff 0f 00 00", undefined],
    ["one past", 0x93, 0xfff, 4, "a0 00 10 00 00", 13],
    ["doubleword across", 0x93, 0xfff, 4, "a1 fd 0f 00 00", 13],
    ["page granularity", 0x93, 1, 0xc, "a0 ff 1f 00 00", undefined],
    ["page granularity, past", 0x93, 1, 0xc, "a0 00 20 00 00", 13],
    ["expand-down below", 0x97, 0xfff, 4, "a0 ff 0f 00 00", 13],
    ["expand-down above", 0x97, 0xfff, 4, "a0 00 10 00 00", undefined],
    ["expand-down, 16-bit top", 0x97, 0xfff, 0, "a0 00 00 01 00", 13],
    ["write to read-only data", 0x91, 0xfff, 4, "a2 00 00 00 00", 13],
    ["write to code", 0x9b, 0xfff, 4, "a2 00 00 00 00", 13],
    ["read readable code", 0x9b, 0xfff, 4, "a0 00 00 00 00", undefined],
  ])("%s", async (_, access, limit, flags, code, vector) => {
    const outcome = await withDs(access, limit, flags, code);
    expect(outcome.vector).toBe(vector);
    if (vector !== undefined) expect(outcome.t.stack(1)).toEqual([0n]);
  });

  it("adds the base", async () => {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, At.DATA, 0xfff, 0x93, 4);
    t.put32(At.DATA + 0x10, 0xcafe);
    t.code(`${loadDs(Sel.FREE)} a1 10 00 00 00 f4`).runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0xcafen);
  });

  it("raises #SS for the stack segment", async () => {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, 0, 0x2ff, 0x93, 4);
    t.gate(12, Sel.CODE32, At.HANDLERS + 12 * 16, 0xe);
    // mov ss; mov eax,[ebp]: then the frame cannot be pushed either
    t.set({ RBP: 0x1000n }).code(`66 b8 ${le(Sel.FREE, 2)} 8e d0 8b 45 00`);
    expect(t.run()).toBe(9);
  });

  it("raises #GP through a null segment", async () => {
    const t = await GuestCpu.create("protected32");
    expect(t.code(`${loadDs(0)} a1 10 00 00 00`).runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([0n, BigInt(At.CODE + 6)]);
  });
});

describe("loads of segment registers", () => {
  it.each<[string, number, number | undefined, number]>([
    ["not present", 0x13, 11, Sel.FREE],
    ["system descriptor", 0x89, 13, Sel.FREE],
    ["execute-only code", 0x99, 13, Sel.FREE],
    ["readable code", 0x9b, undefined, 0],
  ])("DS: %s", async (_, access, vector, code) => {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, 0, 0xfffff, access, 0xc);
    t.code(`${loadDs(Sel.FREE)} f4`);
    expect(t.runToHandler()).toBe(vector);
    if (vector !== undefined) expect(t.stack(1)).toEqual([BigInt(code)]);
  });

  it.each<[string, number, number, number | undefined, number]>([
    ["null", 0, 0x93, 13, 0],
    ["wrong RPL", Sel.FREE | 1, 0x93, 13, Sel.FREE],
    ["wrong DPL", Sel.FREE, 0xf3, 13, Sel.FREE],
    ["read-only", Sel.FREE, 0x91, 13, Sel.FREE],
    ["code", Sel.FREE, 0x9b, 13, Sel.FREE],
    ["not present", Sel.FREE, 0x13, 12, Sel.FREE],
    ["good", Sel.FREE, 0x93, undefined, 0],
  ])("SS: %s", async (_, selector, access, vector, code) => {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, 0, 0xfffff, access, 0xc);
    t.code(`66 b8 ${le(selector, 2)} 8e d0 90 f4`);
    expect(t.runToHandler()).toBe(vector);
    if (vector !== undefined) expect(t.stack(1)).toEqual([BigInt(code)]);
  });

  it("MOV to CS does not exist", async () => {
    const t = await GuestCpu.create("protected32");
    expect(t.code("8e c8").runToHandler()).toBe(6);
  });

  it("sets the accessed bit in the table", async () => {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, 0, 0xfffff, 0x92, 0xc);
    t.code(`${loadDs(Sel.FREE)} f4`).runToHandler();
    expect((t.u32(At.GDT + Sel.FREE + 4) >> 8) & 0xff).toBe(0x93);
  });

  it("uses the LDT for selectors with TI", async () => {
    const t = await GuestCpu.create("protected32");
    expect(t.code(loadDs(0x0c)).runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([0xcn]);
    t.descriptor(Sel.FREE, At.LDT, 0x1f, 0x82);
    t.put32(At.LDT + 8, 0xffff);
    t.put32(At.LDT + 12, 0xcf9310);
    t.put32(0x100000 + 0x20, 0x77);
    t.code(`66 b8 ${le(Sel.FREE, 2)} 0f 00 d0 ${loadDs(0x0c)} 8b 05 20 00 00 00 f4`);
    expect(t.runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RAX)).toBe(0x77n);
  });

  it("POP of a segment moves the stack only when the load works", async () => {
    const t = await GuestCpu.create("protected32");
    expect(t.code("68 a8 07 00 00 1f").runToHandler()).toBe(13);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK - 4 - 16));
  });

  it("64-bit code may have a null SS below level 3", async () => {
    const t = await GuestCpu.create("long64");
    expect(t.code("31 c0 8e d0 90 f4").runToHandler()).toBeUndefined();
    const u = await GuestCpu.create("long64", { cpl: 3 });
    expect(u.code("31 c0 8e d0 90").runToHandler()).toBe(13);
  });

  it("LFS loads selector and offset", async () => {
    const t = await GuestCpu.create("long64");
    t.put32(At.DATA, 0x12345678);
    t.put16(At.DATA + 4, Sel.DATA);
    t.set({ RBX: BigInt(At.DATA) })
      .code("0f b4 03 f4")
      .runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0x12345678n);
    expect(t.cpu.segment(4).selector).toBe(Sel.DATA);
  });
});

describe("real mode", () => {
  it("loads paragraphs and keeps limits of protected mode", async () => {
    const t = await GuestCpu.create("real");
    t.put16(0x12340 + 5, 0x4321);
    t.code("b8 34 12 8e d8 a1 05 00 f4").runToHandler();
    expect(t.reg(Reg.RAX) & 0xffffn).toBe(0x4321n);
  });

  it("goes to protected mode and back with big limits", async () => {
    const t = await GuestCpu.create("real");
    t.put16(0x500, 0xff);
    t.put32(0x502, At.GDT);
    t.put32(At.DATA + 0x40000, 0xabcd);
    // lgdt [0x500]; mov eax,cr0; or al,1; mov cr0,eax; mov bx,0x10; mov ds,bx; and al,~1;
    // mov cr0,eax; xor bx,bx; mov ds,bx; mov ebx,0x140000; mov ax,[ebx]
    t.code(
      `0f 01 16 00 05 0f 20 c0 0c 01 0f 22 c0 bb 10 00 8e db 24 fe 0f 22 c0 31 db 8e db
       66 bb 00 00 14 00 67 8b 03 f4`,
    );
    expect(t.runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RAX) & 0xffffn).toBe(0xabcdn);
  });
});

describe("far transfers", () => {
  it("JMP and CALL far to another code segment, RETF back", async () => {
    const t = await GuestCpu.create("protected32");
    const sub = At.CODE + 0x200;
    t.bytes(sub, "b8 01 00 00 00 cb");
    t.code(`9a ${le(sub)} ${le(Sel.CODE32, 2)} f4`);
    expect(t.runToHandler()).toBeUndefined();
    expect(t.rip).toBe(At.CODE + 8);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.STACK));
  });

  it("refuses data, null, more privileged code, and what is not present", async () => {
    const cases: [number, number, number, number][] = [
      [Sel.DATA, 0, 13, Sel.DATA],
      [0, 0, 13, 0],
      [Sel.FREE, 0xfb, 13, Sel.FREE],
      [Sel.FREE, 0x1b, 11, Sel.FREE],
    ];
    for (const [selector, access, vector, code] of cases) {
      const t = await GuestCpu.create("protected32");
      t.descriptor(Sel.FREE, 0, 0xfffff, access, 0xc);
      expect(t.code(`ea 00 00 00 00 ${le(selector, 2)}`).runToHandler()).toBe(vector);
      expect(t.stack(1)).toEqual([BigInt(code)]);
    }
  });

  it("goes through a call gate with parameters to an inner level, and RETF n returns", async () => {
    const t = await GuestCpu.create("protected32", { cpl: 3 });
    const target = At.CODE + 0x300;
    t.put32(At.GDT + Sel.FREE, (Sel.CODE32 << 16) | (target & 0xffff));
    t.put32(At.GDT + Sel.FREE + 4, ((target & 0xffff0000) | 0xec02) >>> 0);
    t.bytes(target, "8b 44 24 08 8b 5c 24 0c ca 08 00"); // mov eax,[esp+8]; mov ebx,[esp+12]; retf 8
    t.gate(0x80, Sel.CODE32, At.HANDLERS + 0x800, 0xe, 3);
    t.code(`68 22 22 00 00 68 11 11 00 00 9a 00 00 00 00 ${le(Sel.FREE | 3, 2)} cd 80`);
    expect(t.runToHandler()).toBe(0x80);
    expect([t.reg(Reg.RAX), t.reg(Reg.RBX)]).toEqual([0x1111n, 0x2222n]);
    expect(t.stack(5)[3]).toBe(BigInt(At.USER_STACK));
  });

  it("goes through a call gate of long mode with a 64-bit frame", async () => {
    const t = await GuestCpu.create("long32", { cpl: 3 });
    const target = At.CODE + 0x300;
    t.put32(At.GDT + Sel.FREE, (Sel.CODE64 << 16) | (target & 0xffff));
    t.put32(At.GDT + Sel.FREE + 4, ((target & 0xffff0000) | 0xec00) >>> 0);
    t.put64(At.GDT + Sel.FREE + 8, 0n);
    t.bytes(target, "f4");
    t.code(`9a 00 00 00 00 ${le(Sel.FREE | 3, 2)}`).runToHandler();
    expect(t.cpu.longMode64).toBe(true);
    expect(t.stack(4)).toEqual(
      [At.USER_CODE + 7, Sel.USER_CODE32, At.USER_STACK, Sel.USER_DATA].map(BigInt),
    );
    expect(t.cpu.segment(2).selector).toBe(0);
  });

  it("RETF to compatibility mode and a 64-bit far jump through memory", async () => {
    const t = await GuestCpu.create("long64");
    t.bytes(At.CODE + 0x100, "40 f4"); // inc eax, in 32-bit code
    t.code(`6a ${le(Sel.CODE32, 1)} 68 ${le(At.CODE + 0x100)} 48 cb`).set({ RAX: 5n });
    t.runToHandler();
    expect(t.reg(Reg.RAX)).toBe(6n);
    expect(t.cpu.longMode64).toBe(false);
  });

  it("refuses a code segment with both L and D", async () => {
    const t = await GuestCpu.create("long64");
    t.descriptor(Sel.FREE, 0, 0xfffff, 0x9b, 0xe);
    expect(t.code(`6a ${le(Sel.FREE, 1)} 6a 00 48 cb`).runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([BigInt(Sel.FREE)]);
  });
});

describe("data segments that a return may not keep", () => {
  /** FS: selector, base, limit and whether it is present, after code that ends in a handler. */
  const fs = (t: GuestCpu) => {
    const { selector, base, limit, present } = t.cpu.segment(4);
    return { selector, base, limit, present };
  };
  /** FS of level 0 with a base; the stack has a frame for level 3. */
  async function inner(frame: number[], code: string): Promise<GuestCpu> {
    const t = await GuestCpu.create("protected32");
    t.descriptor(Sel.FREE, 0x1230, 0x4567, 0x93, 0x4);
    t.gate(0x80, Sel.CODE32, At.HANDLERS + 0x800, 0xe, 3);
    t.bytes(At.USER_CODE, "cd 80");
    frame.forEach((value, i) => {
      t.put32(At.STACK + 4 * i, value);
    });
    t.code(`66 b8 ${le(Sel.FREE, 2)} 8e e0 ${code}`);
    return t;
  }

  it.each([
    ["RETF", [At.USER_CODE, Sel.USER_CODE32, At.USER_STACK, Sel.USER_DATA], "cb"],
    ["IRET", [At.USER_CODE, Sel.USER_CODE32, 2, At.USER_STACK, Sel.USER_DATA], "cf"],
  ])("%s: become null, and keep base and limit", async (_, frame, code) => {
    const t = await inner(frame, code);
    expect(t.runToHandler()).toBe(0x80);
    expect(fs(t)).toEqual({ selector: 0, base: 0x1230n, limit: 0x4567, present: false });
    t.code("64 a1 00 00 00 00");
    expect(t.runToHandler()).toBe(13);
  });

  it.each([0, 1, 3])("a load of selector %i clears the base, as CPUID says", async (selector) => {
    const t = await inner([], `66 b8 ${le(selector, 2)} 8e e0 f4`);
    expect(t.runToHandler()).toBeUndefined();
    expect(fs(t)).toMatchObject({ selector, base: 0n, present: false });
  });
});

describe("questions about selectors", () => {
  const ask = async (op: string, selector: number, access: number, cpl: 0 | 3 = 0) => {
    const t = await GuestCpu.create("protected32", { cpl });
    t.gate(0x80, Sel.CODE32, At.HANDLERS + 0x800, 0xe, 3);
    t.descriptor(Sel.FREE, 0, 0x12345, access, 0x4);
    t.set({ RCX: BigInt(selector), RAX: 0x99n });
    t.code(`${op} cd 80`).runToHandler();
    const flags = t.stack(3)[2] as bigint;
    return { zf: (flags & Flag.ZF) !== 0n, eax: t.reg(Reg.RAX) };
  };
  it("LAR and LSL", async () => {
    expect(await ask("0f 02 c1", Sel.FREE, 0x93)).toEqual({ zf: true, eax: 0x419300n });
    expect(await ask("0f 03 c1", Sel.FREE, 0x93)).toEqual({ zf: true, eax: 0x12345n });
    expect(await ask("0f 03 c1", Sel.FREE, 0x8c)).toEqual({ zf: false, eax: 0x99n });
    expect((await ask("0f 02 c1", Sel.FREE, 0x8c)).zf).toBe(true);
    expect((await ask("0f 02 c1", 0, 0x93)).zf).toBe(false);
    expect((await ask("0f 02 c1", 0x700, 0x93)).zf).toBe(false);
    expect((await ask("0f 02 c1", Sel.FREE, 0x93, 3)).zf).toBe(false);
    expect((await ask("0f 02 c1", Sel.FREE, 0x9f, 3)).zf).toBe(true); // conforming
  });
  it("VERR and VERW", async () => {
    expect((await ask("0f 00 e1", Sel.FREE, 0x91)).zf).toBe(true);
    expect((await ask("0f 00 e9", Sel.FREE, 0x91)).zf).toBe(false);
    expect((await ask("0f 00 e9", Sel.FREE, 0x93)).zf).toBe(true);
    expect((await ask("0f 00 e1", Sel.FREE, 0x99)).zf).toBe(false);
    expect((await ask("0f 00 e1", Sel.FREE, 0x93, 3)).zf).toBe(false);
  });
  it("ARPL", async () => {
    const t = await GuestCpu.create("protected32");
    t.set({ RAX: 0x18n, RCX: 3n }).code("63 c8 f4").runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0x1bn);
    expect(t.cpu.rflags & Flag.ZF).toBe(Flag.ZF);
  });
  it("LTR marks its descriptor busy, and refuses a busy one", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RAX: BigInt(Sel.TSS) }).code("0f 00 d8 0f 00 c8 0f 00 d8");
    t.set({ RCX: 0n });
    expect(t.runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([BigInt(Sel.TSS), BigInt(At.CODE + 6)]);
    expect((t.u32(At.GDT + Sel.TSS + 4) >> 8) & 0xff).toBe(0x8b);
  });
});

describe("system calls", () => {
  async function machine(mode: "long64" | "long32" = "long64"): Promise<GuestCpu> {
    const t = await GuestCpu.create(mode, { cpl: 3 });
    t.cpu.writeMsr(0xc0000080, EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE);
    // Kernel CS 0x08; SYSRET: 0x23 for 32-bit code, 0x2b SS, 0x33 for 64-bit code.
    t.cpu.writeMsr(0xc0000081, (0x23n << 48n) | (0x08n << 32n));
    t.cpu.writeMsr(0xc0000082, BigInt(At.CODE));
    t.cpu.writeMsr(0xc0000083, BigInt(At.CODE + 0x800));
    t.cpu.writeMsr(0xc0000084, 0x47700n);
    return t;
  }

  it("SYSCALL and SYSRET from 64-bit code", async () => {
    const t = await machine();
    t.control({ rflags: 0x202n | Flag.CF });
    t.bytes(At.CODE, "48 89 c8 48 0f 07"); // mov rax,rcx; sysretq
    t.code("0f 05 0f 0b");
    expect(t.run(1)).toBe(0);
    expect(t.rip).toBe(At.CODE);
    expect(t.reg(Reg.R11)).toBe(0x203n);
    expect(t.cpu.rflags).toBe(3n);
    expect([t.cpu.cpl, t.cpu.segment(1).selector, t.cpu.segment(2).selector]).toEqual([0, 8, 16]);
    expect(t.run(2)).toBe(0);
    expect(t.reg(Reg.RAX)).toBe(BigInt(At.USER_CODE + 2));
    expect([t.cpu.cpl, t.cpu.segment(1).selector, t.cpu.segment(2).selector]).toEqual([
      3, 0x33, 0x2b,
    ]);
    expect(t.cpu.rflags).toBe(0x203n);
    expect(t.cpu.longMode64).toBe(true);
  });

  it("SYSCALL from compatibility mode goes to CSTAR, SYSRET back to it", async () => {
    const t = await machine("long32");
    t.bytes(At.CODE + 0x800, "0f 07");
    t.code("0f 05 40");
    expect(t.run(1)).toBe(0);
    expect(t.rip).toBe(At.CODE + 0x800);
    expect(t.cpu.longMode64).toBe(true);
    expect(t.run(2)).toBe(0);
    expect(t.cpu.longMode64).toBe(false);
    expect(t.cpu.segment(1).selector).toBe(0x23);
    expect(t.rip).toBe(At.USER_CODE + 3);
  });

  it("does not exist without SCE; SYSRET needs level 0; SYSENTER not in long mode", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    expect(t.code("0f 05").runToHandler()).toBe(6);
    const u = await machine();
    expect(u.code("0f 07").runToHandler()).toBe(13);
    const v = await machine();
    expect(v.code("0f 34").runToHandler()).toBe(6);
  });

  it("SYSENTER and SYSEXIT in protected mode", async () => {
    const t = await GuestCpu.create("protected32", { cpl: 3 });
    // The layout that SYSEXIT wants: CS, SS, user CS, user SS.
    t.descriptor(Sel.FREE, 0, 0xfffff, 0x9b, 0xc);
    t.cpu.writeMsr(0x174, BigInt(Sel.FREE));
    t.cpu.writeMsr(0x175, BigInt(At.STACK));
    t.cpu.writeMsr(0x176, BigInt(At.CODE));
    t.bytes(At.CODE, "0f 35");
    t.set({ RCX: BigInt(At.USER_STACK - 64), RDX: BigInt(At.USER_CODE + 0x40) });
    t.code("0f 34");
    expect(t.run(1)).toBe(0);
    expect([t.rip, t.cpu.cpl, t.cpu.segment(2).selector]).toEqual([At.CODE, 0, Sel.FREE + 8]);
    expect(t.run(1)).toBe(0);
    expect([t.rip, t.cpu.cpl]).toEqual([At.USER_CODE + 0x40, 3]);
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.USER_STACK - 64));
    expect(t.cpu.segment(1).selector).toBe((Sel.FREE + 16) | 3);
  });

  it("SWAPGS and the base instructions", async () => {
    const t = await GuestCpu.create("long64");
    t.cpu.writeMsr(0xc0000102, 0x1234n);
    t.control({ cr4: CR4.PAE | CR4.FSGSBASE });
    // swapgs; rdgsbase rax; wrfsbase rbx; rdfsbase ecx
    t.set({ RBX: 0xffff_8000_0000_0000n });
    t.code("0f 01 f8 f3 48 0f ae c8 f3 48 0f ae d3 f3 0f ae c1 f4").runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0x1234n);
    expect(t.cpu.segment(4).base).toBe(0xffff_8000_0000_0000n);
    expect(t.reg(Reg.RCX)).toBe(0n);
    t.set({ RBX: 1n << 47n });
    expect(t.code("f3 48 0f ae d3").runToHandler()).toBe(13);
    t.control({ cr4: CR4.PAE });
    expect(t.code("f3 48 0f ae c8").runToHandler()).toBe(6);
  });
});

describe("privileged instructions", () => {
  it.each([
    ["CLI", "fa"],
    ["STI", "fb"],
    ["HLT", "f4"],
    ["CLTS", "0f 06"],
    ["INVLPG", "0f 01 3b"],
    ["LGDT", "0f 01 13"],
    ["LMSW", "0f 01 f0"],
    ["LTR", "0f 00 d8"],
    ["MOV CR0", "0f 20 c0"],
    ["MOV CR8", "44 0f 22 c0"],
    ["MOV DR7", "0f 21 f8"],
    ["RDMSR", "0f 32"],
    ["WRMSR", "0f 30"],
    ["WBINVD", "0f 09"],
    ["SWAPGS", "0f 01 f8"],
    ["IN", "ec"],
    ["OUT", "e6 80"],
  ])("%s raises #GP(0) at level 3", async (_, code) => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    t.put16(At.TSS + 0x66, 0xffff);
    expect(t.code(code).runToHandler()).toBe(13);
    expect(t.stack(2)).toEqual([0n, BigInt(At.USER_CODE)]);
  });

  it.each<[string, "cr0" | "cr4" | "cr3" | "cr8", bigint]>([
    ["CR0 without PE but PG", "cr0", 0x80000010n],
    ["CR0 with NW but not CD", "cr0", 0xa0000031n],
    ["CR0 above 32 bits", "cr0", 0x1_8000_0031n],
    ["CR0 without PG in 64-bit code", "cr0", 0x31n],
    ["CR4 without PAE in long mode", "cr4", 0n],
    ["CR4 with PCIDE", "cr4", 0x20020n],
    ["CR3 above the physical address bits", "cr3", 1n << 48n],
    ["CR8 above 15", "cr8", 16n],
  ])("%s is refused", async (_, name, value) => {
    const t = await GuestCpu.create("long64");
    const codes = { cr0: "0f 22 c0", cr3: "0f 22 d8", cr4: "0f 22 e0", cr8: "44 0f 22 c0" };
    t.set({ RAX: value });
    expect(t.code(codes[name]).runToHandler()).toBe(13);
  });

  it("MOV CR8 leaves run() behind the instruction", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RAX: 7n }).code("44 0f 22 c0 44 0f 20 c3 f4"); // mov cr8,rax; mov rbx,cr8
    expect(t.run()).toBe(11);
    expect([t.cpu.cr8, t.rip]).toEqual([7, At.CODE + 4]);
    t.runToHandler();
    expect(t.reg(Reg.RBX)).toBe(7n);
  });

  it("UMIP hides system state at level 3", async () => {
    for (const code of ["0f 01 03", "0f 01 0b", "0f 00 c0", "0f 00 c8", "0f 01 e0"]) {
      const t = await GuestCpu.create("long64", { cpl: 3 });
      t.set({ RBX: BigInt(At.DATA) });
      t.bytes(At.USER_CODE, `${code} cd 80`);
      t.gate(0x80, Sel.CODE64, At.HANDLERS + 0x800, 0xe, 3);
      t.cpu.rip = BigInt(At.USER_CODE);
      expect(t.runToHandler()).toBe(0x80);
      const u = await GuestCpu.create("long64", { cpl: 3 });
      u.control({ cr4: CR4.PAE | CR4.UMIP }).set({ RBX: BigInt(At.DATA) });
      expect(u.code(code).runToHandler()).toBe(13);
    }
  });

  it("an MSR the core does not keep leaves run()", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RCX: 0x1bn, RAX: 0x11n, RDX: 0x22n }).code("0f 30 0f 32 f4");
    expect(t.run()).toBe(8);
    expect([t.cpu.exit.address, t.cpu.exit.data, t.rip]).toEqual([0x1b, 0x22_0000_0011n, At.CODE]);
    t.cpu.completeWrmsr();
    expect(t.run()).toBe(7);
    t.cpu.completeRdmsr(0x5_0000_0004n);
    t.runToHandler();
    expect([t.reg(Reg.RAX), t.reg(Reg.RDX)]).toEqual([4n, 5n]);
  });

  it("refuses bad values of MSRs it keeps", async () => {
    const bad: [number, bigint][] = [
      [0xc0000080, 1n << 20n],
      [0xc0000080, EFER.NXE], // LME off while paging
      [0xc0000100, 1n << 47n],
      [0x277, 2n],
    ];
    for (const [msr, value] of bad) {
      const t = await GuestCpu.create("long64");
      t.set({ RCX: BigInt(msr), RAX: value & 0xffffffffn, RDX: value >> 32n });
      expect(t.code("0f 30").runToHandler()).toBe(13);
    }
  });
});

describe("ports", () => {
  it("IN and OUT leave run() and go on", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RDX: 0x3f8n, RAX: 0x1234_5678_9abc_def0n }).code("ee ed e4 60 f4");
    expect(t.run()).toBe(2);
    expect(t.cpu.exit).toMatchObject({ write: true, address: 0x3f8, size: 1, data: 0xf0n });
    t.cpu.completeWrite();
    expect(t.run()).toBe(2);
    expect(t.cpu.exit).toMatchObject({ write: false, address: 0x3f8, size: 4 });
    t.cpu.completeRead(0xffff_ffffn);
    expect(t.run()).toBe(2);
    expect(t.reg(Reg.RAX)).toBe(0xffff_ffffn);
    t.cpu.completeRead(0x12n);
    t.runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0xffff_ff12n);
  });

  it("REP INS and OUTS exit once for each element", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RDX: 0x1f0n, RCX: 3n, RDI: BigInt(At.DATA) }).code("f3 66 6d f4");
    for (const value of [0x1111n, 0x2222n, 0x3333n]) {
      expect(t.run()).toBe(2);
      expect([t.cpu.exit.size, t.cpu.exit.aux]).toEqual([2, 1]);
      t.cpu.completeRead(value);
    }
    t.runToHandler();
    expect(t.u64(At.DATA)).toBe(0x3333_2222_1111n);
    expect([t.reg(Reg.RCX), t.reg(Reg.RDI)]).toEqual([0n, BigInt(At.DATA + 6)]);
    t.set({ RCX: 2n, RSI: BigInt(At.DATA + 1) }).code("fd f3 6e f4");
    const seen: bigint[] = [];
    while (t.run() === 2) {
      seen.push(t.cpu.exit.data);
      t.cpu.completeWrite();
    }
    expect(seen).toEqual([0x11n, 0x11n]);
    expect(t.reg(Reg.RSI)).toBe(BigInt(At.DATA - 1));
  });

  it("honours the bitmap of the TSS", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    t.put16(At.TSS + 0x66, 0x100);
    t.bytes(At.TSS + 0x100 + (0x80 >> 3), "fd ff"); // 0x81 is open
    t.set({ RDX: 0x81n }).code("ec 66 ed");
    expect(t.run()).toBe(2);
    t.cpu.completeRead(5n);
    expect(t.runToHandler()).toBe(13);
    expect(t.stack(2)[1]).toBe(BigInt(At.USER_CODE + 1));
  });
});

describe("hypercalls, PAUSE, random numbers", () => {
  it("VMCALL and VMMCALL exit at the instruction", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    t.code("0f 01 d9 0f 01 c1");
    expect(t.run()).toBe(4);
    expect([t.cpu.exit.aux, t.rip]).toEqual([1, At.USER_CODE]);
    t.cpu.skipInstruction(3);
    expect(t.run()).toBe(4);
    expect([t.cpu.exit.aux, t.rip]).toEqual([0, At.USER_CODE + 3]);
  });

  it("PAUSE exits after so many", async () => {
    const t = await GuestCpu.create("long64");
    t.cpu.pauseExit = 3;
    t.code("f3 90 eb fc");
    expect(t.run()).toBe(12);
    expect(t.cpu.instructions).toBe(5);
    expect(t.rip).toBe(At.CODE + 2);
  });

  it("RDRAND sets CF and gives other numbers each time", async () => {
    const t = await GuestCpu.create("long64");
    t.code("48 0f c7 f0 48 0f c7 fb f4").runToHandler();
    expect(t.cpu.rflags & Flag.CF).toBe(Flag.CF);
    expect(t.reg(Reg.RAX)).not.toBe(t.reg(Reg.RBX));
  });

  it("STAC and CLAC do not exist at level 3", async () => {
    const t = await GuestCpu.create("long64", { cpl: 3 });
    expect(t.code("0f 01 cb").runToHandler()).toBe(6);
  });
});

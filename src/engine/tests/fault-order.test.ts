/**
 * Which exception comes first when an access is wrong in several ways, and what has changed when it
 * comes: as AMD's processors do it (tests/native compares with the host's).
 */
import { describe, expect, it } from "vitest";
import { At, CR0, CR4, Flag, GuestCpu, le, Pte, Reg } from "./guest-cpu.fixture.js";

const VECTOR = { UD: 6, SS: 12, GP: 13, PF: 14, AC: 17 };
/** The first address that is not canonical. */
const HOLE = 0x800000000000n;
/** A canonical address where nothing is mapped. */
const ABSENT = 0x40000000n;

/** A program at privilege level 3 with alignment checks. */
async function checked(): Promise<GuestCpu> {
  const t = await GuestCpu.create("long64", { cpl: 3 });
  for (let n = 0; n < 32; n++) t.gate(n, 8, At.HANDLERS + n * 16, 0xe, 0, 1);
  return t.control({
    cr0: t.cpu.cr0 | CR0.AM,
    cr4: t.cpu.cr4 | CR4.OSFXSR,
    rflags: t.cpu.rflags | Flag.AC,
  });
}

/** Accesses through RSI or RDI, and to how many bytes they have to be aligned. */
const ACCESSES: [name: string, code: string, align: number][] = [
  ["mov eax,[rsi]", "8b 06", 4],
  ["mov [rsi],rax", "48 89 06", 8],
  ["add [rsi],ax", "66 01 06", 2],
  ["movsd", "a5", 4],
  ["stosq", "48 ab", 8],
  ["cmpsw", "66 a7", 2],
  ["scasd", "af", 4],
  ["movups xmm0,[rsi]", "0f 10 06", 16],
  ["movups [rsi],xmm0", "0f 11 06", 16],
  ["movss xmm0,[rsi]", "f3 0f 10 06", 4],
  ["movlps [rsi],xmm0", "0f 13 06", 8],
  ["maskmovq mm0,mm1", "0f f7 c1", 8],
  ["maskmovdqu xmm0,xmm1", "66 0f f7 c1", 8],
  ["fld qword [rsi]", "dd 06", 8],
  ["fld tbyte [rsi]", "db 2e", 8],
  ["fbstp [rsi]", "df 36", 8],
  ["fnstenv [rsi]", "d9 36", 4],
  ["fnstenv [rsi] of 16 bits", "66 d9 36", 2],
  ["fldenv [rsi]", "d9 26", 4],
  ["fnsave [rsi]", "dd 36", 4],
  ["frstor [rsi]", "dd 26", 4],
  ["fxsave [rsi]", "0f ae 06", 4],
  ["fxrstor [rsi]", "0f ae 0e", 4],
  ["cmpxchg8b [rsi]", "0f c7 0e", 8],
  ["xchg [rsi],eax", "87 06", 4],
  ["push qword [rsi]", "ff 36", 8],
  ["pop qword [rsi]", "8f 06", 8],
];

describe.each(ACCESSES)("%s", (_, code, align) => {
  const run = async (at: bigint) => {
    const t = await checked();
    t.set({ RSI: at, RDI: at }).code(code);
    return t.runToHandler();
  };

  it("checks the alignment before the page", async () => {
    expect(await run(ABSENT + BigInt(align / 2))).toBe(VECTOR.AC);
    expect(await run(ABSENT)).toBe(VECTOR.PF);
  });

  it("checks that the address is canonical before its alignment", async () => {
    expect(await run(HOLE + 1n)).toBe(VECTOR.GP);
    expect(await run(0xffff7fffffffff01n)).toBe(VECTOR.GP);
  });
});

describe("accesses that cross into what is not canonical", () => {
  it.each([
    ["mov eax,[rsi]", "8b 06", 2],
    ["mov [rsi],rax", "48 89 06", 5],
    ["movups xmm0,[rsi]", "0f 10 06", 9],
  ])("%s raises #GP although its first page is absent", async (_, code, bytes) => {
    const t = await GuestCpu.create("long64");
    t.control({ cr4: t.cpu.cr4 | CR4.OSFXSR });
    t.set({ RSI: HOLE - BigInt(bytes) }).code(code);
    expect(t.runToHandler()).toBe(VECTOR.GP);
  });
});

describe("FXSAVE and FXRSTOR", () => {
  it.each(["0f ae 06", "0f ae 0e"])("%s: #AC below 4 bytes, then #GP below 16", async (code) => {
    for (const [offset, vector] of [
      [1n, VECTOR.AC],
      [6n, VECTOR.AC],
      [4n, VECTOR.GP],
      [8n, VECTOR.GP],
    ] as const) {
      const t = await checked();
      t.set({ RSI: ABSENT + offset }).code(code);
      expect(t.runToHandler()).toBe(vector);
    }
  });

  it("XSAVE only raises #GP, and faults at its first byte, FXSAVE at its last", async () => {
    for (const [code, offset, vector, cr2] of [
      ["0f ae 26", 1n, VECTOR.GP, undefined],
      ["0f ae 26", 0n, VECTOR.PF, ABSENT],
      ["0f ae 06", 0n, VECTOR.PF, ABSENT + 511n],
    ] as const) {
      const u = await checked();
      u.control({ cr4: u.cpu.cr4 | CR4.OSXSAVE });
      u.set({ RSI: ABSENT + offset }).code(code);
      expect(u.runToHandler()).toBe(vector);
      if (cr2 !== undefined) expect(u.cpu.cr2).toBe(cr2);
    }
  });
});

describe("MASKMOVQ and MASKMOVDQU", () => {
  it.each([
    "0f f7 c1",
    "66 0f f7 c1",
  ])("%s needs a writable page for bytes that it leaves out", async (code) => {
    const t = await GuestCpu.create("long64");
    t.control({ cr4: t.cpu.cr4 | CR4.OSFXSR });
    t.gate(14, 8, At.HANDLERS + 14 * 16, 0xe, 0, 1);
    t.set({ RDI: ABSENT }).code(`0f ef c9 66 0f ef c9 ${code}`);
    expect(t.runToHandler()).toBe(VECTOR.PF);
    expect(t.cpu.cr2).toBe(ABSENT);
  });
});

describe("near branches to an address that is not canonical", () => {
  const STACK = BigInt(At.STACK - 64);
  /** 16 bytes of code at the end of the lower half; the jump's target is the first address behind it, or further. */
  const LAST_PAGE = HOLE - 0x1000n;

  it.each([
    ["call rax", "ff d0"],
    ["call [rsi]", "ff 16"],
    ["call [rsi+rbx]", "ff 14 1e"],
    ["mov rdx,rax; call rax", "48 89 c2 ff d0"],
  ])("%s stores nothing", async (_, code) => {
    const t = await GuestCpu.create("long64");
    t.gate(13, 8, At.HANDLERS + 13 * 16, 0xe, 0, 1);
    // The first time round the block is made with a target that is right.
    for (const target of [BigInt(At.HANDLERS), HOLE, 0x7fffffffffffffffn]) {
      t.put64(At.DATA, target);
      t.put64(At.STACK - 72, 0x1111n);
      t.set({ RAX: target, RBX: 0n, RSI: BigInt(At.DATA), RSP: STACK }).code(code);
      t.run();
      if (target === BigInt(At.HANDLERS)) continue;
      expect(t.rip).toBe(At.HANDLERS + 13 * 16 + 1);
      expect(t.u64(At.STACK - 72)).toBe(0x1111n);
      expect(t.u64(At.IST + 0x800 - 16)).toBe(STACK);
    }
  });

  it.each([
    ["jmp", `e9 ${le(0x100)}`],
    ["call", `e8 ${le(0x100)}`],
    ["je, taken", `0f 84 ${le(0x100)}`],
    ["cmp eax,eax; je", `39 c0 0f 84 ${le(0x100)}`],
  ])("%s rel32 faults itself", async (_, code) => {
    const t = await GuestCpu.create("long64");
    t.map(LAST_PAGE, BigInt(At.DATA), Pte.P | Pte.W | Pte.U);
    t.gate(13, 8, At.HANDLERS + 13 * 16, 0xe, 0, 1);
    t.bytes(At.DATA + 0xfe0, code);
    t.put64(At.STACK - 72, 0x1111n);
    t.set({ RSP: STACK }).control({ rflags: 0x42n });
    t.cpu.rip = LAST_PAGE + 0xfe0n;
    expect(t.runToHandler()).toBe(VECTOR.GP);
    const at = code.startsWith("39") ? 2n : 0n;
    expect(t.u64(At.IST + 0x800 - 40)).toBe(LAST_PAGE + 0xfe0n + at);
    expect(t.u64(At.STACK - 72)).toBe(0x1111n);
    expect(t.u64(At.IST + 0x800 - 16)).toBe(STACK);
  });
});

describe("string instructions", () => {
  it.each([
    ["cmpsd", "a7"],
    ["movsd", "a5"],
  ])("%s touches [rSI] first", async (_, code) => {
    const t = await GuestCpu.create("long64");
    t.set({ RSI: ABSENT, RDI: ABSENT + 0x1000n }).code(code);
    expect(t.runToHandler()).toBe(VECTOR.PF);
    expect(t.cpu.cr2).toBe(ABSENT);
    t.set({ RSI: BigInt(At.RAM - 2), RDI: ABSENT }).code(code);
    expect(t.runToHandler()).toBe(VECTOR.PF);
    expect(t.cpu.cr2).toBe(BigInt(At.RAM));
  });

  const HIGH = 0x500000000n;
  it.each([
    "a4",
    "a6",
    "aa",
    "ac",
    "ae",
    "6c",
    "6e",
  ])("rep %s with 32-bit addresses and no count changes nothing", async (code) => {
    const t = await GuestCpu.create("long64");
    t.set({ RCX: HIGH, RSI: HIGH + 1n, RDI: HIGH + 2n }).code(`67 f3 ${code} f4`);
    expect(t.runToHandler()).toBeUndefined();
    expect([t.reg(Reg.RCX), t.reg(Reg.RSI), t.reg(Reg.RDI)]).toEqual([HIGH, HIGH + 1n, HIGH + 2n]);
  });

  it("keep the upper halves when the first element faults, and lose them with it", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RCX: HIGH + 4n, RDI: HIGH + ABSENT }).code("67 f3 aa f4");
    expect(t.runToHandler()).toBe(VECTOR.PF);
    expect([t.reg(Reg.RCX), t.reg(Reg.RDI)]).toEqual([HIGH + 4n, HIGH + ABSENT]);
    t.set({ RCX: HIGH + 4n, RDI: HIGH + BigInt(At.RAM - 1) }).code("67 f3 aa f4");
    expect(t.runToHandler()).toBe(VECTOR.PF);
    expect([t.reg(Reg.RCX), t.reg(Reg.RDI)]).toEqual([3n, BigInt(At.RAM)]);
  });
});

describe("LOOPE and LOOPNE with a repeat prefix", () => {
  it.each(["e0", "e1"])("%s obeys the prefix", async (opcode) => {
    for (const zero of [0n, Flag.ZF])
      for (const [prefix, wanted] of [
        ["f2", 0n],
        ["f3", Flag.ZF],
      ] as const) {
        const t = await GuestCpu.create("long64");
        t.set({ RCX: 2n }).control({ rflags: 2n | zero });
        t.code(`${prefix} ${opcode} 01 f4 f4`);
        t.run();
        expect(t.rip - At.CODE).toBe(zero === wanted ? 5 : 4);
      }
  });
});

describe("MOV to and from control and debug registers", () => {
  it.each([0x00, 0x40, 0x80, 0xc0])("ignore ModRM.mod (%i)", async (mod) => {
    const t = await GuestCpu.create("long64");
    const modrm = (reg: number, rm: number) =>
      (mod | (reg << 3) | rm).toString(16).padStart(2, "0");
    t.set({ RSP: 0x1234n, RBP: BigInt(At.DATA) });
    // mov rsp,cr2 and mov cr2,rbp (rm 4 and 5 would have a SIB byte and a displacement), the same with DR0
    t.code(
      `0f 22 ${modrm(2, 5)} 0f 20 ${modrm(2, 4)} 0f 23 ${modrm(0, 4)} 0f 21 ${modrm(0, 3)} f4`,
    );
    expect(t.runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RSP)).toBe(BigInt(At.DATA));
    expect(t.reg(Reg.RBX)).toBe(BigInt(At.DATA));
  });

  it("have 64 bits with and without REX.W and 66", async () => {
    for (const prefix of ["", "48", "66", "66 48"]) {
      const t = await GuestCpu.create("long64");
      t.set({ RDX: 0x1234567890n }).code(`${prefix} 0f 22 12 ${prefix} 0f 20 10 f4`);
      expect(t.runToHandler()).toBeUndefined();
      expect(t.reg(Reg.RAX)).toBe(0x1234567890n);
    }
  });

  it.each([
    ["CR1", "0f 20 c8"],
    ["CR5", "0f 22 e8"],
    ["CR7", "0f 20 f8"],
    ["CR9", "44 0f 20 c8"],
    ["CR15", "44 0f 22 38"],
    ["DR8", "44 0f 21 c0"],
    ["DR15", "44 0f 23 38"],
    ["LOCK, without AltMovCr8", "f0 0f 20 c0"],
    ["LOCK and ModRM.mod 0", "f0 0f 22 00"],
  ])("%s: #UD", async (_, code) => {
    const t = await GuestCpu.create("long64");
    t.code(code);
    expect(t.runToHandler()).toBe(VECTOR.UD);
  });
});

describe("FFREE", () => {
  it.each(["dd c3", "df c3"])("%s clears C1", async (code) => {
    const t = await GuestCpu.create("long64");
    // fninit; fld1; fchs; fxam (C1 set); ffree st(3); fnstsw ax
    t.code(`db e3 d9 e8 d9 e0 d9 e5 ${code} df e0 f4`);
    t.runToHandler();
    expect(t.reg(Reg.RAX) & 0x200n).toBe(0n);
  });
});

/** Tests of the rules for differences between vendors: each lets pass what it says, and nothing beside it. */
import { describe, expect, test } from "vitest";
import { makeCase } from "./generate.mjs";
import { loadRows } from "./rows.mjs";
import { FIXED_SEED, group } from "./run.mjs";
import type { Difference, EngineAnswer, HostAnswer, Insn, TestCase } from "./types.js";
import { reasonByVendor } from "./vendor.mjs";

const families = group(await loadRows());
const AMD = { amd: true, hypervisor: false };
const AMD_GUEST = { amd: true, hypervisor: true };
const INTEL = { amd: false, hypervisor: true };
const FAULT = 14;
const XMM = 160;
const FCW = 0;
const MXCSR = 24;

/** A lone instruction of the row in 64-bit code that fits. */
function lone(family: string, asm: string, fits: (insn: Insn) => boolean = () => true): TestCase {
  const rows = (families.get(family) ?? []).filter((row) => row.asm.startsWith(asm));
  for (let index = 0; index < 4000; index += 2) {
    const found = makeCase({ seed: FIXED_SEED, family, index, rows, modes: [64] });
    if (found?.insns[0] !== undefined && fits(found.insns[0])) return found;
  }
  throw new Error(`no case of ${asm}`);
}

/** An answer at the case's instruction. */
function answer(testCase: TestCase, vector: number): HostAnswer & EngineAnswer {
  return {
    vector,
    error: 0,
    cr2: 0n,
    index: 0,
    rip: BigInt(testCase.rip),
    rflags: 2,
    gpr: new BigUint64Array(16),
    seg: [0, 0, 0, 0, 0, 0],
    fx: new Uint8Array(512),
    chunks: [],
    image: new Uint8Array(0),
  };
}

const field = (name: string): Difference => [name, "", ""];
const put = (to: EngineAnswer, at: number, value: number): void =>
  new DataView(to.fx.buffer).setUint32(at, value, true);

/** Whether a difference is explained on AMD hosts, on AMD guests, on Intel hosts. */
function explained(
  testCase: TestCase,
  expected: HostAnswer,
  got: EngineAnswer,
  fields: string[],
): boolean[] {
  const diffs = fields.map(field);
  return [AMD, AMD_GUEST, INTEL].map(
    (processor) => reasonByVendor(processor, testCase, expected, got, diffs) !== undefined,
  );
}

describe("the rules for vendors", () => {
  test("explain no crash and nothing of other instructions", () => {
    const add = lone("alu", "add Ev,Gv");
    const [a, b] = [answer(add, 3), answer(add, 3)];
    expect(explained(add, a, b, ["rflags"])).toEqual([false, false, false]);
    const int1 = lone("system", "int1");
    const crash = { ...answer(int1, 1), rip: BigInt(int1.rip + 1), crash: "does not end" };
    expect(explained(int1, answer(int1, 1), crash, ["rip"])).toEqual([false, false, false]);
  });

  test("INT1 under a hypervisor on AMD: RIP at the instruction", () => {
    const testCase = lone("system", "int1", (insn) => insn.bytes.length === 1);
    const got = { ...answer(testCase, 1), rip: BigInt(testCase.rip + 1) };
    expect(explained(testCase, answer(testCase, 1), got, ["rip"])).toEqual([false, true, false]);
    expect(explained(testCase, answer(testCase, 1), got, ["rip", "rax"])).toEqual([
      false,
      false,
      false,
    ]);
  });

  test("UD0 on Intel: a page fault for its ModRM byte", () => {
    const testCase = lone("misc", "ud0");
    const got = answer(testCase, 6);
    expect(explained(testCase, answer(testCase, FAULT), got, ["vector"])).toEqual([
      false,
      false,
      true,
    ]);
    expect(explained(testCase, answer(testCase, 3), got, ["vector"])).toEqual([
      false,
      false,
      false,
    ]);
  });

  test("LFS on Intel: only with REX.W", () => {
    for (const wide of [true, false]) {
      const testCase = lone("system", "lfs", (insn) => insn.wide === wide);
      const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
      expect(explained(testCase, a, b, ["rax"])).toEqual([false, false, wide]);
    }
  });

  test("near branches on Intel: only with 66", () => {
    for (const osize of [2, 8]) {
      const testCase = lone("branch", "call Jz", (insn) => insn.osize === osize);
      const [a, b] = [answer(testCase, 3), answer(testCase, FAULT)];
      expect(explained(testCase, a, b, ["rip"])).toEqual([false, false, osize === 2]);
    }
  });

  test("repeated strings on Intel: registers, only with 32-bit addresses", () => {
    for (const short of [true, false]) {
      const testCase = lone(
        "string",
        "stos",
        (insn) => insn.rep !== "" && insn.mode === 64 && insn.bytes.includes(0x67) === short,
      );
      const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
      expect(explained(testCase, a, b, ["rcx", "rdi"])).toEqual([false, false, short]);
      expect(explained(testCase, a, b, ["rcx", "rax"])).toEqual([false, false, false]);
    }
  });

  test("LOOPE on Intel: with a repeat prefix", () => {
    for (const prefixed of [true, false]) {
      const testCase = lone(
        "branch",
        "loope",
        (insn) => insn.bytes.some((byte) => byte === 0xf2 || byte === 0xf3) === prefixed,
      );
      const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
      expect(explained(testCase, a, b, ["rip"])).toEqual([false, false, prefixed]);
    }
  });

  test("MASKMOVQ on Intel: a fault that does not come, or another one", () => {
    const testCase = lone("mmx", "maskmovq");
    const a = { ...answer(testCase, 3), rip: BigInt(testCase.rip + 3) };
    expect(explained(testCase, a, answer(testCase, FAULT), ["vector"])).toEqual([
      false,
      false,
      true,
    ]);
    expect(explained(testCase, a, answer(testCase, 6), ["vector"])).toEqual([false, false, false]);
  });

  test("FFREE on Intel: the status word", () => {
    const testCase = lone("x87", "ffree ");
    const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
    expect(explained(testCase, a, b, ["fsw"])).toEqual([false, false, true]);
    expect(explained(testCase, a, b, ["fsw", "ftw"])).toEqual([false, false, false]);
  });

  test("alignment checks on Intel: #AC or another fault of the address", () => {
    const testCase = lone("alu", "add Ev,Gv");
    const [a, b] = [answer(testCase, 17), answer(testCase, 13)];
    expect(explained(testCase, a, b, ["vector"])).toEqual([false, false, true]);
    expect(explained(testCase, a, b, ["vector", "rax"])).toEqual([false, false, false]);
    expect(explained(testCase, answer(testCase, 6), b, ["vector"])).toEqual([false, false, false]);
  });

  test("CALL on Intel: memory after #GP", () => {
    const testCase = lone("branch", "call Ev");
    const [a, b] = [answer(testCase, 13), answer(testCase, 13)];
    expect(explained(testCase, a, b, ["[30000000]"])).toEqual([false, false, true]);
    expect(explained(testCase, a, b, ["[30000000]", "rsp"])).toEqual([false, false, false]);
  });

  test("x87 stores on Intel: an unmasked exception instead of a fault", () => {
    const testCase = lone("x87", "fistp m32int");
    const [a, b] = [
      { ...answer(testCase, 3), rip: BigInt(testCase.rip + 9) },
      answer(testCase, 14),
    ];
    put(b, FCW, 0x37f);
    expect(explained(testCase, a, b, ["vector"])).toEqual([false, false, false]);
    put(b, FCW, 0x37e);
    expect(explained(testCase, a, b, ["vector"])).toEqual([false, false, true]);
  });

  test("SCAS on Intel: flags, only when it is repeated and faults", () => {
    for (const rep of [true, false]) {
      const testCase = lone("string", "scas AL", (insn) => (insn.rep !== "") === rep);
      const [a, b] = [answer(testCase, FAULT), answer(testCase, FAULT)];
      expect(explained(testCase, a, b, ["rflags"])).toEqual([false, false, rep]);
      expect(explained(testCase, a, answer(testCase, 3), ["rflags"])).toEqual([
        false,
        false,
        false,
      ]);
    }
  });

  test("DPPS on Intel: another NaN, and nothing else", () => {
    const testCase = lone("sse41", "dpps");
    const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
    put(a, XMM + 20, 0x7fc00001);
    put(b, XMM + 20, 0x7fc00002);
    expect(explained(testCase, a, b, ["xmm1"])).toEqual([false, false, true]);
    put(b, XMM + 24, 1);
    expect(explained(testCase, a, b, ["xmm1"])).toEqual([false, false, false]);
  });

  test("PUSH of a segment register on Intel: 32 bits only", () => {
    const rows = (families.get("stack") ?? []).filter((row) => row.asm === "push DS");
    const sizes = new Set<number>();
    for (let index = 0; index < 200; index += 2) {
      const testCase = makeCase({ seed: FIXED_SEED, family: "stack", index, rows, modes: [32] });
      const insn = testCase?.insns[0];
      if (testCase === undefined || insn === undefined) continue;
      sizes.add(insn.osize);
      const [a, b] = [answer(testCase, 3), answer(testCase, 3)];
      expect(explained(testCase, a, b, ["[30000000]"])).toEqual([false, false, insn.osize === 4]);
    }
    expect([...sizes].sort()).toEqual([2, 4]);
  });

  test("MOVSXD on Intel: a fault, only with 16 bits", () => {
    for (const osize of [2, 8]) {
      const testCase = lone("move", "movsxd", (insn) => insn.osize === osize && insn.isMem);
      const [a, b] = [answer(testCase, 3), answer(testCase, FAULT)];
      expect(explained(testCase, a, b, ["vector"])).toEqual([false, false, osize === 2]);
    }
  });

  test("FSTP of 80 bits on Intel: memory after a fault", () => {
    for (const asm of ["fstp m80fp", "fstp m64fp"]) {
      const testCase = lone("x87", asm);
      const [a, b] = [answer(testCase, FAULT), answer(testCase, FAULT)];
      expect(explained(testCase, a, b, ["[20002ff0]"])).toEqual([
        false,
        false,
        asm === "fstp m80fp",
      ]);
    }
  });

  test("FS and GS on AMD: #GP instead of a page fault", () => {
    for (const [segment, yes] of [
      [5, true],
      [3, false],
    ] as const) {
      const testCase = lone("alu", "add Ev,Gv", (insn) => insn.segment === segment);
      const [a, b] = [answer(testCase, 13), answer(testCase, FAULT)];
      expect(explained(testCase, a, b, ["vector"])).toEqual([yes, yes, false]);
    }
  });

  test("the end of 4 GiB on AMD: #GP instead of a page fault", () => {
    const rows = (families.get("string") ?? []).filter((row) => row.asm.startsWith("stos Yv"));
    const testCase = makeCase({ seed: FIXED_SEED, family: "string", index: 0, rows, modes: [32] });
    if (testCase === undefined) throw new Error("no case");
    for (const cr2 of [0xfffffffen, 0xffffff00n]) {
      const [a, b] = [answer(testCase, 13), { ...answer(testCase, FAULT), cr2 }];
      const yes = cr2 === 0xfffffffen;
      expect(explained(testCase, a, b, ["vector"])).toEqual([yes, yes, false]);
    }
  });

  test("LOCK VERW on AMD", () => {
    const isLocked = (insn: Insn) => insn.bytes.slice(0, insn.bytes.indexOf(0x0f)).includes(0xf0);
    const testCase = lone("system", "verw", (insn) => insn.isMem && !isLocked(insn));
    const [a, b] = [answer(testCase, 3), answer(testCase, 6)];
    expect(explained(testCase, a, b, ["vector"])).toEqual([false, false, false]);
    testCase.insns[0]?.bytes.unshift(0xf0);
    expect(explained(testCase, a, b, ["vector"])).toEqual([true, true, false]);
  });

  test("FXRSTOR and FXSAVE on AMD: MXCSR.MM", () => {
    const restore = lone("fxsave", "fxrstor");
    const [a, b] = [answer(restore, 3), answer(restore, 13)];
    expect(explained(restore, a, b, ["vector"])).toEqual([false, false, false]);
    put(a, MXCSR, 0x21f80);
    expect(explained(restore, a, b, ["vector"])).toEqual([true, true, false]);
    const save = lone("fxsave", "fxsave");
    const [c, d] = [answer(save, 3), answer(save, 3)];
    put(c, XMM + 12, 0x2ffff);
    put(d, XMM + 12, 0xffff);
    expect(explained(save, c, d, ["xmm0"])).toEqual([true, true, false]);
    put(d, XMM + 12, 0xfff0);
    expect(explained(save, c, d, ["xmm0"])).toEqual([false, false, false]);
  });
});

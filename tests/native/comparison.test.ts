/**
 * Tests of the comparison itself: that the harness repeats its answers, that cases can be made again,
 * that every instruction is generated, and that a wrong answer is noticed in every field.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { CODE_AT, DATA_AT } from "./areas.mjs";
import { compare, expectedImage } from "./compare.mjs";
import { baseImage, makeCase } from "./generate.mjs";
import { Host, unsupported } from "./host.mjs";
import { minimise } from "./minimise.mjs";
import { loadRows } from "./rows.mjs";
import { DEFAULT_COUNT, FIXED_SEED, group, INTEGER, MIXED } from "./run.mjs";
import type { EngineAnswer, HostAnswer, Mode, TestCase } from "./types.js";

const rows = await loadRows();
const families = group(rows);
const MODES: readonly Mode[] = [64, 32, 16];
const base = baseImage(FIXED_SEED);

function makeCases(family: string, count: number, modes: readonly Mode[] = MODES): TestCase[] {
  const list = families.get(family) ?? [];
  return Array.from({ length: count }, (_, index) =>
    makeCase({ seed: FIXED_SEED, family, index, rows: list, modes }),
  ).filter((testCase) => testCase !== undefined);
}

/** The first case of the family that is one instruction whose assembly begins so, and that fits. */
function lone(family: string, asm: string, fits: (c: TestCase) => boolean = () => true): TestCase {
  const found = makeCases(family, DEFAULT_COUNT).find(
    (c) => c.mode === 64 && c.insns.length === 1 && c.insns[0]?.row.asm.startsWith(asm) && fits(c),
  );
  if (found === undefined) throw new Error(`no case of ${asm}`);
  return found;
}

describe("the generator", () => {
  test.each([...families.keys()])("makes every row of %s, and the same cases again", (family) => {
    const cases = makeCases(family, DEFAULT_COUNT);
    expect(cases.length).toBe(DEFAULT_COUNT);
    const alone = new Set(cases.filter((c) => c.insns.length === 1).map((c) => c.insns[0]?.row));
    // Mixed cases are sequences foremost: some rows give way to others when they are alone.
    if (family !== MIXED && family !== INTEGER)
      expect(alone.size).toBe(families.get(family)?.length);
    makeCases(family, 50).forEach((again, i) => {
      expect(again.code).toEqual(cases[i]?.code);
      expect(again.setup).toEqual(cases[i]?.setup);
    });
  });

  test("gives a reason for every row it leaves out", () => {
    for (const row of rows) {
      if (row.why === undefined) expect(families.get(row.family)).toContain(row);
      else expect(row.why.length).toBeGreaterThan(5);
    }
  });

  test("never lets an instruction read a flag that an earlier one left undefined", () => {
    for (const testCase of makeCases(MIXED, 1000)) {
      testCase.insns.forEach((insn, i) => {
        expect(insn.effects.reads & (testCase.undef[i] ?? 0)).toBe(0);
      });
    }
  });
});

/** Memory after the host's answer. */
const imageOf = (testCase: TestCase, answer: HostAnswer) =>
  expectedImage(testCase, answer, base, Buffer.alloc(base.length));

/** A host's answer in the form that an engine gives, on memory of its own. */
const asEngine = (testCase: TestCase, answer: HostAnswer): EngineAnswer => ({
  ...answer,
  fx: Uint8Array.from(answer.fx),
  image: imageOf(testCase, answer),
});

describe.runIf(unsupported() === undefined)("the comparison", () => {
  let host: Host;
  beforeAll(() => {
    host = new Host();
  });
  const run = (cases: TestCase[]): HostAnswer[] =>
    host.run(base, cases).filter((answer) => answer !== undefined);
  const runOne = (testCase: TestCase): HostAnswer => run([testCase])[0] as HostAnswer;
  const names = (testCase: TestCase, expected: HostAnswer, got: EngineAnswer) =>
    compare(testCase, expected, imageOf(testCase, expected), got).map(([name]) => name);

  test.each([...families.keys()])("finds %s on the host equal to itself", (family) => {
    const cases = makeCases(family, 300, host.modes);
    const [first, second] = [run(cases), run(cases)];
    expect(first.length).toBe(cases.length);
    cases.forEach((testCase, i) => {
      const got = asEngine(testCase, second[i] as HostAnswer);
      expect(names(testCase, first[i] as HostAnswer, got)).toEqual([]);
    });
  });

  const flip = (bytes: Uint8Array, at: number): void => {
    bytes[at] = (bytes[at] ?? 0) ^ 0x80;
  };
  const wrong: [string, (got: EngineAnswer) => void][] = [
    ["rbx", (got) => got.gpr.set([(got.gpr[3] ?? 0n) ^ (1n << 63n)], 3)],
    ["rip", (got) => Object.assign(got, { rip: got.rip + 1n })],
    ["vector", (got) => Object.assign(got, { vector: 6 })],
    ["rflags", (got) => Object.assign(got, { rflags: got.rflags ^ 1 })],
    ["ds", (got) => Object.assign(got, { seg: got.seg.with(3, 0x33) })],
    ["fcw", (got) => flip(got.fx, 0)],
    ["fsw", (got) => flip(got.fx, 2)],
    ["ftw", (got) => flip(got.fx, 4)],
    ["st7", (got) => flip(got.fx, 32 + 7 * 16)],
    ["mxcsr", (got) => flip(got.fx, 24)],
    ["xmm15", (got) => flip(got.fx, 160 + 255)],
    [`[${(DATA_AT + 16).toString(16)}]`, (got) => flip(got.image, 31)],
    ["end", (got) => Object.assign(got, { crash: "does not end" })],
  ];
  test.each(wrong)("notices a wrong %s", (field, change) => {
    const testCase = lone("alu", "add Ev,Gv");
    const expected = runOne(testCase);
    const got = asEngine(testCase, runOne(testCase));
    change(got);
    expect(names(testCase, expected, got)).toEqual([field]);
  });

  test("notices a wrong error code and CR2 of a page fault", () => {
    const cases = makeCases("alu", 400, [64]);
    const answers = run(cases);
    const i = answers.findIndex((a) => a.vector === 14 && a.cr2 < 0x700000000000n);
    const [testCase, expected] = [cases[i] as TestCase, answers[i] as HostAnswer];
    const got = asEngine(testCase, expected);
    const other = { ...got, error: expected.error ^ 2, cr2: expected.cr2 + 1n };
    expect(names(testCase, expected, other)).toEqual(["error", "cr2"]);
  });

  test("ignores flags that an instruction leaves undefined, and no others", () => {
    const testCase = lone("alu", "and Ev,Gv", (c) => runOne(c).vector === 3);
    const expected = runOne(testCase);
    const got = asEngine(testCase, expected);
    expect(names(testCase, expected, { ...got, rflags: got.rflags ^ 0x10 })).toEqual([]);
    expect(names(testCase, expected, { ...got, rflags: got.rflags ^ 0x40 })).toEqual(["rflags"]);
  });

  test("allows a transcendental result to be one unit off, and no more", () => {
    // ST(0) is pi, and no NaN for want of a free register.
    const testCase = lone("x87", "fldpi", (c) => runOne(c).fx[41] === 0x40);
    const expected = runOne(testCase);
    const sine = { ...testCase, insns: lone("x87", "fsin").insns };
    const got = asEngine(testCase, expected);
    got.fx[32] = (got.fx[32] ?? 0) ^ 1;
    expect(names(testCase, expected, got)).toEqual(["st0"]);
    expect(names(sine, expected, got)).toEqual([]);
    got.fx[32] = (got.fx[32] ?? 0) ^ 4;
    expect(names(sine, expected, got)).toEqual(["st0"]);
  });

  test("gives up a case that does not end", () => {
    const loop = { ...lone("alu", "add"), code: Uint8Array.of(0xeb, 0xfe) };
    expect(runOne({ ...loop, codeAt: CODE_AT, rip: CODE_AT }).vector).toBe(0xffff);
  });
});

describe("minimise", () => {
  test("keeps the instruction that makes the case fail", () => {
    const testCase = makeCases("alu", 100).find((c) => c.insns.length > 5) as TestCase;
    const culprit = testCase.insns[3]?.row;
    const smaller = minimise(testCase, (c) => c.insns.some((insn) => insn.row === culprit));
    expect(smaller.insns.map((insn) => insn.row)).toEqual([culprit]);
    expect(smaller.code.length).toBe(smaller.insns[0]?.bytes.length);
  });
});

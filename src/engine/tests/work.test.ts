/**
 * Work is counted, not measured: what a program costs, and the time that it reads from the TSC under virtual time,
 * is the same on both paths of execution and however run() is cut into pieces.
 */
import { describe, expect, it } from "vitest";
import type { DecodePath } from "../bridge/index.js";
import { EngineExit } from "../bridge/port.js";
import { At, GuestCpu, le, PATHS, Reg } from "./guest-cpu.fixture.js";

const mov = (register: number, value: number): string =>
  `${(0xb8 + register).toString(16)}${le(value)}`;
const [ECX, ESI, EDI] = [1, 6, 7];
const IRETQ = "48cf";
/** rdtsc; mov r8,rax: the time in the end. */
const END = "0f31 4989c0 f4";
/** Where there is code that has been decoded, and is written over. */
const DECODED = At.CODE + 0x800;
/** A page that is not there. */
const HOLE = At.DATA + 0x3000;

const UD = 6;
const PF = 14;
const DB = 1;

interface Program {
  readonly name: string;
  readonly code: string;
  /** Code of handlers, by vector. */
  readonly handlers?: Readonly<Record<number, string>>;
  /** At least that much is no retired instruction. */
  readonly extra: number;
}

const repeat = (opcode: string, count: number, direction = "fc"): string =>
  `${mov(ECX, count)} ${mov(ESI, At.DATA + 0x1800)} ${mov(EDI, At.DATA + 0x1000)} ${direction} f3 ${opcode}`;
const loop = (count: number, body: string): string => {
  const bytes = body.replace(/\s+/g, "").length / 2;
  // mov ebx,count; body; dec ebx; jnz back
  return `${mov(3, count)} ${body} ffcb 0f85 ${le(2 ** 32 - bytes - 8)}`;
};

const PROGRAMS: readonly Program[] = [
  { name: "instructions", code: loop(1000, "90 90 ffc0"), extra: 0 },
  { name: "short REP", code: loop(300, repeat("a4", 31)), extra: 0 },
  { name: "REP STOS", code: loop(5, repeat("aa", 8000)), extra: 600 },
  { name: "REP STOS downwards", code: loop(5, repeat("aa", 3000, "fd")), extra: 450 },
  { name: "REP MOVS", code: loop(5, repeat("48a5", 500)), extra: 30 },
  { name: "REP LODS", code: loop(5, repeat("ac", 2000)), extra: 300 },
  { name: "REPE CMPS", code: loop(5, repeat("a6", 2000)), extra: 150 },
  {
    name: "REPNE SCAS",
    code: loop(5, `b0 55 ${repeat("ae", 2000).replace("f3", "f2")}`),
    extra: 150,
  },
  {
    name: "REP STOS over code that was decoded",
    // A call of it, and its last byte written anew.
    code: loop(
      3,
      `b8 ${le(DECODED)} ffd0 ${mov(ECX, 4096)} ${mov(EDI, DECODED)} b090 fc f3aa c60425 ${le(DECODED + 15)} c3`,
    ),
    extra: 150,
  },
  {
    name: "exceptions",
    code: loop(200, "0f0b"),
    handlers: { [UD]: `48830424 02 ${IRETQ}` },
    extra: 200,
  },
  {
    name: "page faults in REP",
    // Its handler goes on two pages higher.
    code: loop(20, `${mov(ECX, 3000)} ${mov(EDI, HOLE - 0x700)} fc f3 aa`),
    handlers: { [PF]: `4883c408 4881c7 ${le(0x2000)} ${IRETQ}` },
    extra: 600,
  },
  {
    name: "single steps through REP",
    code: loop(3, `9c 810c24 ${le(0x100)} 9d ${repeat("a4", 50)} 9c 812424 ${le(~0x100 >>> 0)} 9d`),
    handlers: { [DB]: IRETQ },
    extra: 0,
  },
];

/** What a program costs: instructions, work, time as it read it, registers in the end. */
async function cost(program: Program, decode: DecodePath, piece: number) {
  const t = await GuestCpu.create("long64", { decode });
  t.put64(t.entry(BigInt(HOLE)), 0n);
  for (const [vector, code] of Object.entries(program.handlers ?? {})) {
    t.bytes(At.HANDLERS + Number(vector) * 16, code);
  }
  t.bytes(DECODED, `${"90".repeat(15)}c3`);
  const code = `${program.code} ${END}`;
  t.code(code);
  let work = 0;
  let exit: number = EngineExit.BUDGET;
  for (; exit === EngineExit.BUDGET; work += t.cpu.work) {
    t.cpu.setTime(work);
    exit = t.run(piece);
  }
  expect(exit).toBe(EngineExit.HLT);
  expect(t.rip).toBe(At.CODE + code.replace(/\s+/g, "").length / 2);
  const { instructions } = t.cpu;
  return { instructions, work, time: t.reg(8), rcx: t.reg(Reg.RCX), rdi: t.reg(Reg.RDI) };
}

describe.each(PROGRAMS)("$name", (program) => {
  it("costs the same on all paths, in pieces of any size", async () => {
    const whole = await cost(program, "cached", 1_000_000);
    expect(whole.work - whole.instructions).toBeGreaterThanOrEqual(program.extra);
    // The time was read by the last instruction but three.
    expect(whole.time).toBe(BigInt(whole.work - 3));
    for (const decode of PATHS) {
      for (const piece of [1_000_000, 1000, 97, 1]) {
        expect(await cost(program, decode, piece)).toEqual(whole);
      }
    }
  });
});

it("run() ends when its work is done, also in a REP", async () => {
  const t = await GuestCpu.create("long64");
  t.code(`${repeat("aa", 1 << 20, "fd")} f4`);
  for (const piece of [1, 100]) {
    expect(t.run(piece)).toBe(EngineExit.BUDGET);
    // A REP pauses every 16384 elements.
    expect(t.cpu.work).toBeLessThanOrEqual(piece + 16384 / 32);
  }
});

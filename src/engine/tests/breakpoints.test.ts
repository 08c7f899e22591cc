import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { EngineExit } from "../bridge/port.js";
import { At, Flag, GuestCpu, le, Pte, Reg, Sel } from "./guest-cpu.fixture.js";

const { CODE, DATA } = At;
const WRITE = 1;
const ACCESS = 3;

/** DR7 with breakpoints 0, 1, ... of these types, one byte each. */
const dr7 = (...types: readonly number[]): number =>
  types.reduce((all, type, i) => all | (1 << (i * 2)) | (type << (16 + i * 4)), 0x400);

/** Runs to the end, noting where the debugger's breakpoints stop; those on code are passed with RF. */
function stops(t: GuestCpu, rip: number = CODE): string[] {
  const list: string[] = [];
  t.cpu.rip = BigInt(rip);
  t.control({ rflags: 2n });
  for (;;) {
    const exit = t.run(100_000);
    if (exit === EngineExit.HLT) return list;
    expect(exit).toBe(EngineExit.DEBUG);
    list.push(`${(t.rip - CODE).toString(16)}:${(t.cpu.exit.dataLow & 0xf).toString(16)}`);
    t.control({ rflags: t.cpu.rflags | Flag.RF });
  }
}

const times = (n: number, ...what: string[]): string[] =>
  Array.from({ length: n }, () => what).flat();

describe("breakpoints of a debugger and cached blocks", () => {
  let t: GuestCpu;
  // b9 05 00 00 00  mov ecx,5; 5: ff c0 inc eax; 7: 01 c2 add edx,eax; 9: ff c9 dec ecx; b: 75 f8 jnz 5; d: f4
  const LOOP = "b9 05 00 00 00 ff c0 01 c2 ff c9 75 f8 f4";
  beforeAll(async () => {
    t = await GuestCpu.create("long64");
    t.cpu.intercept(3);
  });
  beforeEach(() => t.cpu.watch([], 0));
  const at = (...offsets: readonly number[]): void =>
    t.cpu.watch(
      offsets.map((offset) => BigInt(CODE + offset)),
      dr7(...offsets.map(() => 0)),
    );

  it("stop inside of blocks, at their start and end, and nowhere else; and no more when they are gone", () => {
    t.code(LOOP);
    expect(stops(t)).toEqual([]);
    at(7);
    expect(stops(t)).toEqual(times(5, "7:1"));
    at(6, 8, 0xa, 0xc);
    expect(stops(t)).toEqual([]);
    at(5, 0xb, 0xd);
    expect(stops(t)).toEqual([...times(5, "5:1", "b:2"), "d:4"]);
    at(0, 7);
    expect(stops(t)).toEqual(["0:1", ...times(5, "7:2")]);
    at();
    expect(stops(t)).toEqual([]);
    at(7, 5);
    expect(stops(t)).toEqual(times(5, "5:2", "7:1"));
  });

  it("belong to linear addresses, wherever they are mapped, now and later", () => {
    const alias = 0x6000_0000_0000n;
    t.map(alias, BigInt(CODE), Pte.P | Pte.W);
    t.code(LOOP);
    at(7);
    expect(stops(t, Number(alias))).toEqual([]);
    expect(stops(t)).toEqual(times(5, "7:1"));
    t.cpu.watch([alias + 7n], dr7(0));
    expect(stops(t)).toEqual([]);
    // Other code comes to that address.
    t.bytes(CODE + 0x1000, LOOP);
    t.put64(t.entry(alias), BigInt(CODE + 0x1000) | Pte.P | Pte.W);
    expect(stops(t, Number(alias)).length).toBe(5);
  });

  it("stop before an instruction that crosses a page, and at the first of the next page", () => {
    // jmp to the end of the page; nop; mov eax,imm32 across the border; nop; nop; hlt
    t.code(`e9 ${le(0xff7)}`);
    t.bytes(CODE + 0xffc, "90 b8 01 02 03 04 90 90 f4");
    expect(stops(t)).toEqual([]);
    at(0xffd, 0x1002, 0x1003);
    expect(stops(t)).toEqual(["ffd:1", "1002:2", "1003:4"]);
    at(0x1000);
    expect(stops(t)).toEqual([]);
  });

  it("outlive code that changes around them", () => {
    // mov byte [rip+1],0x11; L: mov al,0 (its immediate changes); nop; hlt
    t.code("c6 05 01 00 00 00 11 b0 00 90 f4");
    at(7, 9);
    expect(stops(t)).toEqual(["7:1", "9:2"]);
    expect(t.reg(Reg.RAX) & 0xffn).toBe(0x11n);
    t.bytes(CODE + 7, "90 90 90");
    at(8);
    expect(stops(t)).toEqual(["8:1"]);
  });

  it("may be moved more often than sets of places are remembered", () => {
    t.code(LOOP);
    // More than 1023 different sets of places.
    for (let i = 0; i < 1200; i++) {
      t.cpu.watch([BigInt(CODE + 7), BigInt(CODE + 0x100 + i)], dr7(0, 0));
      if (i % 100 === 0) expect(stops(t)).toEqual(times(5, "7:1"));
    }
    expect(stops(t)).toEqual(times(5, "7:1"));
  });

  it("cost nothing where they are not: code runs in blocks as without them", () => {
    // mov ecx,20000; 5: inc eax; add edx,eax; dec ecx; jnz 5; hlt; behind it, never executed: nop
    t.code("b9 20 4e 00 00 ff c0 01 c2 ff c9 75 f8 f4 90");
    const cost = (): readonly number[] => {
      const before = t.vm.counters();
      expect(stops(t)).toEqual([]);
      const after = t.vm.counters();
      const counts = ["STEP", "GENERIC", "COMPLETE", "LOOKUP"] as const;
      return counts.map((name) => after[name] - before[name]);
    };
    cost();
    const without = cost();
    // On its page, and on another one.
    for (const offset of [0xe, 0x1000]) {
      at(offset);
      cost();
      for (const [i, count] of cost().entries())
        expect(count - (without[i] ?? 0), `${i}, ${offset}`).toBeLessThan(20);
    }
  });

  it("on data see all of their page, and nothing when they are gone", () => {
    // mov ecx,3; L: mov [rbx],al; mov dl,[rbx+8]; mov [rbx+0x1000],al; dec ecx; jnz L; hlt
    t.set({ RBX: BigInt(DATA) });
    t.code("b9 03 00 00 00 88 03 8a 53 08 88 83 00 10 00 00 ff c9 75 f1 f4");
    expect(stops(t)).toEqual([]);
    t.cpu.watch([BigInt(DATA), BigInt(DATA + 8)], dr7(WRITE, ACCESS));
    expect(stops(t)).toEqual(times(3, "7:1", "a:2"));
    t.cpu.watch([BigInt(DATA + 0x1000)], dr7(WRITE));
    expect(stops(t)).toEqual(times(3, "10:1"));
    t.cpu.watch([], 0);
    expect(stops(t)).toEqual([]);
  });
});

/** Random programs and breakpoints, the same for both engines. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  below(n: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

/** IRETQ to the instruction behind it, with RFLAGS changed by `change` on the stack; uses RAX. */
const iret = (change: string): string =>
  `6a ${le(Sel.DATA, 1)} 54 9c ${change} 6a ${le(Sel.CODE64, 1)} 48 8d 05 03 00 00 00 50 48 cf 48 83 c4 08`;

const INSTRUCTIONS: readonly ((r: Random) => string)[] = [
  (r) => r.pick(["90", "ff c0", "01 c8", "31 d2", "48 ff c2", "0f a2"]),
  (r) => `88 43 ${le(r.below(64), 1)}`,
  (r) => `8a 43 ${le(r.below(64), 1)}`,
  (r) => `48 89 43 ${le(r.below(64), 1)}`,
  (r) => `ff 43 ${le(r.below(64), 1)}`,
  () => "50 58",
  (r) => `b9 ${le(r.below(6))} 48 8d 7b ${le(r.below(64), 1)} f3 aa`,
  (r) => `b9 ${le(r.below(6))} 48 8d 7b ${le(r.below(64), 1)} 48 8d 73 ${le(r.below(64), 1)} f3 a4`,
  (r) => `${r.pick(["74", "75", "eb"])} 02 ff c0`,
  () => "e8 00 00 00 00 58",
  () => "8c d0 8e d0",
  () => "66 8c 13 8e 13",
  () => "9c 80 4c 24 01 01 9d",
  () => "9c 80 64 24 01 fe 9d",
  () => iret(""),
  () => iret("81 0c 24 00 00 01 00"),
  () => iret("80 64 24 01 fe"),
];

function program(r: Random): string {
  const body = Array.from({ length: 3 + r.below(20) }, () => r.pick(INSTRUCTIONS)(r)).join(" ");
  const length = body.split(" ").length;
  return `bd ${le(1 + r.below(6))} ${body} ff cd 0f 85 ${le(-(length + 8))} f4`;
}

/** One to four breakpoints: addresses, DR7. */
function breakpoints(r: Random, length: number): readonly [bigint[], number] {
  let value = 0x400;
  const addresses = Array.from({ length: r.below(5) }, (_, i) => {
    const type = r.pick([0, 0, WRITE, ACCESS]);
    const size = type === 0 ? 0 : r.pick([0, 1, 3, 2]);
    value |= (1 << (i * 2)) | ((type | (size << 2)) << (16 + i * 4));
    return BigInt(type === 0 ? CODE + r.below(length) : DATA + r.below(72));
  });
  return [addresses, value];
}

/** What happens, event by event. */
function trace(t: GuestCpu, seed: number): string[] {
  const r = new Random(seed);
  const code = program(r);
  const length = code.split(" ").length;
  t.vm.linear.u8.fill(0, t.ram + DATA, t.ram + DATA + 0x100);
  t.set({ RAX: 0n, RDX: 0n, RCX: 0n, RBX: BigInt(DATA), RSP: BigInt(At.STACK) }).code(code);
  t.cpu.dropTraps();
  t.control({ rflags: r.below(4) === 0 ? 2n | Flag.TF : 2n });
  const list: string[] = [];
  const start = t.cpu.instructions;
  t.cpu.watch(...breakpoints(r, length));
  while (list.length < 400) {
    const exit = t.run(1 + r.below(60));
    if (exit === EngineExit.BUDGET) {
      if (r.below(8) === 0) t.cpu.watch(...breakpoints(r, length));
      continue;
    }
    if (exit === EngineExit.CPUID) {
      t.cpu.completeCpuid(1, Number(t.reg(Reg.RBX)), 3, 4);
      continue;
    }
    const state = [
      t.rip - CODE,
      t.reg(Reg.RAX),
      t.reg(Reg.RCX),
      t.cpu.rflags,
      t.cpu.instructions - start,
    ];
    list.push(
      `${exit} ${t.cpu.exit.dataLow & 0xffff} ${state.map((n) => n.toString(16)).join(" ")}`,
    );
    if (exit !== EngineExit.DEBUG) break;
    // As debuggers do behind a breakpoint on code; now and then everything is set anew.
    if ((t.cpu.exit.dataLow & 0x4000) === 0) t.control({ rflags: t.cpu.rflags | Flag.RF });
    if (r.below(10) === 0) t.cpu.watch(...breakpoints(r, length));
    if (r.below(30) === 0) t.control({ rflags: t.cpu.rflags ^ Flag.TF });
  }
  const memory = t.vm.linear.u8.subarray(t.ram + DATA, t.ram + DATA + 0x80);
  return [...list, Buffer.from(memory).toString("hex")];
}

describe("random programs and breakpoints", () => {
  const SEED = Number(process.env["KVM_XEN_SEED"] ?? 20_261_129);
  it(`stop alike on all paths (seed ${SEED})`, async () => {
    const [a, b, c] = await Promise.all([
      GuestCpu.create("long64", { decode: "cached" }),
      GuestCpu.create("long64", { decode: "each" }),
      GuestCpu.create("long64", { decode: "compiled" }),
    ]);
    for (const t of [a, b, c]) t.cpu.intercept(3);
    let events = 0;
    for (let i = 0; i < 600; i++) {
      const expected = trace(b, SEED + i);
      events += expected.length;
      expect(trace(a, SEED + i), `seed ${SEED + i}`).toEqual(expected);
      expect(trace(c, SEED + i), `seed ${SEED + i}`).toEqual(expected);
    }
    expect(events).toBeGreaterThan(5000);
  }, 120_000);
});

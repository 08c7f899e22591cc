import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { DecodePath, WasmVcpu } from "../bridge/index.js";
import { EngineExit } from "../bridge/port.js";
import { At, Flag, GuestCpu, type Mode, Pte, Reg, Sel, segment } from "./guest-cpu.fixture.js";

/*
 * The rules of core/cpu/debug.ts, asked of an AMD processor: tests/native/between/between.c has played
 * these cases there, and between.out is what it printed.
 */
const FILES = new URL("../../../tests/native/between/", import.meta.url);
const lines = (name: string): string[] =>
  readFileSync(new URL(name, FILES), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

const CODE = At.USER_CODE;
const DATA = At.DATA;
const STACK = At.USER_STACK - 0x800;
const DR6_FIXED = 0xffff0ff0n;
const SHOWN = 0x400fn;
const INT3 = 3;
const DB = 1;
const UD = 6;

interface Breakpoint {
  readonly kind: number;
  readonly length: number;
  readonly at: bigint;
}

interface Case {
  readonly name: string;
  readonly mode: Mode;
  readonly code: string;
  readonly flags: bigint;
  readonly breakpoints: readonly Breakpoint[];
  readonly stack: readonly bigint[];
  readonly rcx: bigint;
}

function value(text: string): bigint {
  const [low = "", high] = text.split("/");
  if (high !== undefined) return value(low) | (value(high) << 32n);
  const base = { c: CODE, d: DATA, s: STACK }[low.slice(0, 1)];
  if (base === undefined || !/^[cds]([+]|$)/.test(low)) return BigInt(`0x${low}`);
  return BigInt(base + Number.parseInt(low.slice(2) || "0", 16));
}

function parse(line: string): Case {
  const [name = "", rest = ""] = line.split(": ");
  const words = new Map(rest.split(" ").map((word) => word.split("=") as [string, string]));
  const list = (key: string): string[] => words.get(key)?.split(",") ?? [];
  return {
    name,
    mode: words.get("bits") === "32" ? "long32" : "long64",
    code: words.get("code") ?? "",
    flags: list("flags").reduce((all, flag) => all | Flag[flag as "TF" | "RF"], 0x202n),
    breakpoints: list("dr").map((text) => ({
      kind: { x: 0, w: 1, r: 3 }[text.slice(0, 1)] ?? 0,
      length: Number(text.slice(1, 2)),
      at: value(text.slice(3)),
    })),
    stack: list("stack").map(value),
    rcx: BigInt(`0x${words.get("rcx") ?? "0"}`),
  };
}

const dr7Of = (list: readonly Breakpoint[]): number =>
  list.reduce((all, { kind, length }, i) => {
    const code = length === 8 ? 2 : length - 1;
    return all | (1 << (i * 2)) | ((kind | (code << 2)) << (16 + i * 4));
  }, 0x400);

/** Who has set the breakpoints and hears of #DB: the guest, or a debugger outside of it. */
type Door = "guest" | "debugger";

class Player {
  readonly t: GuestCpu;
  readonly #door: Door;

  private constructor(t: GuestCpu, door: Door) {
    this.t = t;
    this.#door = door;
  }

  static async create(mode: Mode, door: Door, decode: DecodePath): Promise<Player> {
    const t = await GuestCpu.create(mode, { cpl: 3, decode });
    t.gate(INT3, Sel.CODE64, At.HANDLERS + INT3 * 16, 0xe, 3);
    t.put64(t.entry(BigInt(DATA)), BigInt(DATA) | Pte.P | Pte.W | Pte.U | Pte.NX);
    for (const hole of [DATA - 0x1000, DATA + 0x1000]) t.put64(t.entry(BigInt(hole)), 0n);
    return new Player(t, door);
  }

  get #cpu(): WasmVcpu {
    return this.t.cpu;
  }

  play(test: Case): string {
    const { t } = this;
    const cpu = this.#cpu;
    cpu.dropTraps();
    t.vm.linear.u8.fill(0, t.ram + DATA, t.ram + DATA + 0x1000);
    t.vm.linear.u8.fill(0, t.ram + STACK - 0x800, t.ram + STACK + 0x800);
    t.put16(DATA, Sel.USER_DATA);
    for (const [i, word] of test.stack.entries()) t.put64(STACK + i * 8, word);
    t.bytes(CODE, `${test.code}f4`);
    t.set({ RAX: BigInt(Sel.USER_DATA), RBX: BigInt(DATA), RCX: test.rcx, RDX: 0n });
    t.set({ RDI: BigInt(DATA + 0x100), RSI: BigInt(DATA + 0x180), RBP: 0n });
    this.#toUser(BigInt(CODE), test.flags, BigInt(STACK), test.mode);
    const addresses = [0, 1, 2, 3].map((i) => test.breakpoints[i]?.at ?? 0n);
    const dr7 = dr7Of(test.breakpoints);
    if (this.#door === "debugger") {
      cpu.watch(addresses, dr7);
      cpu.intercept(1);
    } else {
      for (const [i, at] of addresses.entries()) cpu.setDr(i, at);
      cpu.setDr(7, BigInt(dr7));
    }
    const stops: string[] = [];
    while (stops.length < 12) {
      cpu.setDr(6, DR6_FIXED);
      const stop = this.#stop(test);
      stops.push(stop.text + (test.rcx === 0n ? "" : ` rcx=${t.reg(Reg.RCX).toString(16)}`));
      if (stop.last) break;
    }
    return `${test.name}: ${stops.join("; ")}`;
  }

  /** Runs to the next event, as a tracer sees it, and to where it goes on. */
  #stop(test: Case): { readonly text: string; readonly last: boolean } {
    const { t } = this;
    const cpu = this.#cpu;
    let exit = t.run(1000);
    while (exit === EngineExit.CPUID) {
      cpu.completeCpuid(1, 2, 3, 4);
      exit = t.run(1000);
    }
    let vector = DB;
    let [rip, flags, rsp] = [cpu.rip, cpu.rflags, t.reg(4)];
    let dr6 = BigInt(cpu.exit.dataLow);
    if (exit !== EngineExit.DEBUG) {
      expect(exit).toBe(EngineExit.HLT);
      vector = (t.rip - 1 - At.HANDLERS) / 16;
      const frame = t.stack(6);
      // Of the other vectors that come by, all but #UD have an error code.
      const at = [DB, INT3, UD].includes(vector) ? 0 : 1;
      [rip, flags, rsp] = [frame[at] ?? 0n, frame[at + 2] ?? 0n, frame[at + 3] ?? 0n];
      dr6 = cpu.dr(6);
    }
    const offset = rip - BigInt(CODE);
    const place = offset >= 0n && offset < 0x1000n ? `+${offset.toString(16)}` : rip.toString(16);
    if (vector === UD) return { text: `${place} ud`, last: true };
    if (vector !== DB && vector !== INT3) {
      const end = Number(offset) === test.code.length / 2;
      return { text: `${place} ${end ? "end" : "fault"}`, last: true };
    }
    // Who handles a breakpoint on code sets RF to go on.
    const onCode = test.breakpoints.some(
      ({ kind }, i) => kind === 0 && ((dr6 >> BigInt(i)) & 1n) !== 0n,
    );
    if (vector === DB && onCode) flags |= Flag.RF;
    this.#toUser(rip, flags, rsp, test.mode);
    if (vector === INT3) return { text: `${place} int3`, last: false };
    const names = `${(flags & Flag.TF) !== 0n ? " TF" : ""}${(flags & Flag.RF) !== 0n ? " RF" : ""}`;
    return { text: `${place} ${(dr6 & SHOWN).toString(16)}${names}`, last: false };
  }

  #toUser(rip: bigint, flags: bigint, rsp: bigint, mode: Mode): void {
    const cpu = this.#cpu;
    const wide = mode === "long64";
    const cs = wide ? Sel.USER_CODE64 : Sel.USER_CODE32;
    cpu.setSegment(1, segment(cs, 0, 0xffffffff, 0xb, { dpl: 3, l: wide, db: !wide, g: true }));
    cpu.setSegment(2, segment(Sel.USER_DATA, 0, 0xffffffff, 3, { dpl: 3, db: true, g: true }));
    cpu.setGpr(4, rsp);
    cpu.rip = rip;
    cpu.rflags = flags;
    cpu.syncSregs();
  }
}

const cases = lines("between.cases").map(parse);
/** As an AMD EPYC has it, at the engine's addresses. */
const native = lines("between.out").map((line) => line.replaceAll(/\b20000000\b/g, "100000"));

describe.each(["blocks", "single instructions"])("between two instructions, by %s", (path) => {
  describe.each<Door>(["guest", "debugger"])("to the %s", (door) => {
    const players = new Map<Mode, Player>();
    const playerFor = async (mode: Mode): Promise<Player> => {
      const player =
        players.get(mode) ??
        (await Player.create(mode, door, path === "blocks" ? "cached" : "each"));
      players.set(mode, player);
      return player;
    };

    it.each(
      cases.map((test, i) => [test.name, test, native[i] ?? ""] as const),
    )("%s", async (_, test, answer) => {
      const player = await playerFor(test.mode);
      expect(player.play(test)).toBe(answer);
      // Again with everything decoded.
      expect(player.play(test)).toBe(answer);
    });
  });
});

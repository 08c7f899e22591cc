/**
 * A guest that tries one instruction at thousands of addresses that nothing is mapped at: its fault
 * handler notes what happened, moves the registers to the next address, and goes back. The guest itself
 * lies in the upper half of the TLB's entries and far away in the address space, so that the entries of
 * low addresses stay empty.
 */
import { assert } from "../../src/base/index.js";
import { EngineExit } from "../../src/engine/bridge/port.js";
import {
  At,
  CR0,
  CR4,
  Flag,
  GuestCpu,
  Pte,
  Sel,
  segment,
} from "../../src/engine/tests/guest-cpu.fixture.js";
import { little } from "./encode.mjs";

/** Where the guest's memory is mapped, and nothing else. */
export const HIGH = 0x40400000;
/** What makes accesses be looked at one by one, through the TLB that is always empty, or at which level they are. */
export type Condition = "user" | "supervisor" | "alignment checks" | "data breakpoints";
/** Which of the engine's paths executes the code. */
export type Path = "cached" | "each" | "compiled";
/** Instructions of a run on the compiled path. */
const PIECE = 200;
/** What holds the address that is tried: a register, or the memory that the others point to. RAX and RDX are for one value only. */
export type Carrier = "rsi" | "rdi" | "rbx" | "rbp" | "rsp" | "memory" | "rax" | "rdx";
/** Those that code has its addresses in. */
export const CARRIERS: readonly Carrier[] = ["rsi", "rdi", "rbx", "rbp", "rsp", "memory"];

/** A fault that the handler saw. */
export interface Fault {
  readonly vector: number;
  readonly error: number;
  readonly cr2: bigint;
}

// In the guest's RAM.
const HANDLERS = 0xa000;
const ENTRY = 0xb000;
const CELL = 0x100800;
const LIST = 0x180000;
const LOG = 0x200000;
const LOG_BYTES = 16;
const VECTORS = [12, 13, 14, 17] as const;
const BREAKPOINT = 3;

const high = (at: number): bigint => BigInt(HIGH + at);

/** The part of the handler that gives the next address to its carrier and returns to the code. */
function moves(carrier: Carrier): number[] {
  const to = (name: Carrier, moved: number[], fixed: number[]) =>
    carrier === name ? moved : fixed;
  return [
    ...[0x4d, 0x39, 0xdd, 0x75, 0x01, 0xf4], // cmp r13,r11; jne +1; hlt
    ...[0x4d, 0x8b, 0x4d, 0x00, 0x49, 0x83, 0xc5, 0x08], // mov r9,[r13]; add r13,8
    ...to("rsi", [0x4c, 0x89, 0xce], [0x4c, 0x89, 0xd6]), // mov rsi,r9 or r10
    ...to("rbx", [0x4c, 0x89, 0xcb], [0x4c, 0x89, 0xd3]),
    ...to("rbp", [0x4c, 0x89, 0xcd], [0x4c, 0x89, 0xd5]),
    ...to("rsp", [0x4c, 0x89, 0x4c, 0x24, 0x20], [0x4c, 0x89, 0x54, 0x24, 0x20]), // mov [rsp+32],r9 or r10
    ...to("memory", [0x4d, 0x89, 0x0a], []), // mov [r10],r9
    ...to("rdi", [0x4c, 0x89, 0xcf], [0x4c, 0x89, 0xd7]),
    ...[0x4c, 0x89, 0x64, 0x24, 0x08], // mov [rsp+8],r12
    ...[0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf], // add rsp,8; iretq
  ];
}

/** Notes vector, error code and CR2 at [r14]. */
function notes(vector: number): number[] {
  return [
    ...[0x41, 0xc7, 0x06, ...little(vector, 4)], // mov dword [r14],vector
    ...[0x4c, 0x8b, 0x0c, 0x24, 0x45, 0x89, 0x4e, 0x04], // mov r9,[rsp]; mov [r14+4],r9d
    ...[0x41, 0x0f, 0x20, 0xd1, 0x4d, 0x89, 0x4e, 0x08], // mov r9,cr2; mov [r14+8],r9
    ...[0x49, 0x83, 0xc6, LOG_BYTES], // add r14,16
  ];
}

/** The guest. */
export class Sweep {
  readonly guest: GuestCpu;
  readonly condition: Condition;
  readonly #path: Path;

  private constructor(guest: GuestCpu, condition: Condition, path: Path) {
    this.guest = guest;
    this.condition = condition;
    this.#path = path;
    guest.vm.core.setDecodeEach(path === "each");
    this.#move();
  }

  static async create(condition: Condition, path: Path): Promise<Sweep> {
    const cpl = condition === "supervisor" ? 0 : 3;
    const decode = path === "compiled" ? path : "cached";
    return new Sweep(await GuestCpu.create("long64", { cpl, decode }), condition, path);
  }

  /** Maps RAM to HIGH and nowhere else, and tells the processor. */
  #move(): void {
    const { guest } = this;
    for (let at = 0; at < At.RAM; at += 0x1000)
      guest.map(high(at), BigInt(at), Pte.P | Pte.W | Pte.U);
    for (const at of [0n, 0x200000n]) guest.put64(guest.entry(at, 2), 0n);
    for (const [i, vector] of VECTORS.entries()) {
      const at = HANDLERS + i * 0x40;
      guest.gate(vector, Sel.CODE64, HIGH + at, 0xe, 0, 1);
      this.#write(at, [
        ...notes(vector),
        0xe9,
        ...little(ENTRY - (at + notes(vector).length + 5), 4),
      ]);
    }
    guest.gate(BREAKPOINT, Sel.CODE64, HIGH + At.HANDLERS + BREAKPOINT * 16, 0xe, 3, 2);
    guest.gate(6, Sel.CODE64, HIGH + At.HANDLERS + 6 * 16, 0xe, 0, 2);
    for (const n of [1, 2]) guest.put64(At.TSS + 28 + n * 8, high(At.IST + n * 0x800));
    const { cpu } = guest;
    cpu.setGdt({ base: high(At.GDT), limit: 0xff });
    cpu.setIdt({ base: high(At.IDT), limit: 0xfff });
    cpu.setSegment(7, { ...segment(Sel.TSS, 0, 0x7ff, 11, { s: false }), base: high(At.TSS) });
    const alignment = this.condition === "alignment checks";
    if (this.condition === "data breakpoints") {
      cpu.setDr(0, high(0x3ff000));
      cpu.setDr(7, 0x10401n);
    }
    guest.control({
      cr0: cpu.cr0 | (alignment ? CR0.AM : 0n),
      cr4: cpu.cr4 | CR4.OSFXSR,
      rflags: 2n | (alignment ? Flag.AC : 0n),
    });
  }

  #write(at: number, bytes: readonly number[]): void {
    this.guest.vm.linear.u8.set(bytes, this.guest.ram + at);
    this.guest.vm.noteWrite((this.guest.ram + at) as never, bytes.length);
  }

  /**
   * Tries `code` at all `addresses`. Gives the fault of each, or undefined when it went through
   * somewhere, which is the last one then.
   */
  run(code: readonly number[], carrier: Carrier, addresses: BigUint64Array): (Fault | undefined)[] {
    const { guest } = this;
    const { cpu } = guest;
    this.#write(At.CODE, [...code, 0xcc]);
    this.#write(ENTRY, moves(carrier));
    const memory = guest.vm.linear;
    memory.u8.set(new Uint8Array(addresses.buffer), guest.ram + LIST);
    const first = addresses[0] as bigint;
    const of = (name: Carrier) => (carrier === name ? first : high(CELL));
    guest.set({
      RSI: of("rsi"),
      RBX: of("rbx"),
      RBP: of("rbp"),
      RSP: of("rsp"),
      RDI: of("rdi"),
      RDX: carrier === "rdx" ? first : -2n,
      RAX: carrier === "rax" ? first : 0n,
    });
    guest.put64(CELL, carrier === "memory" ? first : 0n);
    const registers = {
      8: 0n,
      10: high(CELL),
      11: high(LIST + addresses.length * 8),
      12: high(At.CODE),
    };
    for (const [n, value] of Object.entries(registers)) cpu.setGpr(Number(n), value);
    cpu.setGpr(13, high(LIST + 8));
    cpu.setGpr(14, high(LOG));
    cpu.rip = high(At.CODE);
    this.#restore();
    const exit = this.#runToEnd(addresses.length * 40 + 1000);
    assert(exit === EngineExit.HLT, `sweep: exit ${exit} at ${cpu.rip.toString(16)}`);
    const seen = Number(cpu.gpr(14) - high(LOG)) / LOG_BYTES;
    const faults = Array.from({ length: seen }, (_, i) => this.#fault(i));
    return seen < addresses.length ? [...faults, undefined] : faults;
  }

  /** Code is compiled between runs: on that path they are short. */
  #runToEnd(instructions: number): number {
    const { guest } = this;
    if (this.#path !== "compiled") return guest.run(instructions);
    let exit: number = EngineExit.BUDGET;
    for (let left = instructions; left > 0 && exit === EngineExit.BUDGET; left -= PIECE)
      exit = guest.run(PIECE);
    return exit;
  }

  /**
   * Registers that an earlier run's end, in a handler, has changed. For a supervisor none that empties
   * the TLB.
   */
  #restore(): void {
    const { guest, condition } = this;
    if (condition === "supervisor") return;
    const attributes = { dpl: 3, g: true };
    guest.cpu.setSegment(
      1,
      segment(Sel.USER_CODE64, 0, 0xffffffff, 0xb, { ...attributes, l: true }),
    );
    guest.cpu.setSegment(2, segment(Sel.USER_DATA, 0, 0xffffffff, 3, { ...attributes, db: true }));
    guest.control({ rflags: 2n | (condition === "alignment checks" ? Flag.AC : 0n) });
  }

  #fault(i: number): Fault {
    const at = LOG + i * LOG_BYTES;
    const { guest } = this;
    return { vector: guest.u32(at), error: guest.u32(at + 4), cr2: guest.u64(at + 8) };
  }
}

const TLB_ENTRIES = 2048;
const PLACES = [0, 1, 0xff1, 0xff9, 0xffd, 0xfff, 0x801, 0x11];

/** Every address from 0 to behind the first page, and one in each page of the TLB's reach, low, high and not canonical. */
export function everyAddress(): BigUint64Array {
  const low = Array.from({ length: 0x1010 }, (_, at) => BigInt(at));
  const entries = [0n, 0xffffffff80000000n, 0x8000000000000000n].flatMap((base) =>
    Array.from(
      { length: TLB_ENTRIES },
      (_, i) => base + BigInt((i << 12) | (PLACES[i % PLACES.length] as number)),
    ),
  );
  return BigUint64Array.from([...low, ...entries]);
}

/** Of those, a few: all that a mask of low bits could tell apart. */
export function someAddresses(): BigUint64Array {
  return everyAddress().filter((_, i) => i < 20 || i % 17 === 0 || (i >= 0xff0 && i < 0x1010));
}

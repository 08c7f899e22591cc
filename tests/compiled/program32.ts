/**
 * Random programs of 32-bit code at privilege level 3, as those of program.ts: with flat segments and with others that come in
 * the middle, far calls to 16-bit and 64-bit code, a stack and addresses that wrap at 4 GiB. Exceptions go
 * on with the next turn of the loop.
 */
import {
  At,
  CR4,
  Flag,
  type GuestCpu,
  Pte,
  Sel,
  segment,
} from "../../src/engine/tests/guest-cpu.fixture.js";
import { little } from "../escape/encode.mjs";
import { randomCode } from "../escape/random-code.mjs";
import type { Prng } from "../native/prng.mjs";
import type { Row } from "../native/types.js";

export const MODES32 = ["paging32", "long32"] as const;

const { DATA, USER_CODE: CODE } = At;
const DATA_PAGES = 6;
const READ_ONLY = DATA + 0x3000;
const ABSENT = DATA + 0x4000;
/** The last page below 4 GiB is one of the pages of data; behind it comes page 0. */
const LAST_PAGE = 0xfffff000;
const LAST_DATA = DATA + 0x5000;
const ROUTINE = CODE + 0xa00;
const CODE16_AT = CODE + 0xc00;
const CODE64_AT = CODE + 0xd00;
const RECOVER = At.CODE + 0x800;
/** Turns of the program's loop, of an inner one, and the address of a routine. */
const TURNS = 0x180000;
const INNER = TURNS + 4;
const POINTER = TURNS + 8;
const VECTORS = 32;
const FREE = [Sel.FREE, Sel.FREE + 8, Sel.FREE2, Sel.FREE2 + 8, Sel.FREE3, Sel.FREE3 + 8] as const;
const [SMALL, BASED, PART, STACK16, CODE16, DOWN] = FREE.map((each) => each | 3) as [
  number,
  number,
  number,
  number,
  number,
  number,
];
const [ES, SS, DS, FS, GS] = [0, 2, 3, 4, 5] as const;

const hex = (bytes: readonly number[]): string => Buffer.from(bytes).toString("hex");
const word = (value: number | bigint): number[] => little(value, 4);
const relative = (from: number, to: number): number[] => word(to - from - 4);
/** mov r32, imm32 */
const mov = (register: number, value: number | bigint): number[] => [
  0xb8 + register,
  ...word(value),
];
/** mov eax, selector; mov segment, ax */
const load = (seg: number, selector: number): number[] => [
  ...mov(0, selector),
  0x8e,
  0xc0 | (seg << 3),
];
/** dec dword [at], with an addressing that 64-bit code reads alike; jnz or jg to `to`, from `here`. */
const countDown = (at: number, jump: number, here: number, to: number): number[] => {
  const dec = [0xff, 0x0c, 0x25, ...word(at), 0x0f, jump];
  return [...dec, ...relative(here + dec.length, to)];
};
const JNZ = 0x85;
const JG = 0x8f;

function startValues(rng: Prng, flat: boolean): number[] {
  const pointer = (): number => {
    const page = rng.chance(25)
      ? rng.pick([LAST_PAGE, LAST_PAGE, 0])
      : DATA + rng.below(DATA_PAGES) * 0x1000;
    return page + rng.pick([0, 8, 0x40, 0x800, 0xff0, 0xff9, 0xffc, 0xffe, 0xfff]);
  };
  const bytes = flat ? [ES, DS, SS].flatMap((seg) => load(seg, Sel.USER_DATA)) : [];
  for (const register of [0, 2, 3, 5, 6, 7])
    bytes.push(...mov(register, rng.chance(20) ? rng.u64() : pointer()));
  // An index: small, or one that wraps.
  bytes.push(...mov(1, rng.pick([0, 1, 4, 0x1000, -1, -8, -0x1000, 0x80000000])));
  const stack = rng.chance(80)
    ? At.USER_STACK
    : rng.pick([2, 4, 6, LAST_PAGE + 8, LAST_PAGE + 0xffe]);
  return [...bytes, ...mov(4, stack)];
}

/** A segment register gets something else, most of it not flat, and is used. */
function changeSegment(rng: Prng): number[] {
  const seg = rng.pick([ES, DS, DS, SS, SS, FS, FS, GS, GS]);
  const selector = rng.pick([SMALL, BASED, BASED, PART, STACK16, DOWN, Sel.USER_DATA, 0]);
  // mov ecx, [ebx] or mov [ebx], ecx with FS or GS before it; push ecx, pop edx.
  const access = [seg === FS ? 0x64 : 0x65, rng.pick([0x8b, 0x89]), 0x0b];
  const offset = mov(3, rng.pick([0, 0x7f8, 0x7fe, 0x900, 0x100ffe, 0x101000, -4]));
  const use = seg === SS ? [0x90, 0x51, 0x5a] : seg >= FS ? [...offset, ...access] : [];
  return [0x50, ...load(seg, selector), 0x58, ...use];
}

function join(rng: Prng, piece: readonly number[], at: number, long: boolean): number[] {
  switch (rng.below(10)) {
    case 0: // over the piece, or not
      return [0x0f, 0x80 + rng.below(16), ...word(piece.length), ...piece];
    case 1: {
      // mov dword [inner], n; piece; dec dword [inner]; jnz back
      const start = [0xc7, 0x05, ...word(INNER), ...word(rng.range(2, 9))];
      const body = [...start, ...piece];
      return [...body, ...countDown(INNER, JNZ, at + body.length, at + start.length)];
    }
    case 2: {
      // call over the piece to itself, which returns behind it
      const skip = [0xe9, ...word(piece.length + 1)];
      return [0xe8, ...word(skip.length), ...skip, ...piece, 0xc3];
    }
    case 3: {
      // call routine; piece; call [pointer]; mov edx, routine; call edx
      const first = [0xe8, ...relative(at + 1, ROUTINE), ...piece];
      return [...first, 0xff, 0x15, ...word(POINTER), ...mov(2, ROUTINE), 0xff, 0xd2];
    }
    case 4: // test byte [turns], 7; jnz over; push somewhere; ret
      return [0xf6, 0x05, ...word(TURNS), 7, 0x75, 6, 0x68, ...word(rng.u64()), 0xc3, ...piece];
    case 5:
    case 6:
      return [...changeSegment(rng), ...piece];
    case 7: // call far
      return [...piece, 0x9a, ...word(0), ...little(CODE16, 2)];
    case 8:
      return long
        ? [...piece, 0x9a, ...word(CODE64_AT), ...little(Sel.USER_CODE64, 2)]
        : [...piece];
    default:
      return [...piece];
  }
}

/** Goes on at `loop` at privilege level 3, or stops when all turns are done. At privilege level 0. */
function recovery(rng: Prng, loop: number, long: boolean): number[] {
  const segments = rng.chance(70) ? [FS, GS].flatMap((seg) => load(seg, Sel.USER_DATA)) : [];
  const code = [...load(DS, Sel.DATA), ...load(ES, Sel.DATA), ...segments];
  code.push(...mov(4, At.STACK0));
  const frame = [Sel.USER_DATA, At.USER_STACK, 2, Sel.USER_CODE32, loop].flatMap((value) => [
    0x68,
    ...word(value),
  ]);
  const back = [...frame, ...(long ? [0x48] : []), 0xcf];
  const here = RECOVER + code.length;
  code.push(...countDown(TURNS, JG, here, here + 14), 0xf4, ...back);
  return code;
}

function describe(t: GuestCpu): void {
  t.descriptor(SMALL, 0, 0x100, 0xf3, 0xc);
  t.descriptor(BASED, DATA, 0xfffff, 0xf3, 0xc);
  t.descriptor(PART, DATA + 0x800, 0x7ff, 0xf3, 4);
  t.descriptor(STACK16, 0, 0xfffff, 0xf3, 8);
  t.descriptor(CODE16, CODE16_AT, 0xffff, 0xfb);
  t.descriptor(DOWN, 0, 0x100, 0xf7, 0xc);
  const flat = (type: number) => ({ dpl: 3, db: true, g: true, type });
  t.cpu.setSegment(1, segment(Sel.USER_CODE32, 0, 0xffffffff, 0xb, flat(0xb)));
  for (const seg of [ES, SS, DS, FS, GS])
    t.cpu.setSegment(seg, segment(Sel.USER_DATA, 0, 0xffffffff, 3, flat(3)));
}

/** Sets the entry of a page in the guest's tables. */
function entry(t: GuestCpu, page: number, value: bigint): void {
  if (t.mode === "long32") {
    if (page === LAST_PAGE) t.map(BigInt(page), value & ~0xfffn, value & 0xfffn);
    else t.put64(t.entry(BigInt(page)), value);
    return;
  }
  const at = Number(t.cpu.cr3) + (page >>> 22) * 4;
  if (t.u32(at) === 0) t.put32(at, t.tablePage() | 7);
  t.put32((t.u32(at) & ~0xfff) + ((page >>> 12) & 0x3ff) * 4, Number(value));
}

/** Writes a program into the guest, for a number of turns of its loop. */
export function place32(t: GuestCpu, rows: readonly Row[], rng: Prng): void {
  const long = t.mode === "long32";
  for (let page = 0; page < DATA_PAGES; page++)
    for (let i = 0; i < 0x1000; i += 8) t.put64(DATA + page * 0x1000 + i, rng.u64());
  entry(t, READ_ONLY, BigInt(READ_ONLY) | Pte.P | Pte.U);
  entry(t, ABSENT, 0n);
  // What wraps must not write to the processor's tables.
  for (const page of [At.GDT, At.IDT, At.TSS]) entry(t, page, BigInt(page) | Pte.P | Pte.W);
  entry(t, LAST_PAGE, BigInt(LAST_DATA) | Pte.P | Pte.W | Pte.U);
  t.put32(TURNS, rng.range(20, 200));
  t.put32(POINTER, ROUTINE);
  t.bytes(ROUTINE, hex([...randomCode(rng, rows, rng.range(0, 20), 32), 0xc3]));
  // In 16-bit code the same bytes mean something else. RETF of 32 bits.
  t.bytes(CODE16_AT, hex([...randomCode(rng, rows, rng.range(0, 12), 32), 0x66, 0xcb]));
  // mov rax, imm64 leaves upper halves that 32-bit code does not see.
  const wide = [0x48, 0xb8 + rng.below(4), ...little(rng.u64(), 8)];
  t.bytes(CODE64_AT, hex([...wide, ...randomCode(rng, rows, rng.range(0, 20)), 0xcb]));
  const code = startValues(rng, rng.chance(70));
  for (let i = rng.range(2, 8); i > 0; i--) {
    const piece = [...randomCode(rng, rows, rng.range(3, 40), 32)];
    code.push(...join(rng, piece, CODE + code.length, long));
  }
  // HLT is a fault here.
  code.push(...countDown(TURNS, JNZ, CODE + code.length, CODE), 0xf4);
  t.bytes(CODE, hex(code));
  t.bytes(RECOVER, hex(recovery(rng, CODE, long)));
  for (let vector = 0; vector < VECTORS; vector++) {
    const at = At.HANDLERS + vector * 16;
    t.bytes(at, hex([0xe9, ...relative(at + 1, RECOVER)]));
    t.gate(vector, long ? Sel.CODE64 : Sel.CODE32, at, 0xe);
  }
  describe(t);
  const { cr0, cr3, cr4, efer } = t.cpu;
  t.control({ rflags: Flag.CF, cr0, cr3, cr4: cr4 | CR4.OSFXSR, efer });
  t.cpu.rip = BigInt(CODE);
}

/** All that the program can see of the processor, as text. */
export function stateOf32(t: GuestCpu): string {
  const { cpu } = t;
  const words = Array.from({ length: 16 }, (_, i) => cpu.gpr(i).toString(16));
  const segments = [0, 1, 2, 3, 4, 5].map((n) => {
    const { selector, base, limit } = cpu.segment(n);
    return `${selector}:${base}:${limit}`;
  });
  const image = Buffer.from(cpu.fpu()).toString("hex");
  return [cpu.rip.toString(16), cpu.rflags.toString(16), cpu.instructions, ...words, ...segments]
    .concat(image)
    .join(" ");
}

/** The memory that the program can change, and its own code. */
export function memoryOf32(t: GuestCpu): string {
  const part = (from: number, bytes: number): string =>
    Buffer.from(t.vm.linear.u8.subarray(t.ram + from, t.ram + from + bytes)).toString("base64");
  return (
    part(0, 0x2000) +
    part(DATA, DATA_PAGES * 0x1000) +
    part(At.USER_STACK - 0x400, 0x400) +
    part(CODE, 0x1000)
  );
}

/**
 * Random programs of 64-bit code: a loop over pieces of random instructions, with jumps, loops and calls between
 * them, whose operands are registers and memory: plain, across pages, write-protected, absent, and code. Exceptions go on
 * with the next turn of the loop.
 */
import { At, CR4, Flag, type GuestCpu, Pte } from "../../src/engine/tests/guest-cpu.fixture.js";
import { little } from "../escape/encode.mjs";
import { randomCode } from "../escape/random-code.mjs";
import { Prng } from "../native/prng.mjs";
import type { Row } from "../native/types.js";
import { kernelCode } from "./kernel-code.js";

/** Where the program's data is: pages that can be written, one that cannot, one that is absent, and again some. */
const DATA = At.DATA;
const DATA_PAGES = 6;
const READ_ONLY = DATA + 0x3000;
const ABSENT = DATA + 0x4000;
const RECOVER = At.CODE + 0x800;
/** A return that several routines end with. */
const COMMON_RETURN = At.CODE + 0x7f0;
/** Exceptions that have error codes and those that have not, all the same here: the stack begins anew. */
const VECTORS = 32;

const hex = (bytes: readonly number[]): string => Buffer.from(bytes).toString("hex");
/** mov r64, imm64 for registers 0 to 7. */
const movAbs = (register: number, value: bigint): number[] => [
  0x48,
  0xb8 + register,
  ...little(value, 8),
];
const relative = (from: number, to: number): number[] => little(to - from - 4, 4);

const RSP = 4;
/** An address of data: at the beginning, in the middle or at the end of a page. */
function dataPlace(rng: Prng): number {
  const page = DATA + rng.below(DATA_PAGES) * 0x1000;
  return page + rng.pick([0, 8, 0x40, 0x800, 0xff0, 0xff9, 0xffc, 0xfff]);
}

/** What the loop starts each turn with, by register: RAX RCX RDX RBX RSP RBP RSI RDI. */
function startValues(rng: Prng): number[] {
  const pointer = (): bigint => BigInt(dataPlace(rng));
  const bytes: number[] = [];
  for (const register of [0, 1, 2, 3, 5, 6, 7]) {
    const value = rng.chance(20) ? rng.u64() : rng.chance(12) ? BigInt(At.CODE + 0x100) : pointer();
    bytes.push(...movAbs(register, value));
  }
  bytes.push(...movAbs(RSP, BigInt(At.STACK)));
  return bytes;
}

/** Ways from one piece to the next. R12 counts turns of an inner loop, R13 how often one is entered in its middle. */
function join(rng: Prng, piece: readonly number[], routine: number, at: number): number[] {
  const jump = [0x0f, 0x80 + rng.below(16)];
  switch (rng.below(7)) {
    case 0: // over the piece, or not
      return [...jump, ...little(piece.length, 4), ...piece];
    case 1: // mov r12d, n; piece; dec r12d; jnz back
      return [
        ...[0x41, 0xbc, ...little(rng.range(2, 9), 4)],
        ...piece,
        ...[0x41, 0xff, 0xcc, 0x0f, 0x85, ...little(-(piece.length + 9), 4)],
      ];
    case 2: {
      // call over the piece to itself, which returns behind it: itself, or by a jump to a return that others use, too
      const back = at + 10 + piece.length;
      const end = rng.chance(50) ? [0xc3] : [0xe9, ...relative(back + 1, COMMON_RETURN)];
      const skip = [0xe9, ...little(piece.length + end.length, 4)];
      return [...[0xe8, ...little(skip.length, 4)], ...skip, ...piece, ...end];
    }
    case 3: // the routine, from two places and through a register: it returns to each in turn
      return routineTwice(at, piece, routine);
    case 4: {
      // mov r12d, 3; test r13b, 1; jnz into the middle; piece; middle: inc r13d; dec r12d; jnz back
      const start = [0x41, 0xbc, ...little(3, 4), 0x41, 0xf6, 0xc5, 0x01];
      const middle = [0x41, 0xff, 0xc5, 0x41, 0xff, 0xcc];
      const back = [0x0f, 0x85, ...little(-(piece.length + middle.length + 6), 4)];
      return [...start, 0x0f, 0x85, ...little(piece.length, 4), ...piece, ...middle, ...back];
    }
    case 5: // push r11, of which nobody knows where it leads, and return there: once in a few turns
      return [
        0x41,
        0xf6,
        0xc5,
        0x07,
        0x75,
        13,
        0x49,
        0xbb,
        ...little(rng.u64(), 8),
        0x41,
        0x53,
        0xc3,
      ];
    default:
      return [...piece];
  }
}

/** call routine; piece; mov r11, routine; call r11 */
function routineTwice(at: number, piece: readonly number[], routine: number): number[] {
  const first = [0xe8, ...relative(at + 1, routine), ...piece];
  return [...first, 0x49, 0xbb, ...little(routine, 8), 0x41, 0xff, 0xd3];
}

/** An FXSAVE image with numbers in the XMM registers, half of them small floating-point ones. */
function fpuImage(rng: Prng, image: Uint8Array): Uint8Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  for (let at = 160; at < 160 + 256; at += 8) {
    if (rng.chance(50)) view.setFloat64(at, rng.range(-1000, 1000) / 8, true);
    else view.setBigUint64(at, rng.u64(), true);
  }
  // PE is set already in half of the programs: only then is anything computed without the complete handler.
  view.setUint32(24, rng.chance(50) ? 0x1fa0 : 0x1f80, true);
  return image;
}

/** What CR3 is at first, by guest: a program may jump to a MOV to CR3 with anything. */
const TABLES = new WeakMap<GuestCpu, bigint>();

/** Writes a program into the guest, for a number of turns of its loop. */
export function place(t: GuestCpu, rows: readonly Row[], seed: string): void {
  const rng = new Prng(seed);
  const cr3 = TABLES.get(t) ?? t.cpu.cr3;
  TABLES.set(t, cr3);
  t.control({ cr3 });
  for (let page = 0; page < DATA_PAGES; page++) {
    for (let i = 0; i < 0x1000; i += 8) t.put64(DATA + page * 0x1000 + i, rng.u64());
  }
  t.put64(t.entry(BigInt(READ_ONLY)), BigInt(READ_ONLY) | Pte.P);
  t.put64(t.entry(BigInt(ABSENT)), 0n);
  // A subroutine that several pieces call.
  const routine = At.CODE + 0x600;
  t.bytes(routine, hex([...randomCode(rng, rows, rng.range(0, 20)), 0xc3]));
  t.bytes(COMMON_RETURN, "c3");
  const isKernel = rng.chance(50);
  const code: number[] = [0x41, 0xbf, ...little(rng.range(20, 200), 4)];
  const loop = At.CODE + code.length;
  code.push(...startValues(rng));
  for (let i = rng.range(2, 8); i > 0; i--) {
    const piece = [...randomCode(rng, rows, rng.range(3, 40))];
    // Half of the programs are a kernel's.
    if (isKernel)
      piece.push(...kernelCode(rng, () => dataPlace(rng)), ...randomCode(rng, rows, rng.below(12)));
    code.push(...join(rng, piece, routine, At.CODE + code.length));
  }
  const next = [0x41, 0xff, 0xcf, 0x0f, 0x85];
  code.push(...next, ...relative(At.CODE + code.length + next.length, loop), 0xf4);
  t.bytes(At.CODE, hex(code));
  // An exception: mov rsp, STACK; dec r15d; jnz loop; hlt
  const recover = [...movAbs(RSP, BigInt(At.STACK)), ...next];
  recover.push(...relative(RECOVER + recover.length, loop), 0xf4);
  t.bytes(RECOVER, hex(recover));
  for (let vector = 0; vector < VECTORS; vector++) {
    const at = At.HANDLERS + vector * 16;
    t.bytes(at, hex([0xe9, ...relative(at + 1, RECOVER)]));
  }
  const { cr0, efer } = t.cpu;
  // The data are user pages: with SMAP, only what follows an STAC reaches them.
  const changing = CR4.FSGSBASE | CR4.SMAP;
  const more = isKernel ? (rng.chance(20) ? changing : CR4.FSGSBASE) : 0n;
  const cr4 = (t.cpu.cr4 & ~changing) | CR4.OSFXSR | more;
  t.control({ rflags: Flag.CF, cr0, cr3, cr4, efer });
  t.cpu.setFpu(fpuImage(rng, t.cpu.fpu()));
  t.cpu.rip = BigInt(At.CODE);
}

/** All that the program can see, as text. */
export function stateOf(t: GuestCpu): string {
  const { cpu } = t;
  const words = Array.from({ length: 16 }, (_, i) => cpu.gpr(i).toString(16));
  const xmm = Buffer.from(cpu.fpu()).toString("hex");
  return [cpu.rip.toString(16), cpu.rflags.toString(16), cpu.instructions, ...words, xmm].join(" ");
}

/** The memory that the program can change, and its own code. */
export function memoryOf(t: GuestCpu): string {
  const part = (from: number, bytes: number): string =>
    Buffer.from(t.vm.linear.u8.subarray(t.ram + from, t.ram + from + bytes)).toString("base64");
  return part(DATA, DATA_PAGES * 0x1000) + part(At.STACK - 0x400, 0x400) + part(At.CODE, 0x1000);
}

/**
 * What kernels do beside computing, in pieces that leave a random program alive: interrupts switched off and on, bases and
 * control registers, exchanges of 16 bytes, the time stamp counter, repeated string instructions, returns from handlers.
 */
import { little } from "../escape/encode.mjs";
import type { Prng } from "../native/prng.mjs";

const RCX = 1;
const RSI = 6;
const RDI = 7;
/** mov r64, imm64 for registers 0 to 7. */
const movAbs = (register: number, value: number): number[] => [
  0x48,
  0xb8 + register,
  ...little(BigInt(value), 8),
];

/** Instructions without operands that fault or not as the machine is set up. */
const SHORT: readonly (readonly number[])[] = [
  [0xfb], // sti
  [0xfb, 0x90], // sti; nop: what is behind it is out of the shadow, and has no record
  [0xfa], // cli
  [0x0f, 0x31], // rdtsc
  [0x0f, 0x01, 0xf9], // rdtscp
  [0x0f, 0x01, 0xcb], // stac
  [0x0f, 0x01, 0xca], // clac
  [0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8], // swapgs; swapgs
  [0x9c, 0x9d], // pushfq; popfq
  [0x9c, 0x58], // pushfq; pop rax
  [0x0f, 0x20, 0xc0], // mov rax, cr0
  [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], // mov rax, cr3; mov cr3, rax
  [0x0f, 0xae, 0xe8], // lfence
  [0xf3, 0x48, 0x0f, 0xae, 0xc0], // rdfsbase rax
  [0x66, 0x8c, 0xd8], // mov ax, ds
  [0x8e, 0xd8], // mov ds, eax: faults with most values
  [0x0f, 0x06], // clts
  [0x0f, 0x01, 0x3f], // invlpg [rdi]
];

/** A frame for IRETQ to what follows: mov rcx,rsp; mov eax,ss; push...; lea rax,[rip+3]; push rax; iretq */
const IRET: readonly number[] = [
  ...[0x48, 0x89, 0xe1, 0x8c, 0xd0, 0x50, 0x51, 0x9c, 0x8c, 0xc8, 0x50],
  ...[0x48, 0x8d, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xcf],
];

/** A repeated string instruction on `count` elements: REP STOS, MOVS, LODS, and sometimes downwards. */
function repeated(rng: Prng, place: () => number): number[] {
  const count = rng.pick([0, 1, 5, 63, 64, 200, 600]);
  const opcode = rng.pick([0xaa, 0xab, 0xa4, 0xa5, 0xac, 0xa6, 0xae]);
  const wide = rng.chance(50) ? [0x48] : [];
  const down = rng.chance(15);
  return [
    ...movAbs(RDI, place()),
    ...movAbs(RSI, place()),
    ...movAbs(RCX, count),
    ...(down ? [0xfd] : []),
    ...[0xf3, ...wide, opcode],
    ...(down ? [0xfc] : []),
  ];
}

/** A piece of such code; `place` gives addresses of data, some of which fault. */
export function kernelCode(rng: Prng, place: () => number): number[] {
  switch (rng.below(5)) {
    case 0: // cmpxchg16b [rdi], aligned or not
      return [...movAbs(RDI, place() & (rng.chance(80) ? ~15 : ~0)), 0x48, 0x0f, 0xc7, 0x0f];
    case 1:
      return [...IRET];
    case 2:
      return repeated(rng, place);
    default:
      return [...rng.pick(SHORT)];
  }
}

/** Shapes that the parts of the comparison hand each other. */
import type { Setup } from "./setup.mjs";

/** The host's processor, as far as it makes differences: AMD's (and Hygon's), and any other like Intel's. */
export interface Processor {
  readonly amd: boolean;
  /** There is a hypervisor below the host's kernel. */
  readonly hypervisor: boolean;
}

/** Code size of a case. */
export type Mode = 16 | 32 | 64;

/** What an instruction does to flags: bits as BITS of effects.mjs. */
export interface Effects {
  readonly reads: number;
  readonly writes: number;
  readonly undef: number;
}

/** An instruction row of spec/insn, described (rows.mjs). */
export interface Row {
  readonly text: string;
  readonly asm: string;
  readonly mnemonic: string;
  readonly operands: readonly { readonly text: string }[];
  readonly family: string;
  readonly flags: ReadonlySet<string>;
  readonly effects: Effects;
  /** Why it is not compared. */
  readonly why: string | undefined;
  /** The encoding, in the words of spec/insn/README.md; `map` 0 to 3 for none, 0F, 0F38, 0F3A. */
  readonly prefix: "NP" | "66" | "F3" | "F2" | undefined;
  readonly map: number;
  readonly opcode: number;
  readonly plus: boolean;
  readonly modrm: boolean;
  readonly digit: number | undefined;
  readonly form: "mem" | "reg" | undefined;
  readonly imm: string;
  /** Size of the handler's instance: b w d q v y. */
  readonly type: string | undefined;
}

/** One encoded instruction. */
export interface Insn {
  readonly row: Row;
  readonly mode: Mode;
  readonly bytes: number[];
  readonly effects: Effects;
  /** Operand size in bytes; REX.W; the repeat prefix or ""; whether the ModRM operand is in memory. */
  readonly osize: number;
  readonly wide: boolean;
  readonly rep: string;
  readonly isMem: boolean;
  /** Number of the segment register that a prefix names. */
  readonly segment: number | undefined;
  /** Nothing may follow it in a sequence. */
  readonly last: boolean;
  address: number;
}

/** A test case: (seed, family, index) says all about it. */
export interface TestCase {
  readonly seed: string;
  readonly family: string;
  readonly index: number;
  readonly mode: Mode;
  /** Made as a lone instruction. */
  readonly single: boolean;
  readonly setup: Setup;
  readonly insns: Insn[];
  /** Linear address of the first instruction. */
  codeAt: number;
  /** The instruction pointer to start with: an offset in 16-bit code. */
  rip: number;
  code: Uint8Array;
  /** Undefined flags at each instruction's start, and behind the last. */
  undef: number[];
  undefAtEnd: number;
}

/** How a case ended and what it left: what host and engine have in common. */
export interface Answer {
  vector: number;
  error: number;
  /** Undefined where the engine could not tell. */
  cr2: bigint | undefined;
  rip: bigint;
  rflags: number;
  gpr: BigUint64Array;
  /** Selectors of ES CS SS DS FS GS. */
  seg: number[];
  /** FXSAVE image. */
  fx: Uint8Array;
}

/** The host's answer: memory as changes to what the case started with. */
export interface HostAnswer extends Answer {
  cr2: bigint;
  index: number;
  chunks: { offset: number; bytes: Uint8Array }[];
}

/** The engine's answer, with all of memory; or why there is none. */
export interface EngineAnswer extends Answer {
  image: Uint8Array;
  crash?: string;
}

/** A field that differs: its name, the host's value, the engine's. */
export type Difference = [field: string, expected: string, got: string];

/** A case on whose end host and engine do not agree. */
export interface Failure {
  readonly testCase: TestCase;
  readonly failures: { readonly path: string; readonly diffs: Difference[] }[];
}

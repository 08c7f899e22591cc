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

/** An operand of an instruction, in the letters of the processors' manuals. */
export interface Operand {
  readonly text: string;
  /** How it is addressed: E, G, V ...; "" for a fixed register. */
  readonly letter: string;
  readonly suffix: string;
}

/** An instruction row of spec/insn, described (rows.mjs). */
export interface Row {
  readonly text: string;
  asm: string;
  mnemonic: string;
  operands: readonly Operand[];
  readonly family: string;
  readonly flags: ReadonlySet<string>;
  effects: Effects;
  /** Why it is not compared. */
  why: string | undefined;
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
  /** ModRM.rm of an instruction that it divides further, and the values of it that are no instruction. */
  readonly rm?: number;
  readonly gaps?: readonly number[];
  simd: boolean;
  mmx: boolean;
  x87: boolean;
  string: boolean;
  /** Its operand size follows the mode and prefixes. */
  sized: boolean;
  /** A 66, F2 or F3 in front makes another instruction of it. */
  mandatory: boolean;
}

/** The bits of a REX prefix; `forced` puts one in front that says nothing. */
export interface Rex {
  forced: boolean;
  w: boolean;
  r: number;
  x: number;
  b: number;
}

/** Where and how an instruction's memory operand was encoded. */
export interface MemoryOperand {
  readonly modrm: number;
  readonly tail: number[];
  readonly x: number;
  readonly b: number;
  readonly seg: number | undefined;
  readonly a67: boolean;
  readonly target: bigint;
  readonly rip: boolean;
}

/** What an instruction's operands are steered to (steer.mjs); what is not there is left to chance. */
export interface Plan {
  /** Not for this case. */
  readonly skip?: boolean;
  /** Nothing may follow it in a sequence. */
  readonly last?: boolean;
  /** What it leaves when it faults halfway depends on the processor. */
  readonly fragile?: boolean;
  anyMemoryFault?: boolean;
  readonly mmx?: boolean;
  readonly reg?: number;
  readonly rm?: number;
  readonly imm?: number | bigint | undefined;
  readonly level?: number;
  offset?: bigint;
  readonly selector?: bigint;
  a67?: boolean;
  segment?: number;
  readonly count?: number;
  readonly memBytes?: number;
  readonly align?: number;
  readonly target?: number;
  readonly kind?: string;
  /** Fills the memory operand. */
  readonly memory?: (at: number, size: number) => void;
}

/** A plan for the instructions whose mnemonics match. */
export type PlanRow = [RegExp, (setup: Setup, insn: Insn) => Plan];

/** A field that is filled in when the instruction's address is known. */
export interface Fix {
  readonly at: number;
  readonly bytes: number;
  readonly kind: "rip" | "rel";
  target?: bigint | number;
  readonly a67?: boolean;
  /** Of a branch in a sequence: how many instructions it leaps over; below 0, back. */
  skip?: number;
}

/** One instruction, while it is encoded and afterwards. */
export interface Insn {
  readonly row: Row;
  readonly mode: Mode;
  bytes: number[];
  effects: Effects;
  /** Operand size in bytes; REX.W; the repeat prefix or ""; whether the ModRM operand is in memory. */
  readonly osize: number;
  readonly wide: boolean;
  rep: string;
  isMem: boolean;
  lock: boolean;
  /** Number of the segment register that a prefix names. */
  segment: number | undefined;
  mem: MemoryOperand | undefined;
  memSize: number;
  reg: number;
  rm: number;
  imm: bigint;
  branch: boolean;
  fix: Fix | undefined;
  /** What may differ between processors. */
  leeway: Plan;
  /** Nothing may follow it in a sequence. */
  last: boolean;
  address: number;
}

/** Which differences between two FXSAVE images do not count (tolerance.mjs). */
export interface Tolerance {
  /** Whether two registers are close enough. */
  readonly st: (expected: DataView, got: DataView, at: number) => boolean;
  readonly xmm: (expected: DataView, got: DataView, at: number) => boolean;
  /** Condition codes that are free: bit n for Cn. */
  readonly codes: (expected: DataView) => number;
  /** Bits of the status word that are free. */
  readonly status: (expected: DataView) => number;
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
  /** Linear address behind the last instruction. */
  end: number;
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
  readonly failures: { readonly path: string | undefined; readonly diffs: Difference[] }[];
}

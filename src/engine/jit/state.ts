import { Cpu, Layout } from "../bridge/state.gen.js";
import { Type } from "./code.js";

/**
 * Where a region has the guest's state: the general registers, the XMM registers, the lazy flags and PAGE_BASE in locals of
 * WebAssembly, all else in memory. A local has a fixed number, but those of XMM registers, which few regions use: the
 * code that V8 makes first fills all locals with zeros.
 */

/** Number of general registers. */
const REGISTERS = 16;
const at = (offset: number): number => Layout.CPU + offset;

/** Number of the function that the module imports: handle() of core/interpret.ts. */
export const HANDLE = 0;

/** The function's parameters: instructions that may still be executed, and which entry is taken, 0 the head. */
export const BUDGET = 0;
export const ENTRY = 1;
export const PARAMETERS = 2;
/** Address of the TLB half in use. */
export const TLB = 2;
/** Which exit is taken. */
export const SITE = 3;
/** Address of a miss, or where a jump leads. */
export const VA = 5;
const FIRST_STATE = 6;

/** A word of the state block that a region keeps in a local. */
export interface Word {
  /** 0 of one that gets a local where it is used first. */
  readonly local: number;
  readonly address: number;
  readonly type: number;
}

const GPR_AT = at(Cpu.GPR);
export const PAGE_BASE: Word = {
  local: FIRST_STATE + REGISTERS + 2,
  address: at(Cpu.PAGE_BASE),
  type: Type.I64,
};

/** Kind of the lazy flags. */
export const CC_OP: Word = { local: 4, address: at(Cpu.CC_OP), type: Type.I32 };

/** XMM registers; what of an operand in memory is on its way is one of them. */
const VECTORS = 16;
const XMM_AT = at(Cpu.XMM);
/** SSE_TMP of core/layout.ts. */
const SSE_TMP_AT = Layout.SCRATCH + 0xc0;
const VECTOR_WORDS: readonly Word[] = [
  ...Array.from({ length: VECTORS }, (_, i) => XMM_AT + i * 16),
  SSE_TMP_AT,
].map((address) => ({ local: 0, address, type: Type.V128 }));

/** All words that lie in locals. SSE_OFF and MXCSR change outside of regions only. */
export const WORDS: readonly Word[] = [
  ...Array.from({ length: REGISTERS }, (_, i) => ({
    local: FIRST_STATE + i,
    address: GPR_AT + i * 8,
    type: Type.I64,
  })),
  { local: FIRST_STATE + REGISTERS, address: at(Cpu.CC_DST), type: Type.I64 },
  { local: FIRST_STATE + REGISTERS + 1, address: at(Cpu.CC_SRC), type: Type.I64 },
  PAGE_BASE,
  CC_OP,
  { local: FIRST_STATE + REGISTERS + 3, address: at(Cpu.SSE_OFF), type: Type.I32 },
  { local: FIRST_STATE + REGISTERS + 4, address: at(Cpu.MXCSR), type: Type.I32 },
  ...VECTOR_WORDS,
];
const BY_ADDRESS = new Map(WORDS.map((word) => [word.address, word]));

/** Types of the locals behind the parameters, up to where the temporary ones begin. */
export const FIXED_LOCALS: readonly number[] = [
  Type.I32,
  Type.I32,
  Type.I32,
  ...Array<number>(REGISTERS + 4).fill(Type.I64),
  Type.I32,
  Type.I32,
];

/** The word that lies in a local, and the byte in it, of an address in memory. */
export function wordAt(address: number): { word: Word; byte: number } | undefined {
  if (address >= GPR_AT && address < GPR_AT + REGISTERS * 8) {
    const word = WORDS[(address - GPR_AT) >> 3];
    return word && { word, byte: (address - GPR_AT) & 7 };
  }
  const byte = address >= XMM_AT && address < XMM_AT + VECTORS * 16 ? (address - XMM_AT) & 15 : 0;
  const word = BY_ADDRESS.get(address - byte);
  return word && { word, byte };
}

/** Whether an address is that of the word that is always zero. */
export const isZeroWord = (address: number): boolean => address === at(Cpu.ZERO);
/** Address of the word that holds the address of the TLB half in use. */
export const TLB_AT = at(Cpu.TLB);

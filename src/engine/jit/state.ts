import { Cpu, Layout } from "../bridge/state.gen.js";
import { Type } from "./code.js";

/**
 * Where a region has the guest's state: the general registers, the lazy flags and PAGE_BASE in locals of WebAssembly, all
 * else in memory. A local has a fixed number; those that a region does not use cost nothing.
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

/** All words that lie in locals. The last two change outside of regions only. */
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
  const word = BY_ADDRESS.get(address);
  return word && { word, byte: 0 };
}

/** Whether an address is that of the word that is always zero. */
export const isZeroWord = (address: number): boolean => address === at(Cpu.ZERO);
/** Address of the word that holds the address of the TLB half in use. */
export const TLB_AT = at(Cpu.TLB);

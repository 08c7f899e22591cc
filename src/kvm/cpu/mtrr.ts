import { Msr } from "../../abi/x86/index.js";

/** Variable ranges, as MTRRCAP says. */
const VARIABLE_RANGES = 8;

const FIXED = [
  Msr.IA32_MTRR_FIX64K_00000,
  Msr.IA32_MTRR_FIX16K_80000,
  Msr.IA32_MTRR_FIX16K_A0000,
  ...Array.from({ length: 8 }, (_, i) => Msr.IA32_MTRR_FIX4K_C0000 + i),
];

/** Memory types that exist: UC, WC, WT, WP, WB. */
const validType = (type: number): boolean => type <= 6 && type !== 2 && type !== 3;

/** The memory type range registers of a vCPU: kept and checked, without effect on memory. */
export class Mtrrs {
  #defType = 0n;
  readonly #fixed = new Map<number, bigint>(FIXED.map((index) => [index, 0n]));
  readonly #variable = new Array<bigint>(VARIABLE_RANGES * 2).fill(0n);

  /** Whether an MSR is one of them. */
  static claims(index: number): boolean {
    return (
      index === Msr.IA32_MTRRCAP ||
      index === Msr.IA32_MTRR_DEF_TYPE ||
      (index >= Msr.IA32_MTRR_PHYSBASE0 && index < Msr.IA32_MTRR_PHYSBASE0 + VARIABLE_RANGES * 2) ||
      FIXED.includes(index as (typeof FIXED)[number])
    );
  }

  /** Reads a register that {@link claims} named. */
  read(index: number): bigint {
    // 8 variable ranges, fixed ranges, write-combining
    if (index === Msr.IA32_MTRRCAP) return 0x508n;
    if (index === Msr.IA32_MTRR_DEF_TYPE) return this.#defType;
    return this.#fixed.get(index) ?? this.#variable[index - Msr.IA32_MTRR_PHYSBASE0] ?? 0n;
  }

  /** Writes one; false for reserved bits or memory types. */
  write(index: number, value: bigint, physicalBits: number): boolean {
    if (index === Msr.IA32_MTRRCAP) return false;
    if (index === Msr.IA32_MTRR_DEF_TYPE) {
      if ((value & ~0xcffn) !== 0n || !validType(Number(value & 0xffn))) return false;
      this.#defType = value;
      return true;
    }
    if (this.#fixed.has(index)) {
      for (let i = 0n; i < 64n; i += 8n) {
        if (!validType(Number((value >> i) & 0xffn))) return false;
      }
      this.#fixed.set(index, value);
      return true;
    }
    const beyond = value >> BigInt(physicalBits);
    const mask = (index & 1) !== 0;
    if (beyond !== 0n || (value & (mask ? 0x7ffn : 0xf00n)) !== 0n) return false;
    if (!mask && !validType(Number(value & 0xffn))) return false;
    this.#variable[index - Msr.IA32_MTRR_PHYSBASE0] = value;
    return true;
  }
}

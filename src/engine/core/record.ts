/**
 * A decoded instruction: 32 bytes.
 *
 *   0 op u16 | 2 len u8 | 3 idx u8 | 4 a u16 | 6 b u16 | 8 base u16 | 10 index u16
 *  12 scale u8 | 13 seg u8 | 14 off u16 | 16 imm i32 | 20 modrm u8 | 21 opcode u8 | 22 flags u16
 *  24 disp i64
 *
 * a, b, base and index are addresses in the state block; index and base are ZERO when absent.
 * idx counts the instructions of the block before this one; off is the place in the page.
 */
export const REC: u32 = 32;

/** flags: address size, 0 16-bit, 1 32-bit, 2 64-bit. */
export const RF_ASIZE: u32 = 3;
export const RF_REP: u32 = 4; // F3
export const RF_REPNE: u32 = 8; // F2
export const RF_LOCK: u32 = 0x10;
export const RF_REX: u32 = 0x20;
export const RF_W: u32 = 0x40;
export const RF_O16: u32 = 0x80; // 66
export const RF_MEM: u32 = 0x100; // the ModRM operand is in memory
export const RF_RIP: u32 = 0x200; // RIP-relative
/** flags: code size of the segment, in bits 13..14, as CODE_SIZE. */
export const RF_CODE_SHIFT: u32 = 13;

export class Rec {
  /** Index in the dispatch switch. */
  static op(p: u32): u32 {
    return load<u16>(p);
  }
  /** Length in bytes. */
  static len(p: u32): u32 {
    return load<u8>(p, 2);
  }
  /** Address of the ModRM.reg (or opcode) register; the plain number for segment, CR and DR operands. */
  static a(p: u32): u32 {
    return load<u16>(p, 4);
  }
  /** Address of the ModRM.rm register when RF_MEM is not set. */
  static b(p: u32): u32 {
    return load<u16>(p, 6);
  }
  /** Segment of the memory operand: 0 ES 1 CS 2 SS 3 DS 4 FS 5 GS. */
  static seg(p: u32): u32 {
    return load<u8>(p, 13);
  }
  /** Immediate, sign-extended; relative target of a jump; selector of a far pointer. */
  static imm(p: u32): i32 {
    return load<i32>(p, 16);
  }
  static modrm(p: u32): u32 {
    return load<u8>(p, 20);
  }
  /** ModRM.reg without REX.R. */
  static reg3(p: u32): u32 {
    return (load<u8>(p, 20) >> 3) & 7;
  }
  /** ModRM.rm without REX.B. */
  static rm3(p: u32): u32 {
    return load<u8>(p, 20) & 7;
  }
  /** Last opcode byte: condition in its low four bits for Jcc, SETcc, CMOVcc. */
  static opcode(p: u32): u32 {
    return load<u8>(p, 21);
  }
  static flags(p: u32): u32 {
    return load<u16>(p, 22);
  }
  static isMem(p: u32): bool {
    return (load<u16>(p, 22) & RF_MEM) != 0;
  }
  static asize(p: u32): u32 {
    return load<u16>(p, 22) & RF_ASIZE;
  }
  /** 0 16-bit, 1 32-bit, 2 64-bit code. */
  static code(p: u32): u32 {
    return <u32>load<u16>(p, 22) >> RF_CODE_SHIFT;
  }
  /** Displacement, 64-bit immediate, moffs address, or offset of a far pointer. */
  static disp(p: u32): i64 {
    return load<i64>(p, 24);
  }
}

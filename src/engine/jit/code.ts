/** Bytes of WebAssembly code, with the constructs that are open in it. */

/** Types of values in the binary format. */
export const Type = { I32: 0x7f, I64: 0x7e, F32: 0x7d, F64: 0x7c, V128: 0x7b } as const;
/** A construct without a value. */
export const VOID = 0x40;

/** Instructions that the compiler names itself; those of operations come as numbers from the generator. */
export const Op = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR: 0x0c,
  CALL: 0x10,
  SELECT: 0x1b,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  I32_LOAD: 0x28,
  I64_LOAD: 0x29,
  I32_LOAD8_S: 0x2c,
  I32_LOAD8_U: 0x2d,
  I32_LOAD16_S: 0x2e,
  I32_LOAD16_U: 0x2f,
  I32_STORE: 0x36,
  I64_STORE: 0x37,
  F64_STORE: 0x39,
  I32_STORE8: 0x3a,
  I32_STORE16: 0x3b,
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  I32_EQZ: 0x45,
  I32_EQ: 0x46,
  I32_NE: 0x47,
  I32_LT_S: 0x48,
  I32_GE_S: 0x4e,
  I64_EQ: 0x51,
  I64_NE: 0x52,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_AND: 0x71,
  I32_OR: 0x72,
  I32_SHR_U: 0x76,
  I64_ADD: 0x7c,
  I64_AND: 0x83,
  I64_OR: 0x84,
  I64_XOR: 0x85,
  I64_SHL: 0x86,
  I64_SHR_S: 0x87,
  I64_SHR_U: 0x88,
  WRAP: 0xa7,
  EXTEND_S: 0xac,
  EXTEND_U: 0xad,
  EXTEND8_S: 0xc0,
  EXTEND16_S: 0xc1,
  I64_FROM_F64: 0xbd,
  I32_FROM_F32: 0xbc,
  F32_FROM_I32: 0xbe,
  F64_FROM_I64: 0xbf,
  V128_LOAD: 0xfd00,
  V128_STORE: 0xfd0b,
  V128_CONST: 0xfd0c,
  SHUFFLE: 0xfd0d,
  I32_LANE: 0xfd1b,
  I32_TO_LANE: 0xfd1c,
  I64_LANE: 0xfd1d,
  I64_TO_LANE: 0xfd1e,
  F32_LANE: 0xfd1f,
  F32_TO_LANE: 0xfd20,
  F64_LANE: 0xfd21,
  F64_TO_LANE: 0xfd22,
} as const;

const PREFIX_SHIFT = 8;

/** A construct that a branch can leave. */
export interface Label {
  /** How many constructs are open with it. */
  readonly depth: number;
}

/** A growing run of code. */
export class Code {
  #bytes = new Uint8Array(4096);
  length = 0;
  #depth = 0;

  byte(value: number): void {
    if (this.length === this.#bytes.length) this.#grow();
    this.#bytes[this.length++] = value;
  }

  #grow(): void {
    const old = this.#bytes;
    this.#bytes = new Uint8Array(old.length * 2);
    this.#bytes.set(old);
  }

  /** An unsigned LEB128 number below 2^32. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** A signed LEB128 number of 32 bits. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** A signed LEB128 number of 64 bits. */
  s64(value: bigint): void {
    if (value === BigInt.asIntN(31, value)) {
      this.s32(Number(value));
      return;
    }
    let rest = value;
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** An instruction by its number; one of an extension has its prefix above bit 8. */
  op(number: number): void {
    const prefix = number >> PREFIX_SHIFT;
    if (prefix === 0) this.byte(number);
    else {
      this.byte(prefix);
      this.u32(number & 0xff);
    }
  }

  i32(value: number): void {
    this.byte(Op.I32_CONST);
    this.s32(value);
  }

  i64(value: bigint): void {
    this.byte(Op.I64_CONST);
    this.s64(value);
  }

  get(local: number): void {
    this.byte(Op.LOCAL_GET);
    this.u32(local);
  }

  set(local: number): void {
    this.byte(Op.LOCAL_SET);
    this.u32(local);
  }

  /** A load or store at the address on the stack + `offset`. */
  access(number: number, offset: number): void {
    this.op(number);
    // The alignment is a hint; guest addresses have none.
    this.u32(0);
    this.u32(offset);
  }

  /** Begins a block, a loop or an if. */
  open(number: number, type: number = VOID): Label {
    this.byte(number);
    this.byte(type);
    this.#depth++;
    return { depth: this.#depth };
  }

  otherwise(): void {
    this.byte(Op.ELSE);
  }

  close(): void {
    this.byte(Op.END);
    this.#depth--;
  }

  /** Branches to the end of a block, or to the beginning of a loop. */
  br(label: Label): void {
    this.byte(Op.BR);
    this.u32(this.#depth - label.depth);
  }

  /** Calls a function by its number. */
  call(number: number): void {
    this.byte(Op.CALL);
    this.u32(number);
  }

  append(bytes: Uint8Array): void {
    while (this.length + bytes.length > this.#bytes.length) this.#grow();
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

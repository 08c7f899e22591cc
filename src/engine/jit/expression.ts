import { type Code, Op, Type } from "./code.js";
import { Node } from "./operations.gen.js";

/**
 * A value that compiled code computes. `op` is a number of WebAssembly's, or one of Node: I32 and I64 for
 * constants, VAR for a local, LOAD for memory, SELECT, and the kinds for vectors.
 */
export class Expression {
  readonly op: number;
  /** I32: the number. VAR: the local. LOAD: the offset. LANE: which. */
  readonly k: number;
  /** LOAD, LANE: the instruction. SELECT: the type. */
  readonly detail: number;
  readonly a: Expression | undefined;
  readonly b: Expression | undefined;
  /** SELECT: the condition. */
  readonly c: Expression | undefined;
  /** I64: the number. V128: the lower half. */
  readonly big: bigint;
  /** V128: the upper half. */
  readonly high: bigint;
  /** SHUFFLE: lanes. */
  readonly lanes: readonly number[];

  constructor(
    op: number,
    k = 0,
    detail = 0,
    a: Expression | undefined = undefined,
    b: Expression | undefined = undefined,
    c: Expression | undefined = undefined,
    big = 0n,
    high = 0n,
    lanes = NO_LANES,
  ) {
    this.op = op;
    this.k = k;
    this.detail = detail;
    this.a = a;
    this.b = b;
    this.c = c;
    this.big = big;
    this.high = high;
    this.lanes = lanes;
  }
}

const NO_LANES: readonly number[] = [];

export const i32 = (k: number): Expression => new Expression(Node.I32, k | 0);
export const i64 = (big: bigint): Expression =>
  new Expression(Node.I64, 0, 0, undefined, undefined, undefined, BigInt.asIntN(64, big));
export const local = (k: number): Expression => new Expression(Node.VAR, k);
export const load = (instruction: number, address: Expression, offset: number): Expression =>
  new Expression(Node.LOAD, offset, instruction, address);
export const select = (type: number, c: Expression, a: Expression, b: Expression): Expression =>
  new Expression(Node.SELECT, 0, type, a, b, c);
export const vector = (low: bigint, high: bigint): Expression =>
  new Expression(Node.V128, 0, 0, undefined, undefined, undefined, low, high);
export const shuffle = (a: Expression, b: Expression, lanes: readonly number[]): Expression =>
  new Expression(Node.SHUFFLE, 0, 0, a, b, undefined, 0n, 0n, lanes);
/** A vector, but for one element: an instruction that ends with TO_LANE. */
export const toLane = (op: number, lane: number, a: Expression, b: Expression): Expression =>
  new Expression(Node.LANE, lane, op, a, b);
/** One element of a vector: an instruction that ends with LANE. */
export const laneOf = (op: number, lane: number, a: Expression): Expression =>
  new Expression(Node.LANE, lane, op, a);
/** Whether it is an element of a vector. */
export const isLane = (e: Expression): boolean => e.op === Node.LANE && e.b === undefined;

/** The same bits as a number of the other kind: by instruction, the way back, and the lanes of one and of the other. */
const OTHER_KIND: Readonly<Record<number, readonly [back: number, from: number, to: number]>> = {
  [Op.F64_FROM_I64]: [Op.I64_FROM_F64, Op.I64_LANE, Op.F64_LANE],
  [Op.I64_FROM_F64]: [Op.F64_FROM_I64, Op.F64_LANE, Op.I64_LANE],
  [Op.F32_FROM_I32]: [Op.I32_FROM_F32, Op.I32_LANE, Op.F32_LANE],
  [Op.I32_FROM_F32]: [Op.F32_FROM_I32, Op.F32_LANE, Op.I32_LANE],
};

export const isConstant = (e: Expression): boolean => e.op === Node.I32 || e.op === Node.I64;

/** One operand. */
export function unary(op: number, a: Expression): Expression {
  const kinds = OTHER_KIND[op];
  if (kinds !== undefined && a.a !== undefined) {
    // From one kind of the processor's registers to the other takes as long as what is computed.
    if (a.op === kinds[0]) return a.a;
    if (isLane(a) && a.detail === kinds[1]) return laneOf(kinds[2], a.k, a.a);
  }
  if (a.op === Node.I32) {
    if (op === Op.I32_EQZ) return i32(a.k === 0 ? 1 : 0);
    if (op === Op.EXTEND_U) return i64(BigInt(a.k >>> 0));
    if (op === Op.EXTEND_S) return i64(BigInt(a.k));
    if (op === Op.EXTEND8_S) return i32((a.k << 24) >> 24);
    if (op === Op.EXTEND16_S) return i32((a.k << 16) >> 16);
  }
  if (op === Op.WRAP) {
    if (a.op === Node.I64) return i32(Number(BigInt.asIntN(32, a.big)));
    if (a.a !== undefined && (a.op === Op.EXTEND_U || a.op === Op.EXTEND_S)) return a.a;
  }
  return new Expression(op, 0, 0, a);
}

/** What of i32 is computed when it is compiled: by instruction, from two numbers. */
const FOLD32: Readonly<Record<number, (a: number, b: number) => number>> = {
  70: (a, b) => (a === b ? 1 : 0),
  71: (a, b) => (a !== b ? 1 : 0),
  72: (a, b) => (a < b ? 1 : 0),
  73: (a, b) => (a >>> 0 < b >>> 0 ? 1 : 0),
  74: (a, b) => (a > b ? 1 : 0),
  75: (a, b) => (a >>> 0 > b >>> 0 ? 1 : 0),
  106: (a, b) => a + b,
  107: (a, b) => a - b,
  113: (a, b) => a & b,
  114: (a, b) => a | b,
  115: (a, b) => a ^ b,
  116: (a, b) => a << (b & 31),
  117: (a, b) => a >> (b & 31),
  118: (a, b) => a >>> (b & 31),
};
/** The same for i64; the upper bits of a result do not count. */
const FOLD64: Readonly<Record<number, (a: bigint, b: bigint) => bigint>> = {
  124: (a, b) => a + b,
  125: (a, b) => a - b,
  126: (a, b) => a * b,
  131: (a, b) => a & b,
  132: (a, b) => a | b,
  133: (a, b) => a ^ b,
  134: (a, b) => a << (b & 63n),
  135: (a, b) => a >> (b & 63n),
  136: (a, b) => BigInt.asUintN(64, a) >> (b & 63n),
};
const COMPARE64: Readonly<Record<number, (a: bigint, b: bigint) => boolean>> = {
  81: (a, b) => a === b,
  82: (a, b) => a !== b,
  84: (a, b) => BigInt.asUintN(64, a) < BigInt.asUintN(64, b),
  86: (a, b) => BigInt.asUintN(64, a) > BigInt.asUintN(64, b),
};

/** Instructions that give their first operand when the second is 0: add, sub, or, xor, and shifts, of 32 and 64 bits. */
const NEUTRAL = new Set([
  0x6a, 0x6b, 0x72, 0x73, 0x74, 0x75, 0x76, 0x7c, 0x7d, 0x84, 0x85, 0x86, 0x87, 0x88,
]);
/** Those of them that give their second when the first is 0. */
const NEUTRAL_FIRST = new Set([0x6a, 0x72, 0x73, 0x7c, 0x84, 0x85]);

const isZero = (e: Expression): boolean =>
  (e.op === Node.I32 && e.k === 0) || (e.op === Node.I64 && e.big === 0n);
const isOnes = (e: Expression): boolean =>
  (e.op === Node.I32 && e.k === -1) || (e.op === Node.I64 && e.big === -1n);

/** Two operands. */
export function binary(op: number, a: Expression, b: Expression): Expression {
  const constant = isConstant(a);
  const other = isConstant(b);
  if (constant && other) {
    if (a.op === Node.I32) {
      const fold = FOLD32[op];
      if (fold !== undefined) return i32(fold(a.k, b.k));
    } else {
      const fold = FOLD64[op];
      if (fold !== undefined) return i64(fold(a.big, b.big));
      const compare = COMPARE64[op];
      if (compare !== undefined) return i32(compare(a.big, b.big) ? 1 : 0);
    }
  }
  const isAnd = op === Op.I32_AND || op === Op.I64_AND;
  if (other) {
    if (isZero(b) && NEUTRAL.has(op)) return a;
    if (isAnd && isZero(b)) return b;
    if (isAnd && isOnes(b)) return a;
  }
  if (constant) {
    if (isZero(a) && NEUTRAL_FIRST.has(op)) return b;
    if (isAnd && isZero(a)) return a;
    if (isAnd && isOnes(a)) return b;
  }
  return new Expression(op, 0, 0, a, b);
}

/** Nodes of an expression, up to about `limit`. */
function size(e: Expression | undefined, limit: number): number {
  if (e === undefined || limit <= 0) return 0;
  const first = 1 + size(e.a, limit - 1);
  return first + size(e.b, limit - first);
}

/** An arm of a choice that costs less than the jump around it. */
const CHEAP_ARM = 6;

/** Writes the code that leaves the value on the stack. */
export function write(code: Code, e: Expression): void {
  switch (e.op) {
    case Node.I32:
      code.i32(e.k);
      return;
    case Node.I64:
      code.i64(e.big);
      return;
    case Node.VAR:
      code.get(e.k);
      return;
    case Node.LOAD:
      writeLoad(code, e);
      return;
    case Node.SELECT:
      writeSelect(code, e);
      return;
    case Node.V128:
      code.op(Op.V128_CONST);
      writeHalf(code, e.big);
      writeHalf(code, e.high);
      return;
  }
  if (e.a !== undefined) write(code, e.a);
  if (e.b !== undefined) write(code, e.b);
  if (e.op === Node.SHUFFLE) {
    code.op(Op.SHUFFLE);
    for (const lane of e.lanes) code.byte(lane);
  } else if (e.op === Node.LANE) {
    code.op(e.detail);
    code.byte(e.k);
  } else code.op(e.op);
}

function writeHalf(code: Code, value: bigint): void {
  for (let i = 0n; i < 64n; i += 8n) code.byte(Number((value >> i) & 0xffn));
}

function writeLoad(code: Code, e: Expression): void {
  if (e.a === undefined) return;
  if (e.a.op === Node.I32) {
    code.i32(0);
    code.access(e.detail, (e.a.k >>> 0) + e.k);
    return;
  }
  write(code, e.a);
  code.access(e.detail, e.k);
}

function writeSelect(code: Code, e: Expression): void {
  const { a, b, c } = e;
  if (c === undefined || a === undefined || b === undefined) return;
  if (e.detail === Type.V128 || size(a, CHEAP_ARM) + size(b, CHEAP_ARM) < CHEAP_ARM) {
    write(code, a);
    write(code, b);
    write(code, c);
    code.byte(Op.SELECT);
    return;
  }
  write(code, c);
  code.open(Op.IF, e.detail);
  write(code, a);
  code.otherwise();
  write(code, b);
  code.close();
}

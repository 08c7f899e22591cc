import { Op } from "./code.js";
import { type Expression, laneOf, toLane, unary } from "./expression.js";

/** XMM registers as vectors in locals: what loads and stores of parts of them in the texts of operations become. */

/** What a load gives of a vector in a local, from byte `byte` on. */
export function partOf(instruction: number, whole: Expression, byte: number): Expression {
  switch (instruction) {
    case Op.V128_LOAD:
      return whole;
    case Op.I64_LOAD:
      return laneOf(Op.I64_LANE, byte >> 3, whole);
    case Op.I32_LOAD:
      return laneOf(Op.I32_LANE, byte >> 2, whole);
    default:
      throw new Error(`engine: load ${instruction} of a vector`);
  }
}

/** The vector after a store into it at byte `byte`. */
export function withPart(
  instruction: number,
  whole: Expression,
  byte: number,
  value: Expression,
): Expression {
  switch (instruction) {
    case Op.V128_STORE:
      return value;
    case Op.F64_STORE:
      return toLane(Op.F64_TO_LANE, byte >> 3, whole, value);
    case Op.I64_STORE: {
      const float = unary(Op.F64_FROM_I64, value);
      return float.op === Op.F64_FROM_I64
        ? toLane(Op.I64_TO_LANE, byte >> 3, whole, value)
        : toLane(Op.F64_TO_LANE, byte >> 3, whole, float);
    }
    case Op.I32_STORE: {
      const float = unary(Op.F32_FROM_I32, value);
      return float.op === Op.F32_FROM_I32
        ? toLane(Op.I32_TO_LANE, byte >> 2, whole, value)
        : toLane(Op.F32_TO_LANE, byte >> 2, whole, float);
    }
    default:
      throw new Error(`engine: store ${instruction} of a vector`);
  }
}

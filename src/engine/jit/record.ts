import { FAST_FROM, FastOp, ROOTS, ROOTS32 } from "./operations.gen.js";

/** Bytes of a record: see core/record.ts. */
export const RECORD_BYTES = 32;
const OP = 0;
const OFFSET = 14;
/** From here on, what the head of a region had before it: see core/regions.ts. */
const HEAD_OP = -8;

/** Number of the operation of the record at `p`, as it was before a region began there. */
export function operationOf(view: DataView, p: number): number {
  const op = view.getUint16(p + OP, true);
  return op === FastOp.REGION ? view.getUint16(p + HEAD_OP, true) : op;
}

/** Place in the page of the instruction of a record. */
export const offsetOf = (view: DataView, p: number): number => view.getUint16(p + OFFSET, true);

/** Whether there is a fast operation for it. */
export const isFast = (op: number): boolean => op >= FAST_FROM;
/** Whether it ends its block. */
export const endsBlock = (op: number): boolean => op >= FastOp.FIRST_END && op !== FastOp.CROSS;

/** The root node of an operation in 64-bit code, or in flat 32-bit code; of a pair, of its first part. */
export function rootOf(op: number, flat: boolean): number {
  const root = (flat ? ROOTS32 : ROOTS)[op - FAST_FROM];
  if (root === undefined) throw new RangeError(`engine: no operation ${op}`);
  return root >= 0 ? root : rootOf(-root, flat);
}

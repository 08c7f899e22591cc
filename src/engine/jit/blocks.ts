import { Layout } from "../bridge/state.gen.js";
import { BlockTable, FastOp } from "./operations.gen.js";
import { endsBlock, operationOf, RECORD_BYTES } from "./record.js";

/**
 * Blocks of decoded code as core/blocks.ts lays them out in linear memory.
 */

const KEY = -32;
/** The part of a key that is the linear address. */
const LINEAR = 0xffffffffn;
const COUNT = -20;
const NEXT = -16;
/** Links of a block's last record: where the jump leads when it is taken, and when not. */
export const TAKEN = 32;
export const NOT_TAKEN = 36;
const FALL_THROUGH = 56;
/** @nolimit more records than a block has */
const MAX_RECORDS = 256;

/** A block as the compiler sees it. */
export interface Block {
  /** Its first record. */
  readonly address: number;
  readonly key: bigint;
  /** Linear address of its first instruction. */
  readonly linear: number;
  readonly count: number;
  /** Its last record. */
  readonly last: number;
}

/** Whether the key is one of flat 32-bit code. */
const isFlatKey = (mode: bigint): boolean =>
  (mode & ~BlockTable.KEY_SEGMENTS) === BlockTable.KEY_FLAT32;
/** Whether a block is of flat 32-bit code. */
export const isFlat = (block: Block): boolean => isFlatKey(block.key & ~LINEAR);

/** The block whose first record is at `address`; undefined when it is dead or not for the compiler. */
export function blockAt(view: DataView, address: number): Block | undefined {
  const key = view.getBigUint64(address + KEY, true);
  const linear = Number(key & LINEAR);
  // No other modes, no pages with breakpoints.
  const mode = key & ~LINEAR;
  if (mode !== BlockTable.KEY64 && !isFlatKey(mode)) return undefined;
  let p = address;
  for (let i = 0; i < MAX_RECORDS; i++, p += RECORD_BYTES) {
    const op = operationOf(view, p);
    if (!endsBlock(op)) continue;
    const count = view.getInt32(address + COUNT, true);
    return { address, key, linear, count, last: p };
  }
  return undefined;
}

/** Whether both are of the same mode: a region has blocks of one. */
export const sameMode = (a: Block, b: Block): boolean => ((a.key ^ b.key) & ~LINEAR) === 0n;

/** Where the link at `link` of a block leads to; undefined when it has not been used. */
export function linked(view: DataView, block: Block, link: number): Block | undefined {
  return blockAt(view, view.getUint32(block.last + link, true));
}

/** Calls push a return address. */
const CALLS = new Set<number>([
  FastOp.CALL_NEAR,
  FastOp.CALL_FAR,
  FastOp.CALL_R,
  FastOp.CALL_MB,
  FastOp.CALL_MX,
]);

/** Whether a block ends with a jump to an address that is not in the code. */
export function looksUp(view: DataView, block: Block): boolean {
  const op = operationOf(view, block.last);
  return op >= FastOp.RET && op <= FastOp.CALL_MX;
}
/** Whether a block ends with a call. */
export const calls = (view: DataView, block: Block): boolean =>
  CALLS.has(operationOf(view, block.last));
/** Whether a block ends with a return. */
export const returns = (view: DataView, block: Block): boolean =>
  operationOf(view, block.last) === FastOp.RET;

/** Whether a block is a return and nothing else. */
export const onlyReturns = (view: DataView, block: Block): boolean =>
  block.address === block.last && returns(view, block);

/** The block behind a call, when it is on the same page and known. */
export function behindCall(view: DataView, block: Block): Block | undefined {
  const place = Number(view.getBigInt64(block.last + FALL_THROUGH, true));
  if (place < 0 || place >= 0x1000) return undefined;
  const linear = ((block.linear & ~0xfff) | place) >>> 0;
  const bucket = Layout.BLOCK_HASH + (((linear ^ (linear >>> 15)) & BlockTable.HASH_MASK) << 2);
  for (let q = view.getUint32(bucket, true); q !== 0; q = view.getUint32(q + NEXT, true)) {
    const found = blockAt(view, q);
    if (found?.linear === linear && sameMode(found, block)) return found;
  }
  return undefined;
}

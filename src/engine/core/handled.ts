/** What a complete handler said of the instruction of a record, and which block comes behind that. */
import { BLOCK_KEY, PAGE_BASE, RIP, TLB } from "./state.gen";
import { attention, getBudget, isFast } from "./blocks";
import { R_JUMP, R_NEXT } from "./fault";
import { PAGE_MASK, fetchAt } from "./layout";
import { bucketOf } from "./smc";

/** A budget that says that the block does not go on. */
export const LEAVES: i32 = -1;
/** Result of the last instruction that a complete handler did. */
export let handled: u32 = R_NEXT;
/** What is left of its block's budget; LEAVES when the block does not go on. */
export let leftBehind: i32 = 0;
/** What may still be executed in the block that blockBehind() gave. */
export let budgetBehind: i32 = 0;

export function noteHandled(result: u32, left: i32): void {
  handled = result;
  leftBehind = left;
}

/**
 * The block behind an instruction that ended its block, as enter() finds it: if nothing else comes first, and it is in the TLB and the
 * first of its bucket. Else 0, and nothing has changed.
 */
export function blockBehind(): u32 {
  if (handled != R_JUMP || leftBehind != LEAVES) return 0;
  const mode = load<u64>(BLOCK_KEY);
  budgetBehind = getBudget() - 1;
  if (!isFast(mode) || budgetBehind <= 0 || attention()) return 0;
  const rip = load<u64>(RIP);
  const e: u32 = load<u32>(TLB) + fetchAt(rip);
  if (load<u64>(e, 24) != (rip & PAGE_MASK)) return 0;
  const key: u64 = <u64>(<u32>rip + load<u32>(e, 16)) | mode;
  const q = load<u32>(bucketOf(key));
  if (q == 0 || load<u64>(q - 32) != key || budgetBehind < load<i32>(q - 20)) return 0;
  store<u64>(PAGE_BASE, rip & PAGE_MASK);
  return q;
}

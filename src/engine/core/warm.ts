/**
 * Before a guest runs: V8 executes a function first as quickly compiled code, in which the hot loop takes ten times as long,
 * and compiles it well, in another thread, when it was used enough. That takes it a quarter of a second for the hot
 * loop. It begins here, while a kernel is still being read.
 */
import { SCRATCH_AT } from "./state.gen";
import { OP_region } from "./fast.gen";
import { hot } from "./hot.gen";
import { W_REGION } from "./hot-exit";

/** V8 of Node 20 begins behind some 300 of them, V8 of Node 24 behind 2,500. @nolimit of a choice, not of a guest */
const CALLS: i32 = 4096;

/**
 * Uses the hot loop, in an instance that is no VM's: a record at SCRATCH_AT, which the loop leaves for at once, is all that
 * there is. Says how often it was entered.
 */
export function warm(): i32 {
  store<u16>(SCRATCH_AT, <u16>OP_region);
  let entered = 0;
  while (entered < CALLS && hot(SCRATCH_AT, 1) == W_REGION) entered++;
  return entered;
}

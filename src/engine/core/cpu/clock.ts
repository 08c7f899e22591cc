/**
 * The time stamp counter. It runs at 1 GHz: one tick is one nanosecond of the VM's clock, or under
 * virtual time one unit of work (see run.ts).
 */
import { TIME_BASE, TSC_OFFSET, VIRTUAL_TIME } from "../state.gen";
import { workOfRun } from "../run";

/** Nanoseconds of the host's clock. */
@external("env", "hostClockNs")
export declare function hostClockNs(): f64;

/** The time stamp counter as the current instruction sees it. */
export function tscNow(p: u32): u64 {
  const time = load<u32>(VIRTUAL_TIME) != 0 ? load<u64>(TIME_BASE) + workOfRun() : <u64>hostClockNs();
  return time + load<u64>(TSC_OFFSET);
}

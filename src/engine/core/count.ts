/** Counters: see COUNTERS in spec/state.mjs. In memory, where compiled code and the bridge find them. */

/** Adds one to the counter at `at` (N_*). */
export function count(at: u32): void {
  store<u64>(at, load<u64>(at) + 1);
}

/** Adds `n` to the counter at `at` (N_*). */
export function countBy(at: u32, n: u32): void {
  store<u64>(at, load<u64>(at) + <u64>n);
}

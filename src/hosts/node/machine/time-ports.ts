/** Where a machine's time and chance come from. */
import type { MachinePorts } from "../../../vmm/machine/index.js";
import { SeededEntropy } from "../../sim/entropy.js";
import { HeapTimers, VirtualClock } from "../../sim/index.js";
import { NodeClock } from "../clock.js";
import { nodeEntropy } from "../entropy.js";
import { NodeTimers } from "../timers.js";

/**
 * Which clock a machine has. `real`: the host's. `virtual`: one unit of work is one nanosecond, idle time is skipped,
 * and what looks random comes from a seed: the same inputs give the same run, to the last instruction.
 */
export type ClockChoice = "real" | "virtual";

/** The ports that a {@link ClockChoice} decides about. */
export type TimePorts = Pick<MachinePorts, "clock" | "timers" | "entropy">;

/** Makes them; `seed` is of the virtual clock's random numbers, another number than 0. */
export function timePorts(choice: ClockChoice, seed?: number): TimePorts {
  if (choice === "virtual") {
    const clock = new VirtualClock();
    return { clock, timers: new HeapTimers(clock), entropy: new SeededEntropy(seed) };
  }
  const clock = new NodeClock();
  return { clock, timers: new NodeTimers(clock), entropy: nodeEntropy };
}

/** What the engine's random numbers begin with. */
export function engineSeed(entropy: MachinePorts["entropy"]): bigint {
  const bytes = new Uint8Array(8);
  entropy.fill(bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

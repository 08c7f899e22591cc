/** What tells one machine from another. */
import type { MachinePorts } from "./config.js";
import type { SavedMachine } from "./snapshot.js";

/** A random UUID (RFC 9562, version 4). */
export function makeUuid(ports: MachinePorts): Uint8Array {
  const uuid = new Uint8Array(16);
  ports.entropy.fill(uuid);
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x40;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  return uuid;
}

/** That of a machine that was saved exactly; otherwise one that is not that of the machine that was saved. */
export function generationOf(saved: SavedMachine | undefined, ports: MachinePorts): Uint8Array {
  const before = saved?.machine.generation;
  if (saved?.exact !== undefined && before !== undefined) return before;
  const generation = new Uint8Array(16);
  ports.entropy.fill(generation);
  // Where random numbers repeat, as under the virtual clock, these may be those of then.
  if (before?.every((byte, i) => byte === generation[i])) generation[0] = ~(generation[0] ?? 0);
  return generation;
}

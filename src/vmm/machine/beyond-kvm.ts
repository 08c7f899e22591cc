/** What a machine has only where its KVM gives more than KVM's binary interface. */
import type { CounterName, EngineCounters } from "../../kvm/api/index.js";
import { refuse } from "../loader/errors.js";

/** @throws HostError KVM_LACKS when there is no such thing. */
export function given<T>(thing: T | undefined, name: string): T {
  if (thing !== undefined) return thing;
  throw refuse("KVM_LACKS", `the KVM that this machine was given has no ${name}`);
}

/** Counters of an instance and of those before it. */
export function sumOf(before: EngineCounters | undefined, now: EngineCounters): EngineCounters {
  if (before === undefined) return now;
  const names = Object.keys(now) as CounterName[];
  return Object.fromEntries(
    names.map((name) => [name, before[name] + now[name]]),
  ) as EngineCounters;
}

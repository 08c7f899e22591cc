/** The console that the guest's agent is reached by. */
import type { Clock, Timers } from "../../../ports/index.js";
import type { Backend } from "../../xen/backends/backend.js";
import { ConsoleBackend, MAX_CONSOLE_NUMBER } from "../../xen/backends/console/console-backend.js";
import type { SavedDevice } from "../snapshot.js";
import { AGENT_CHANNEL, AgentChannel } from "./agent-channel.js";

export type { AgentChannel };

/** What a machine knows of its agent's console when it is made. */
export interface AgentPlan {
  /** There is to be one. */
  readonly exec?: boolean | undefined;
  readonly devices?: readonly Backend[] | undefined;
  /** The devices of a machine that is restored: whether there is one is said there. */
  readonly saved?: { readonly devices: readonly SavedDevice[] } | undefined;
}

/**
 * Makes the console, if there is to be one: that which a saved machine had, or the first that no device has.
 * @throws HostError CONSOLE_NUMBER when none is left.
 */
export function agentConsole(
  { exec = false, devices = [], saved }: AgentPlan,
  { clock, timers }: { readonly clock: Clock; readonly timers: Timers },
): { readonly channel: AgentChannel; readonly console: ConsoleBackend } | undefined {
  const taken = new Set(devices.map(({ name }) => name));
  let number = 1;
  while (taken.has(`hvc${number}`) && number <= MAX_CONSOLE_NUMBER) number += 1;
  const before = saved?.devices.find(isAgent);
  if (saved === undefined ? !exec : before === undefined) return undefined;
  if (before !== undefined) number = Number(before.name.replace("hvc", ""));
  const channel = new AgentChannel(clock, timers);
  if (before !== undefined) channel.restored();
  const console = new ConsoleBackend(number, channel, {
    channel: AGENT_CHANNEL,
    onConnected: () => channel.connected(),
    onRestored: () => channel.restored(),
    isBusy: () => channel.isBusy,
  });
  return { channel, console };
}

const isAgent = (device: SavedDevice): boolean =>
  device.class === "console" && device.generation === AGENT_CHANNEL;

/** The devices of a saved machine that whoever restores it has to bring. */
export const withoutAgent = (devices: readonly SavedDevice[]): SavedDevice[] =>
  devices.filter((device) => !isAgent(device));

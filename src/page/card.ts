/** A network card of a machine in a page; loaded when a machine has one. */
import { RelayNetwork } from "../hosts/browser/index.js";
import type { Log } from "../ports/index.js";
import { type MachinePorts, NetBackend, randomMac } from "../vmm/machine/index.js";

/** A card whose network is behind a relay. @throws HostError NET_UNUSABLE. */
export const openCard = async (
  address: string,
  entropy: MachinePorts["entropy"],
  log: Log,
): Promise<NetBackend> =>
  new NetBackend(0, randomMac(entropy), await RelayNetwork.open(address, log));

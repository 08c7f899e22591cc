/** Network cards of a machine in a page; loaded when a machine has one. */
import { HostError } from "../base/index.js";
import { RelayNetwork } from "../hosts/browser/index.js";
import type { Log, Network } from "../ports/index.js";
import {
  checkMac,
  MAX_CARDS,
  type MachinePorts,
  NetBackend,
  randomMac,
} from "../vmm/machine/index.js";

/** A card whose network is behind a relay. @throws HostError NET_UNUSABLE. */
export const openCard = async (
  address: string,
  entropy: MachinePorts["entropy"],
  log: Log,
): Promise<NetBackend> =>
  new NetBackend(0, randomMac(entropy), await RelayNetwork.open(address, log));

/** A cable that is not plugged in: what is sent is lost. */
const unplugged = (): Network => ({
  offers: { checksum: false, segmentation: true },
  isFull: false,
  send: () => undefined,
  onRoom: () => undefined,
  onFrames: () => undefined,
  resume: () => undefined,
  close: () => Promise.resolve(),
});

/**
 * The cards of a saved machine, with the addresses that they had, behind a relay; without one they have no cable, which is
 * said in a line.
 * @throws HostError NET_UNUSABLE; MAC_ADDRESS when the file names an address that is none.
 */
export async function openSavedCards(
  macs: readonly string[],
  address: string | undefined,
  log: Log,
): Promise<NetBackend[]> {
  if (macs.length > MAX_CARDS) {
    throw new HostError("NET_CARDS", `a machine has at most ${MAX_CARDS} network cards`);
  }
  if (address === undefined) {
    log.warn("the saved machine's network card has no cable here: start it with a relay's address");
  }
  const open = () => (address === undefined ? unplugged() : RelayNetwork.open(address, log));
  const cards: NetBackend[] = [];
  for (const [index, mac] of macs.entries()) {
    cards.push(new NetBackend(index, checkMac(mac), await open()));
  }
  return cards;
}

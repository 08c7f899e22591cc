/** The network cards of a machine, with the networks that they are connected to. */
import { HostError } from "../../../base/index.js";
import type { Network } from "../../../ports/index.js";
import {
  checkMac,
  MAX_CARDS,
  type MachinePorts,
  NetBackend,
  randomMac,
} from "../../../vmm/machine/index.js";
import { HeapTimers, ScriptedNetwork } from "../../sim/index.js";
import { openTapNetwork, openUserNetwork, type UserForward } from "../network/network-thread.js";
import { openPasstNetwork } from "../network/passt.js";
import { openSocketNetwork } from "../network/socket-network.js";

/** A network card, and what it is connected to. */
export type NetOption = { readonly mac?: string } & (
  | {
      /** A network of its own, behind this host as behind a router; needs libslirp. */
      readonly kind: "user";
      readonly forwards: readonly UserForward[];
      /** The guest reaches the loopback interface of the host. */
      readonly hostLoopback: boolean;
    }
  /** A program of its own, passt, which is started for it: the guest has the host's addresses. */
  | { readonly kind: "passt"; readonly forwards: readonly UserForward[] }
  /** An interface of the host. */
  | { readonly kind: "tap"; readonly name: string }
  /** Whoever listens on a Unix socket: passt, or another monitor. */
  | { readonly kind: "socket"; readonly path: string }
  /** One host in this process that answers ARP, DHCP, ping and echo; `loss`: share of frames lost, 0 to 1. */
  | { readonly kind: "sim"; readonly loss: number }
);

/** What networks need of a machine's surroundings. */
export type CardPorts = Pick<MachinePorts, "clock" | "timers" | "entropy" | "log">;

/** Opens networks, and makes cards for them. */
export class CardOpener {
  readonly #ports: CardPorts;
  /** It was said that the run will not repeat. */
  #told = false;

  constructor(ports: CardPorts) {
    this.#ports = ports;
  }

  /** Opens all. @throws HostError when one cannot be used; none is open then. */
  async openAll(options: readonly NetOption[]): Promise<NetBackend[]> {
    const cards: NetBackend[] = [];
    try {
      for (const option of options) {
        const taken = cards.map(({ name }) => name);
        cards.push(await this.open(option, taken));
      }
      return cards;
    } catch (refusal) {
      await Promise.all(cards.map((card) => card.close()));
      throw refusal;
    }
  }

  /**
   * Opens one, with the first number that is free.
   * @throws HostError when its network cannot be used; NET_CARDS when there are too many.
   */
  async open(option: NetOption, taken: readonly string[]): Promise<NetBackend> {
    let index = 0;
    while (taken.includes(`vif${index}`) && index < MAX_CARDS) index += 1;
    if (index === MAX_CARDS) {
      throw new HostError("NET_CARDS", `a machine has at most ${MAX_CARDS} network cards`);
    }
    const mac = option.mac === undefined ? randomMac(this.#ports.entropy) : checkMac(option.mac);
    const network = await this.#network(option, index);
    const isReal = option.kind !== "sim" && this.#ports.timers instanceof HeapTimers;
    if (isReal && !this.#told) {
      this.#told = true;
      this.#ports.log.warn("a virtual clock with a real network: this run will not repeat");
    }
    return new NetBackend(index, mac, network);
  }

  async #network(option: NetOption, index: number): Promise<Network> {
    const { clock, timers, log } = this.#ports;
    switch (option.kind) {
      case "user": {
        const { forwards, hostLoopback } = option;
        return openUserNetwork({ log, subnet: 2 + index, forwards, hostLoopback });
      }
      case "passt":
        return openPasstNetwork(option.forwards, log);
      case "tap":
        return openTapNetwork(option.name, log);
      case "socket":
        return openSocketNetwork(option.path, log);
      case "sim":
        return new ScriptedNetwork({ clock, timers, subnet: 2 + index, loss: option.loss });
    }
  }
}

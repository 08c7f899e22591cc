/** A network interface of the host (tap): what the guest sends comes out of it, as if by a cable. */
import { HostError } from "../../../base/index.js";
import { MAX_FRAME } from "../../../ports/index.js";
import type { LinkHost } from "./libslirp.js";
import { closeFile, openTap, PollEvent, type PollList, readInto, writeFrom } from "./system.js";

/** Frames of one interface before others have their turn. */
const BATCH = 64;

const reasons: Readonly<Record<string, string>> = {
  EPERM:
    "no permission: whoever may do so gives it to you by 'ip tuntap add NAME mode tap user YOU'",
  EACCES: "no permission to open /dev/net/tun",
  EBUSY: "another program uses it",
  EINVAL: "it is an interface of another kind",
  ENOENT: "this system has no /dev/net/tun",
};

/** One interface. */
export class TapLink {
  readonly #fd: number;
  readonly #host: LinkHost;
  readonly #buffer = new Uint8Array(MAX_FRAME);
  #place = -1;

  /** @throws HostError NET_UNUSABLE when it cannot be had. */
  constructor(name: string, host: LinkHost) {
    this.#host = host;
    try {
      this.#fd = openTap(name);
    } catch (cause) {
      const { code = "", message } = cause as NodeJS.ErrnoException;
      const why = (reasons[code] ?? message).replace("NAME", name);
      throw new HostError("NET_UNUSABLE", `--net tap=${name}: ${why}`, { cause });
    }
  }

  /** A frame of the guest: one that the interface has no room for, or is switched off for, is lost. */
  send(bytes: Uint8Array): void {
    writeFrom(this.#fd, bytes);
  }

  fill(list: PollList, most: number): number {
    this.#place = list.add(this.#fd, PollEvent.IN);
    return most;
  }

  react(list: PollList): void {
    if (list.events(this.#place) === 0) return;
    for (let i = 0; i < BATCH; i++) {
      const length = readInto(this.#fd, this.#buffer);
      if (length <= 0) return;
      this.#host.receive(this.#buffer.slice(0, length));
    }
  }

  close(): void {
    closeFile(this.#fd);
  }
}

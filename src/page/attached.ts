/** What serves the page, beyond its files. A machine of another program, by `--inspect`, is reached through a WebSocket of whoever serves the page. */
import type { FromInspected, ToInspected } from "../inspect/protocol.js";
import { fromText, toText } from "../inspect/wire.js";

/** What the server says it has attached. */
export interface Attached {
  readonly inspected: "machine" | "exec";
  /** In words: the command. */
  readonly name: string;
}

/** Whether the page is at an address of an inspector: those of `kvm-xen web` have no token, those of `kvm-xen relay` another. */
export const hasToken = (): boolean => /\/[0-9a-f]{32}\/$/.test(location.pathname);

/** The network beside this page, when `kvm-xen relay` serves it. */
export function ownRelay(): string | undefined {
  if (!/\/relay-[0-9a-f]{32}\/$/.test(location.pathname)) return undefined;
  return socketAddress("net").href;
}

/** The address of a WebSocket of whoever serves this page. */
function socketAddress(path: string): URL {
  const address = new URL(path, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

/** Asks the server whether the page is an inspector of its machine. */
export async function attachedMachine(): Promise<Attached | undefined> {
  if (!hasToken()) return undefined;
  try {
    const answer = await fetch("inspect.json");
    return answer.ok ? ((await answer.json()) as Attached) : undefined;
  } catch {
    return undefined;
  }
}

/** The connection to it. */
export class AttachedLink {
  readonly #socket: WebSocket;

  constructor(listener: {
    opened(): void;
    message(message: FromInspected): void;
    events(bytes: ArrayBuffer): void;
    closed(): void;
  }) {
    this.#socket = new WebSocket(socketAddress("inspect"));
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => listener.opened();
    this.#socket.onclose = () => listener.closed();
    this.#socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (typeof data === "string") listener.message(fromText(data) as FromInspected);
      else listener.events(data);
    };
  }

  send(message: ToInspected): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(toText(message));
  }
}

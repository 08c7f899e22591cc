/** A machine of another program, by `--inspect`: reached through a WebSocket of whoever serves the page. */
import type { FromInspected, ToInspected } from "../inspect/protocol.js";
import { fromText, toText } from "../inspect/wire.js";

/** What the server says it has attached. */
export interface Attached {
  readonly inspected: "machine" | "exec";
  /** In words: the command. */
  readonly name: string;
}

/** Whether the page is at an address of an inspector: those of `kvm-xen web` have no token. */
export const hasToken = (): boolean => /\/[0-9a-f]{32}\/$/.test(location.pathname);

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
    const address = new URL("inspect", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.#socket = new WebSocket(address);
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

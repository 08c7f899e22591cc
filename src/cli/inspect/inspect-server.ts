import { randomBytes } from "node:crypto";
import { PageServer } from "../../hosts/node/page-server.js";
import type { WebSocketPeer } from "../../hosts/node/websocket.js";
import {
  checkMessage,
  fromText,
  type Inspected,
  type InspectOutput,
  type ToInspected,
  toText,
} from "../../inspect/index.js";
import { PAGE_FOLDER } from "../web/web-command.js";

/** Where an inspector is served, and what it looks at. */
export interface InspectRequest {
  /** Port on the loopback interface; 0 takes a free one. */
  readonly port: number;
  /** Origins of other pages that may connect. */
  readonly allowOrigins: readonly string[];
}

/** One page's look at it. */
export interface InspectSession {
  receive(message: ToInspected): void;
  close(): void;
}

/** What is looked at. */
export interface InspectSubject {
  readonly inspected: Inspected;
  /** For people. */
  readonly name: string;
  connect(output: InspectOutput): InspectSession;
}

/** Bytes of the token in the address: nobody guesses 128 bits. */
const TOKEN_BYTES = 16;

/** `--inspect`: serves the page, which attaches to a machine of this process. Of several pages the newest has it. */
export class InspectServer {
  /** The page, with its token. */
  readonly address: string;
  readonly #server: PageServer;
  readonly #connections: Connections;

  private constructor(server: PageServer, connections: Connections) {
    this.#server = server;
    this.#connections = connections;
    this.address = server.address;
  }

  /** @throws HostError NOT_BUILT or PORT_UNUSABLE. */
  static async open(request: InspectRequest, subject: InspectSubject): Promise<InspectServer> {
    const connections = new Connections(subject);
    const described = JSON.stringify({ inspected: subject.inspected, name: subject.name });
    const server = await PageServer.open({
      ...{ folder: PAGE_FOLDER, port: request.port, allowOrigins: request.allowOrigins },
      token: randomBytes(TOKEN_BYTES).toString("hex"),
      routes: new Map([
        [
          "inspect.json",
          (_request, response) => {
            response.setHeader("Content-Type", "application/json");
            response.end(described);
          },
        ],
      ]),
      sockets: new Map([["inspect", (peer: WebSocketPeer) => connections.add(peer)]]),
    });
    return new InspectServer(server, connections);
  }

  /** What was looked at has ended. */
  async close(): Promise<void> {
    this.#connections.close();
    await this.#server.close();
  }
}

class Connections {
  readonly #subject: InspectSubject;
  #peer: WebSocketPeer | undefined;

  constructor(subject: InspectSubject) {
    this.#subject = subject;
  }

  add(peer: WebSocketPeer): void {
    this.#peer?.close();
    this.#peer = peer;
    const session = this.#subject.connect({
      send: (message) => peer.send(toText(message)),
      sendEvents: (bytes) => peer.send(bytes),
    });
    peer.listen({
      message(text) {
        const message = parse(text);
        if (message === undefined) peer.close();
        else session.receive(message);
      },
      closed: () => {
        if (this.#peer === peer) this.#peer = undefined;
        session.close();
      },
    });
  }

  close(): void {
    this.#peer?.close();
  }
}

function parse(text: string): ToInspected | undefined {
  try {
    return checkMessage(fromText(text));
  } catch {
    return undefined;
  }
}

/** Calls back again and again, and keeps no process alive by that. */
export function every(ms: number, callback: () => void): () => void {
  const timer = setInterval(callback, ms);
  timer.unref();
  return () => clearInterval(timer);
}

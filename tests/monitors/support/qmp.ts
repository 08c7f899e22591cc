import { connect, type Socket } from "node:net";

/** A connection to QEMU's machine protocol (QMP: docs/interop/qmp-spec in its documentation). */
export class Qmp {
  readonly #socket: Socket;
  readonly #waiting: ((answer: Answer) => void)[] = [];
  readonly #events: { name: string; seen: () => void }[] = [];
  #text = "";

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    socket.on("close", () => {
      for (const answer of this.#waiting.splice(0)) answer({ error: { desc: "QEMU is gone" } });
    });
  }

  /** Connects to a Unix socket that may come to be in a moment, for 30 seconds at most. */
  static async connect(path: string): Promise<Qmp> {
    for (let i = 0; ; i++) {
      try {
        const qmp = new Qmp(await connected(path));
        await qmp.call("qmp_capabilities");
        return qmp;
      } catch (error) {
        if (i === 300) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Executes a command. @throws Error with QEMU's words when it is refused. */
  async call(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    });
    if (answer.error !== undefined) throw new Error(`${execute}: ${answer.error.desc}`);
    return answer.return;
  }

  /** A command of the human monitor, and what it says. */
  async human(line: string): Promise<string> {
    return String(await this.call("human-monitor-command", { "command-line": line }));
  }

  /** Resolves at the next event of that name. */
  event(name: string): Promise<void> {
    return new Promise((seen) => this.#events.push({ name, seen }));
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) {
      const message = JSON.parse(line) as Answer & { event?: string };
      if (message.event !== undefined) this.#happened(message.event);
      else if ("return" in message || "error" in message) this.#waiting.shift()?.(message);
    }
  }

  #happened(name: string): void {
    for (const waiting of this.#events.filter((one) => one.name === name)) {
      this.#events.splice(this.#events.indexOf(waiting), 1);
      waiting.seen();
    }
  }
}

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

const connected = (path: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.once("error", reject);
  });

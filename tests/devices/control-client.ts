import { connect, type Socket } from "node:net";

/** A client of `--control`. */
export class ControlClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: { result?: unknown; error?: unknown }) => void>();
  #next = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let partial = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      const lines = (partial + text).split("\n");
      partial = lines.pop() ?? "";
      for (const line of lines) {
        const { id, ...answer } = JSON.parse(line);
        this.#waiting.get(id)?.(answer);
      }
    });
    socket.on("error", () => undefined);
  }

  /** Connects as soon as there is a socket. */
  static async open(path: string): Promise<ControlClient> {
    for (;;) {
      const socket = connect(path);
      const isThere = await new Promise<boolean>((resolve) => {
        socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
      });
      if (isThere) return new ControlClient(socket);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Asks for a method of the machine: its result, or the code of the refusal. */
  async ask(method: string, params: object = {}): Promise<unknown> {
    const id = this.#next++;
    const answered = new Promise<{ result?: unknown; error?: unknown }>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    const { result, error } = await answered;
    return error === undefined ? result : (error as { code: string }).code;
  }
}

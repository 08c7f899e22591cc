/** A server on a Unix socket, whose clients send lines and get lines. */
import { rm, stat } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { HostError } from "../../base/index.js";

/**
 * Bytes of a line.
 * @limit client | a line on the control socket | bytes | the connection ends
 */
const MAX_LINE = 1 << 16;
/** @limit client | clients of the control socket | clients | the next one is hung up on */
const MAX_CLIENTS = 16;
/** @limit client | requests of a client of the control socket without an answer | requests | it is not read from */
const MAX_PENDING = 64;
/** @limit client | answers that a client of the control socket does not read | bytes | the connection ends */
const MAX_UNREAD = 1 << 20;

/** Answers one line with another. */
export type AnswerLine = (line: string) => Promise<string>;

const inUse = (path: string, cause: unknown): HostError =>
  new HostError("SOCKET_UNUSABLE", `socket ${path}: another program listens there`, { cause });

export class LineServer {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  private constructor(answer: AnswerLine) {
    this.#server = createServer((client) => {
      if (this.#clients.size >= MAX_CLIENTS) {
        client.destroy();
        return;
      }
      this.#clients.add(client);
      client.on("close", () => this.#clients.delete(client));
      // Whoever goes away without a word is gone.
      client.on("error", () => client.destroy());
      serve(client, answer);
    });
  }

  /**
   * Listens on a socket that only this user may connect to. A socket that nobody listens on any more is replaced.
   * @throws HostError SOCKET_UNUSABLE when that cannot be.
   */
  static async listen(path: string, answer: AnswerLine): Promise<LineServer> {
    const server = new LineServer(answer);
    try {
      await removeDead(path);
      await server.#listen(path);
      return server;
    } catch (cause) {
      if (cause instanceof HostError) throw cause;
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === "EADDRINUSE") throw inUse(path, cause);
      const reasons: Record<string, string> = {
        // libuv says so of a folder that there is not, too.
        EACCES: "no such folder, or no permission",
        EINVAL: "the name is too long for a socket: 107 bytes are the most",
      };
      const text = `socket ${path}: ${reasons[code ?? ""] ?? message}`;
      throw new HostError("SOCKET_UNUSABLE", text, { cause });
    }
  }

  /** Hangs up on everybody and takes the socket away. */
  async close(): Promise<void> {
    for (const client of this.#clients) client.end(() => client.destroy());
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const before = process.umask(0o177);
      this.#server.once("error", reject);
      this.#server.listen(path, () => {
        this.#server.off("error", reject);
        resolve();
      });
      // The socket is made before listen() returns.
      process.umask(before);
    });
  }
}

/** Removes a socket that a program left behind which is no more. */
async function removeDead(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new HostError("SOCKET_UNUSABLE", `socket ${path}: there is a file of that name`);
  }
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.on("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED"));
  });
  if (isAlive) throw inUse(path, undefined);
  await rm(path, { force: true });
}

function serve(client: Socket, answer: AnswerLine): void {
  let partial: Buffer[] = [];
  let length = 0;
  let pending = 0;
  const reply = async (line: string): Promise<void> => {
    pending += 1;
    if (pending >= MAX_PENDING) client.pause();
    const text = await answer(line);
    pending -= 1;
    if (client.destroyed) return;
    client.write(`${text}\n`);
    if (client.writableLength > MAX_UNREAD) client.destroy();
    else if (pending < MAX_PENDING) client.resume();
  };
  client.on("data", (bytes: Buffer) => {
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      const line = Buffer.concat([...partial, bytes.subarray(from, end)]).toString("utf8");
      partial = [];
      length = 0;
      from = end + 1;
      if (line.trim() !== "") void reply(line);
    }
    const rest = bytes.subarray(from);
    partial.push(rest);
    length += rest.length;
    if (length > MAX_LINE) client.destroy();
  });
}

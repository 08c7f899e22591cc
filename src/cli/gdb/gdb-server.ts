import { createServer, type Server, type Socket } from "node:net";
import { HostError } from "../../base/index.js";
import { type GdbMachine, GdbStub, MAX_PACKET } from "../../gdb/index.js";

/** Bytes of answers that gdb does not read. @limit client | answers that gdb does not read | bytes | the connection ends */
const MAX_UNREAD = 64 * MAX_PACKET;

/** `--gdb[=PORT]`: waits for a gdb on the loopback interface. */
export class GdbServer {
  /** What gdb's `target remote` is given. */
  readonly address: string;
  readonly #server: Server;
  readonly #stub: GdbStub;
  readonly #clients: Set<Socket>;

  private constructor(server: Server, stub: GdbStub, clients: Set<Socket>, address: string) {
    this.#server = server;
    this.#stub = stub;
    this.#clients = clients;
    this.address = address;
  }

  /**
   * Listens; the machine stands still until a gdb lets it go on.
   * @param port 0 takes a free one.
   * @throws HostError PORT_UNUSABLE.
   */
  static async listen(machine: GdbMachine, port: number): Promise<GdbServer> {
    const stub = new GdbStub(machine);
    const clients = new Set<Socket>();
    const server = createServer((socket) => serve(stub, clients, socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        reject(
          new HostError("PORT_UNUSABLE", `port ${port} cannot be used: ${cause.message}`, {
            cause,
          }),
        );
      });
      server.listen(port, "127.0.0.1", resolve);
    });
    const bound = server.address();
    const used = typeof bound === "object" && bound !== null ? bound.port : port;
    return new GdbServer(server, stub, clients, `127.0.0.1:${used}`);
  }

  /** The machine has ended: gdb is told. */
  async close(): Promise<void> {
    this.#stub.ended();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const client of this.#clients) client.destroySoon();
    await closed;
  }
}

function serve(stub: GdbStub, clients: Set<Socket>, socket: Socket): void {
  socket.on("error", () => socket.destroy());
  const send = (text: string): void => {
    if (socket.writableLength > MAX_UNREAD) socket.destroy();
    else socket.write(text, "latin1");
  };
  if (!stub.connect({ send, hangUp: () => socket.destroySoon() })) {
    socket.destroy();
    return;
  }
  socket.setNoDelay(true);
  clients.add(socket);
  socket.on("data", (bytes) => stub.receive(bytes));
  socket.on("close", () => {
    clients.delete(socket);
    stub.disconnected();
  });
}

import { chmod, lstat, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { HostError } from "../../../base/index.js";
import type { Log, Network } from "../../../ports/index.js";
import { StreamNetwork } from "./stream-network.js";

/**
 * A network behind a Unix socket that speaks QEMU's stream protocol. Whoever listens there is connected to; when nobody
 * does, the socket is made, and the next one who connects is the other end: so two machines with the same path are
 * joined, whichever starts first.
 * @throws HostError NET_UNUSABLE when the socket can neither be connected to nor made.
 */
export async function openSocketNetwork(path: string, log: Log): Promise<Network> {
  const name = `--net socket=${path}`;
  try {
    const socket = await connectTo(path);
    if (socket !== undefined) {
      const network = new StreamNetwork(name, log);
      network.connect(socket);
      return network;
    }
    let server: Server | undefined;
    const network = new StreamNetwork(name, log, () => closeServer(server));
    server = await listenAt(path, (peer) => {
      if (network.isConnected) peer.destroy();
      else network.connect(peer);
    });
    return network;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new HostError("NET_UNUSABLE", `${name}: ${reasons[code ?? ""] ?? message}`, { cause });
  }
}

const reasons: Record<string, string> = {
  EACCES: "no permission",
  EINVAL: "the path is too long for a socket",
  ENAMETOOLONG: "the path is too long for a socket",
  ENOTSOCK: "it is no socket",
  EPROTOTYPE: "it is a socket of another kind",
  ENOTDIR: "there is no such folder",
};

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** Undefined when nobody listens there; a socket that was left behind is taken away. */
async function connectTo(path: string): Promise<Socket | undefined> {
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect(path, () => {
        socket.off("error", reject);
        resolve(socket);
      });
      socket.once("error", reject);
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code !== "ECONNREFUSED") throw error;
    // Files, too, refuse connections: one of those stays.
    if (!(await lstat(path)).isSocket()) throw failure("ENOTSOCK");
    await unlink(path);
    return undefined;
  }
}

function listenAt(path: string, onPeer: (peer: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onPeer);
    // The folder is missing: Node's answer to that depends on its release.
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "ENOENT" || error.code === "EACCES" ? failure("ENOTDIR") : error),
    );
    server.listen(path, () => {
      // Whoever may connect is in the guest's network.
      chmod(path, 0o600).then(() => resolve(server), reject);
    });
  });
}

const closeServer = (server: Server | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (server === undefined) resolve();
    else server.close(() => resolve());
  });

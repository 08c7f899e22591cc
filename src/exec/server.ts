import { pollfd, ucred } from "../abi/linux/syscalls.js";
import { openKvm } from "../ioctl/index.js";
import type { Kvm } from "../kvm/index.js";
import { Client } from "./client.js";
import { Connection, type ConnectionParts } from "./connection.js";
import { Files } from "./files.js";
import {
  accept4,
  bind,
  C,
  close,
  eventfd,
  getrlimit,
  getsockopt,
  listen,
  pidfdOpen,
  poll,
  setrlimit,
  socket,
} from "./libc.js";
import { MailRoom } from "./mailbox.js";
import { descendsFrom, hasDescendants, isAlive } from "./processes.js";
import type { Reactor } from "./reactor.js";
import { RunPages } from "./run-pages.js";
import type { Tracer } from "./trace/index.js";

/** What a server is made of. */
export interface ServerOptions {
  readonly kvm: Kvm;
  readonly reactor: Reactor;
  /** The name of its socket, in Linux's abstract namespace: nothing is left in a file system. */
  readonly name: string;
  readonly tracer?: Tracer;
  /** Says a line to people. */
  readonly say: (line: string) => void;
  /** Offer mailboxes: answers come faster, at the price of a busy thread for a while after each. */
  readonly mailboxes?: boolean;
}

/** Milliseconds between looks at the processes that are left when the program has ended. */
const LOOK_MS = 100;
/** Looks in a row that find none before there is none, and milliseconds between those. */
const MISSES = 3;
const MISS_MS = 20;

/** Serves the programs of one `kvm-xen exec`. */
export class Server {
  readonly #options: ServerOptions;
  readonly #files: Files;
  readonly #pages = new RunPages();
  readonly #clients = new Map<number, Client>();
  readonly #connections = new Set<Connection>();
  /** What tells the end of each client's process. */
  readonly #processes = new Map<Client, number>();
  readonly #mailRoom: MailRoom | undefined;
  #listener = -1;
  /** Given up for a moment when no other descriptor is free. */
  #spare = eventfd(0, C.EFD_CLOEXEC);

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#files = new Files(options.reactor);
    if (options.mailboxes === true) this.#mailRoom = new MailRoom(this.#pages);
    options.reactor.lookout = this.#mailRoom;
  }

  /** Listens; false when the name is taken or sockets are not to be had. */
  listen(): boolean {
    allowManyDescriptors();
    const name = new TextEncoder().encode(this.#options.name);
    const address = new Uint8Array(3 + name.length);
    new DataView(address.buffer).setUint16(0, C.AF_UNIX, true);
    address.set(name, 3);
    this.#listener = socket(C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0);
    if (this.#listener < 0 || bind(this.#listener, address, address.length) !== 0) return false;
    if (listen(this.#listener, 128) !== 0) return false;
    return this.#options.reactor.watch(this.#listener, () => this.#accept());
  }

  /** Calls back when no process that was started under this exec can have a file of KVM any more. */
  whenUnused(callback: () => void): void {
    const { reactor } = this.#options;
    const look = (misses: number) => {
      if (this.#files.size === 0) return callback();
      // Files without processes: a hostile one may give any descriptor as the end of a file.
      const isAny = hasDescendants(process.pid);
      // A process may fork and end during a look, and not be seen then.
      if (!isAny && misses + 1 >= MISSES) return callback();
      reactor.after(isAny ? LOOK_MS : MISS_MS, () => look(isAny ? 0 : misses + 1));
    };
    look(0);
  }

  /** Ends everything: connections, VMs, guest memory. */
  close(): void {
    this.#options.reactor.unwatch(this.#listener);
    close(this.#listener);
    close(this.#spare);
    for (const connection of [...this.#connections]) connection.close();
    this.#files.closeAll();
    for (const client of this.#clients.values()) this.#end(client);
    this.#clients.clear();
  }

  #accept(): void {
    const fd = accept4(this.#listener, null, null, C.SOCK_CLOEXEC);
    if (fd < 0) {
      this.#turnAway();
      return;
    }
    const peer = peerOf(fd);
    if (peer === undefined || !this.#isWelcome(fd, peer)) {
      close(fd);
      return;
    }
    const connection = new Connection(fd, this.#parts(peer.pid));
    this.#connections.add(connection);
    this.#options.reactor.watch(fd, (events) => connection.readable(events));
  }

  /** No descriptor is free: who would wait for a greeting hears that none comes. */
  #turnAway(): void {
    close(this.#spare);
    const fd = accept4(this.#listener, null, null, C.SOCK_CLOEXEC);
    if (fd >= 0) close(fd);
    this.#spare = eventfd(0, C.EFD_CLOEXEC);
  }

  /**
   * Processes of this user, those that were started under this exec, whoever they are by now (a daemon
   * that starts others as users of their own), and those that came before. Whoever has the number of one that
   * ended is not it.
   */
  #isWelcome(fd: number, { pid, user }: Peer): boolean {
    if (user === process.getuid?.()) return true;
    // Looked at while it lives: a socket that is still open has nobody else at its other end.
    if (descendsFrom(pid, process.pid) && !hasEvent(fd, C.POLLHUP)) return true;
    const client = this.#clients.get(pid);
    const pidfd = client === undefined ? undefined : this.#processes.get(client);
    return pidfd !== undefined && !hasEvent(pidfd);
  }

  #parts(peer: number): ConnectionParts {
    const { reactor, kvm, tracer } = this.#options;
    return {
      reactor,
      tracer,
      files: this.#files,
      pages: this.#pages,
      mailRoom: this.#mailRoom,
      open: (client) => this.#files.addSystem(openKvm(kvm, client), client),
      fileFor(open, client) {
        if (open.client === client) return open.file;
        if (open.shared === undefined) return undefined;
        const own = open.shared.get(client) ?? openKvm(kvm, client);
        open.shared.set(client, own);
        return own;
      },
      // A process speaks for itself only.
      hello: (_, pid, program) => (pid === peer ? this.#client(pid, program) : undefined),
      closed: (connection) => this.#closed(connection),
    };
  }

  /** A process that runs another program than before has other memory: it is another client. */
  #client(pid: number, program: number): Client {
    let client = this.#clients.get(pid);
    if (client !== undefined && program !== 0 && client.program !== program) {
      this.#gone(client);
      client = undefined;
    }
    if (client === undefined) {
      const { reactor, say, tracer } = this.#options;
      client = new Client(pid, program, {
        ...{ reactor, pages: this.#pages, files: this.#files, say },
        onSkipped({ irqLine, irqLineStatus }) {
          tracer?.skipped("KVM_IRQ_LINE", irqLine);
          tracer?.skipped("KVM_IRQ_LINE_STATUS", irqLineStatus);
        },
      });
      this.#clients.set(pid, client);
      this.#watch(client);
    }
    return client;
  }

  /** Ends a client with its process, although children may have copies of its descriptors. */
  #watch(client: Client): void {
    const pidfd = pidfdOpen(C.SYS_PIDFD_OPEN, client.pid, 0);
    if (pidfd < 0) return; // Linux before 5.3: its connections tell
    this.#processes.set(client, pidfd);
    this.#options.reactor.watch(pidfd, () => this.#gone(client));
  }

  #gone(client: Client): void {
    if (this.#clients.get(client.pid) === client) this.#clients.delete(client.pid);
    for (const connection of [...this.#connections]) {
      if (connection.client === client) connection.close();
    }
    this.#end(client);
  }

  /** The last connection of a process: it is gone, or will say hello again. */
  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    const { client } = connection;
    if (client === undefined) return;
    if ([...this.#connections].some((other) => other.client === client)) return;
    if (isAlive(client.pid)) return;
    this.#clients.delete(client.pid);
    this.#end(client);
  }

  #end(client: Client): void {
    const pidfd = this.#processes.get(client);
    if (pidfd !== undefined) {
      this.#processes.delete(client);
      this.#options.reactor.unwatch(pidfd);
      close(pidfd);
    }
    this.#files.forget(client);
    client.close();
  }
}

/** The process at the other end of a connection when it was made. */
interface Peer {
  readonly pid: number;
  readonly user: number;
}

function peerOf(fd: number): Peer | undefined {
  const credentials = new Uint8Array(ucred.size);
  const length = new Uint32Array([ucred.size]);
  if (getsockopt(fd, C.SOL_SOCKET, C.SO_PEERCRED, credentials, length) !== 0) return undefined;
  const { pid, uid } = ucred.decode(credentials);
  return { pid, user: uid };
}

/** Whether a descriptor has an event now: POLLIN for a pidfd whose process has ended. */
function hasEvent(fd: number, event: number = C.POLLIN): boolean {
  return poll(pollfd.encode({ fd, events: event }), 1, 0) !== 0;
}

/** Each vCPU takes a descriptor here; a soft limit of 1024 is too low for programs with many. */
function allowManyDescriptors(): void {
  const limit = new BigUint64Array(2);
  if (getrlimit(C.RLIMIT_NOFILE, limit) !== 0) return;
  limit[0] = limit[1] as bigint;
  setrlimit(C.RLIMIT_NOFILE, limit);
}

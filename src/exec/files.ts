import type { KvmFile } from "../ioctl/index.js";
import type { Client, FileTable } from "./client.js";
import { C, close, recv } from "./libc.js";
import { HANDLE_DEVICE } from "./protocol.js";
import type { Reactor } from "./reactor.js";

/** A file that some process has descriptors for. */
export interface OpenFile {
  readonly handle: number;
  readonly file: KvmFile;
  /** Whose memory and descriptors its ioctls mean. */
  readonly client: Client;
  /** Where a read without a position goes on. */
  position: number;
  /** /dev/kvm belongs to no process: one of its own for each that uses the descriptor. */
  readonly shared: Map<Client, KvmFile> | undefined;
}

/**
 * The files of all clients by handle. A file lives as long as a copy of its descriptor does, in any
 * process: the client's end of a socket pair is that descriptor, the lifeline is the other end.
 */
export class Files implements FileTable {
  readonly #files = new Map<number, OpenFile>();
  readonly #lifelines = new Map<number, number>();
  readonly #reactor: Reactor;
  #next = 1;
  readonly #rubbish = new Uint8Array(4096);

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  /** The file of a handle. */
  get(handle: number): OpenFile | undefined {
    return this.#files.get(handle);
  }

  /** All files that are open. */
  all(): Iterable<OpenFile> {
    return this.#files.values();
  }

  add(file: KvmFile, client: Client): number {
    return this.#add(file, client, undefined);
  }

  /** A handle for /dev/kvm, which children of the client may use too. */
  addSystem(file: KvmFile, client: Client): number {
    return this.#add(file, client, new Map([[client, file]]));
  }

  connect(handle: number, lifeline: number): boolean {
    const isWatched = this.#reactor.watch(lifeline, (events) => {
      // What a program writes there past libc means nothing. A hostile one may give any file.
      const { length } = this.#rubbish;
      const isWritten = (events & (C.EPOLLHUP | C.EPOLLERR)) === 0;
      if (isWritten && recv(lifeline, this.#rubbish, length, C.MSG_DONTWAIT) > 0) return;
      this.#closed(handle);
    });
    if (isWatched) this.#lifelines.set(handle, lifeline);
    else {
      close(lifeline);
      this.#files.delete(handle);
    }
    return isWatched;
  }

  /** A client is gone; its files stay as long as someone has descriptors for them. */
  forget(client: Client): void {
    for (const { shared } of this.#files.values()) shared?.delete(client);
  }

  /** How many are open. */
  get size(): number {
    return this.#files.size;
  }

  /** Releases everything. */
  closeAll(): void {
    for (const handle of [...this.#files.keys()]) this.#closed(handle);
  }

  #add(file: KvmFile, client: Client, shared: OpenFile["shared"]): number {
    const handle = this.#next++ | (shared === undefined ? 0 : HANDLE_DEVICE);
    this.#files.set(handle, { handle, file, client, position: 0, shared });
    return handle;
  }

  #closed(handle: number): void {
    const open = this.#files.get(handle);
    const lifeline = this.#lifelines.get(handle);
    if (lifeline !== undefined) {
      this.#reactor.unwatch(lifeline);
      close(lifeline);
      this.#lifelines.delete(handle);
    }
    this.#files.delete(handle);
    open?.client.lines.close(handle);
    open?.file.release();
    this.#reactor.promisesWait();
  }
}

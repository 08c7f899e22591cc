/**
 * One client of the store that speaks the protocol: requests in, replies and watch events out.
 * Knows nothing of how the bytes travel.
 */
import {
  XENSTORE_PAYLOAD_MAX,
  XSD_SOCKMSG_SIZE,
  Xs,
  type XsError,
} from "../../../abi/xen/xs-wire.js";
import { formatPermission, type Permission, parsePermission } from "./node.js";
import { domainPath, isXsError, parsePath, parseWatchPath } from "./path.js";
import type { Store, StoreKept } from "./store.js";
import type { Watch } from "./watches.js";
import {
  directoryPart,
  encodeMessage,
  joinStrings,
  onlyString,
  readNumber,
  splitStrings,
  toBytes,
  toText,
  type XsMessage,
} from "./wire.js";

type Reply = Uint8Array | XsError;
const OK = joinStrings(["OK"]);

/** Output of a {@link Connection}. */
export interface ConnectionSink {
  /** There is something to {@link Connection.takeOutput}. Not called while handling a request. */
  ready(): void;
  /** Events are lost from now on, since the client does not read them. Told once. */
  overflow(): void;
}

/** A message to send. */
export interface Output {
  readonly bytes: Uint8Array;
  /** It answers a request. */
  readonly isReply: boolean;
}

/** What waits for a client. */
export interface ConnectionKept {
  /** In order: replies as bytes; events as path and token, each with a NUL. */
  readonly output: readonly {
    readonly event: string | undefined;
    readonly reply: Uint8Array | undefined;
  }[];
  readonly overflowed: boolean;
}

/** Requests of the tool stack, which is no client: nobody else may make them. */
const PRIVILEGED_TYPES: ReadonlySet<number> = new Set([
  Xs.CONTROL,
  Xs.INTRODUCE,
  Xs.RELEASE,
  Xs.RESUME,
  Xs.SET_TARGET,
  Xs.IS_DOMAIN_INTRODUCED,
]);

/** Requests for which it does not matter which transaction they name. */
const WITHOUT_TRANSACTION: ReadonlySet<number> = new Set([Xs.WATCH, Xs.UNWATCH]);
const KNOWN_TYPES: ReadonlySet<number> = new Set(
  Object.values(Xs).filter((type) => type !== Xs.WATCH_EVENT && type !== Xs.ERROR),
);

export class Connection {
  readonly #store: Store;
  readonly #domid: number;
  readonly #sink: ConnectionSink;
  /**
   * What waits, in order: replies, and events by path and token. A change that was not heard of yet is told
   * once. Events become bytes when they are sent: a commit may make 100,000 of them.
   */
  readonly #output = new Map<string | symbol, Uint8Array | undefined>();
  #overflowed = false;
  #handling = false;
  /** The first event of a watch, which comes after the reply. */
  #first: (() => void) | undefined;

  constructor(store: Store, domid: number, sink: ConnectionSink) {
    this.#store = store;
    this.#domid = domid;
    this.#sink = sink;
  }

  /** The next message to send; undefined when there is none. */
  takeOutput(): Output | undefined {
    for (const [key, reply] of this.#output) {
      this.#output.delete(key);
      const isReply = reply !== undefined;
      const payload = toBytes(isReply ? "" : (key as string));
      const bytes = reply ?? encodeMessage({ type: Xs.WATCH_EVENT, reqId: 0, txId: 0, payload });
      return { bytes, isReply };
    }
    return undefined;
  }

  /** To be told when a message was sent as a whole: until then it counts as the client's memory. */
  sent({ bytes }: Output): void {
    this.#store.useMemory(this.#domid, -bytes.length);
  }

  /** Forgets what waits, all watches and all transactions. */
  reset(): void {
    for (let next = this.takeOutput(); next !== undefined; next = this.takeOutput())
      this.sent(next);
    this.#store.forget(this.#domid);
  }

  /** Carries a request out; its reply is then among the output. */
  handle(request: XsMessage): void {
    this.#handling = true;
    try {
      const reply = this.#answer(request);
      const error = isXsError(reply) ? reply : undefined;
      const tooLong = !isXsError(reply) && reply.length > XENSTORE_PAYLOAD_MAX;
      if (error === undefined && !tooLong) this.#send(request, request.type, reply as Uint8Array);
      else this.#send(request, Xs.ERROR, joinStrings([error ?? "E2BIG"]));
      this.#first?.();
    } finally {
      this.#first = undefined;
      this.#handling = false;
    }
  }

  #send(request: XsMessage, type: number, payload: Uint8Array): void {
    const bytes = encodeMessage({ type, reqId: request.reqId, txId: request.txId, payload });
    this.#output.set(Symbol("reply"), bytes);
    this.#store.useMemory(this.#domid, bytes.length);
  }

  #answer(request: XsMessage): Reply {
    const { type, txId, payload } = request;
    if (!KNOWN_TYPES.has(type)) return "ENOSYS";
    if (PRIVILEGED_TYPES.has(type)) return "EACCES";
    if (!WITHOUT_TRANSACTION.has(type)) {
      const error = this.#store.checkTransaction(this.#domid, txId);
      if (error !== undefined) return error;
    }
    switch (type) {
      case Xs.WRITE:
        return this.#write(request);
      case Xs.DIRECTORY:
      case Xs.READ:
      case Xs.GET_PERMS:
      case Xs.MKDIR:
      case Xs.RM: {
        const text = onlyString(payload);
        return text === undefined ? "EINVAL" : this.#onNode(request, text);
      }
      case Xs.DIRECTORY_PART:
        return this.#directoryPart(txId, splitStrings(payload));
      case Xs.SET_PERMS:
        return payload.at(-1) === 0 ? this.#setPermissions(txId, splitStrings(payload)) : "EINVAL";
      case Xs.WATCH:
      case Xs.UNWATCH:
        return this.#watch(type, splitStrings(payload));
      case Xs.RESET_WATCHES:
        this.#store.forget(this.#domid);
        return OK;
      case Xs.TRANSACTION_START:
        return this.#begin(txId);
      case Xs.TRANSACTION_END:
        return this.#end(txId, onlyString(payload));
      default:
        // GET_DOMAIN_PATH, the last one of those that are known.
        return pathOfDomain(onlyString(payload));
    }
  }

  #onNode({ type, txId }: XsMessage, text: string): Reply {
    const path = parsePath(this.#domid, text);
    if (isXsError(path)) return path;
    const domid = this.#domid;
    switch (type) {
      case Xs.READ:
        return this.#store.read(domid, txId, path.absolute);
      case Xs.DIRECTORY: {
        const found = this.#store.directory(domid, txId, path.absolute);
        return isXsError(found) ? found : joinStrings(found.names);
      }
      case Xs.GET_PERMS: {
        const found = this.#store.getPermissions(domid, txId, path.absolute);
        return isXsError(found) ? found : joinStrings(found.map(formatPermission));
      }
      case Xs.MKDIR:
        return this.#store.mkdir(domid, txId, path.absolute) ?? OK;
      default:
        return this.#store.rm(domid, txId, path.absolute) ?? OK;
    }
  }

  /** The value is not a string: it is all that follows the path's NUL. */
  #write({ txId, payload }: XsMessage): Reply {
    const nul = payload.indexOf(0);
    if (nul < 0) return "EINVAL";
    const path = parsePath(this.#domid, toText(payload.subarray(0, nul)));
    if (isXsError(path)) return path;
    return this.#store.write(this.#domid, txId, path.absolute, payload.subarray(nul + 1)) ?? OK;
  }

  #directoryPart(txId: number, args: readonly string[]): Reply {
    const [text, offset] = args;
    if (args.length !== 2 || text === undefined || offset === undefined) return "EINVAL";
    const path = parsePath(this.#domid, text);
    if (isXsError(path)) return path;
    const found = this.#store.directory(this.#domid, txId, path.absolute);
    if (isXsError(found)) return found;
    return directoryPart(found.names, found.generation, readNumber(offset));
  }

  #setPermissions(txId: number, args: readonly string[]): Reply {
    // What ends with a NUL has one string at least.
    const [text, ...entries] = args as readonly [string, ...string[]];
    if (!this.#store.mayHavePermissions(this.#domid, entries.length)) return "ENOSPC";
    const permissions: Permission[] = [];
    for (const entry of entries) {
      const permission = parsePermission(entry);
      if (permission === undefined) return "EINVAL";
      permissions.push(permission);
    }
    const [owner] = permissions;
    if (owner !== undefined && !this.#store.exists(owner.domid)) return "ENOENT";
    const path = parsePath(this.#domid, text);
    if (isXsError(path)) return path;
    return this.#store.setPermissions(this.#domid, txId, path.absolute, permissions) ?? OK;
  }

  #watch(type: number, args: readonly string[]): Reply {
    const [text, token] = args;
    if (args.length !== 2 || text === undefined || token === undefined) return "EINVAL";
    const path = parseWatchPath(this.#domid, text);
    if (isXsError(path)) return type === Xs.UNWATCH ? "ENOENT" : path;
    if (type === Xs.UNWATCH) {
      return this.#store.unwatch(this.#domid, path.absolute, token) ?? OK;
    }
    const watch = this.#newWatch(path.absolute, token, path.relative);
    const error = this.#store.watch(watch);
    if (error !== undefined) return error;
    this.#first = () => watch.fire(path.absolute);
    return OK;
  }

  #newWatch(path: string, token: string, isRelative: boolean): Watch {
    const prefix = isRelative ? `${domainPath(this.#domid)}/`.length : 0;
    const fire = (changed: string): void => this.#queueEvent(changed.slice(prefix), token);
    return { domid: this.#domid, path, token, isRelative, fire };
  }

  /** What waits, for exact snapshots; watches are the store's. */
  get kept(): ConnectionKept {
    const output = [...this.#output].map(([key, reply]) => ({
      event: typeof key === "string" ? key : undefined,
      reply,
    }));
    return { output, overflowed: this.#overflowed };
  }

  /** Puts back what {@link kept} gave, and its watches: those of `watches` that are this client's. */
  keep({ output, overflowed }: ConnectionKept, watches: StoreKept["watches"]): void {
    for (const { event, reply } of output) {
      if (reply !== undefined) this.#output.set(Symbol("reply"), reply);
      else if (event !== undefined) this.#output.set(event, undefined);
    }
    this.#overflowed = overflowed;
    for (const { domid, path, token, isRelative } of watches) {
      if (domid === this.#domid)
        this.#store.watch(this.#newWatch(path, token, isRelative === true));
    }
  }

  #queueEvent(path: string, token: string): void {
    const length = path.length + token.length + 2;
    // An event that would not fit a message cannot be told; the path is at least 3 KiB then.
    if (length > XENSTORE_PAYLOAD_MAX) return;
    const bytes = XSD_SOCKMSG_SIZE + length;
    const isFull = !this.#store.hasRoom(this.#domid, bytes);
    // When all is lost from now on, what waits already need not be looked for.
    if (isFull && this.#overflowed) return;
    const key = `${path}\0${token}\0`;
    if (this.#output.has(key)) return;
    if (isFull) {
      this.#sink.overflow();
      this.#overflowed = true;
      return;
    }
    this.#output.set(key, undefined);
    this.#store.useMemory(this.#domid, bytes);
    if (!this.#handling) this.#sink.ready();
  }

  #begin(txId: number): Reply {
    if (txId !== 0) return "EBUSY";
    const id = this.#store.begin(this.#domid);
    return isXsError(id) ? id : joinStrings([`${id}`]);
  }

  #end(txId: number, verdict: string | undefined): Reply {
    if (verdict !== "T" && verdict !== "F") return "EINVAL";
    return this.#store.end(this.#domid, txId, verdict === "T") ?? OK;
  }
}

function pathOfDomain(text: string | undefined): Reply {
  return text === undefined ? "EINVAL" : joinStrings([domainPath(readNumber(text))]);
}

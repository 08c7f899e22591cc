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
import type { Store } from "./store.js";
import {
  directoryPart,
  encodeMessage,
  joinStrings,
  splitStrings,
  toBytes,
  toText,
  type XsMessage,
} from "./wire.js";

/**
 * Bytes of events that wait for a client. xenstored counts them, with all else that it keeps for a domain,
 * against its quota "memory", whose default this is, and drops what exceeds it.
 * @limit guest | events that a domain does not read from its xenstore ring | bytes | they are dropped, with a
 *   warning, as by xenstored
 */
const MAX_EVENT_BYTES = 2.5 * 2 ** 20;

type Reply = Uint8Array | XsError;
const OK = joinStrings(["OK"]);

/** Output of a {@link Connection}. */
export interface ConnectionSink {
  /** There is something to {@link Connection.takeOutput}. Not called while handling a request. */
  ready(): void;
  /** Events are lost from now on, since the client does not read them. Told once. */
  overflow(): void;
}

/** Requests of the tool stack, not of guests. */
const PRIVILEGED_TYPES: ReadonlySet<number> = new Set([
  Xs.CONTROL,
  Xs.INTRODUCE,
  Xs.RELEASE,
  Xs.RESUME,
  Xs.SET_TARGET,
]);

export class Connection {
  readonly #store: Store;
  readonly #domid: number;
  readonly #sink: ConnectionSink;
  readonly #output: Uint8Array[] = [];
  /** Events that wait, by path and token: a change that was not heard of yet is told once. */
  readonly #events = new Map<string, Uint8Array>();
  #eventBytes = 0;
  #overflowed = false;
  #handling = false;

  constructor(store: Store, domid: number, sink: ConnectionSink) {
    this.#store = store;
    this.#domid = domid;
    this.#sink = sink;
  }

  /** Whether anything waits to be sent. */
  get hasOutput(): boolean {
    return this.#output.length > 0 || this.#events.size > 0;
  }

  /** The next message to send, replies before events. */
  takeOutput(): Uint8Array | undefined {
    const reply = this.#output.shift();
    if (reply !== undefined) return reply;
    for (const [key, event] of this.#events) {
      this.#events.delete(key);
      this.#eventBytes -= event.length;
      return event;
    }
    return undefined;
  }

  /** Forgets what waits, all watches and all transactions. */
  reset(): void {
    this.#output.length = 0;
    this.#clearEvents();
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
    } finally {
      this.#handling = false;
    }
  }

  #send(request: XsMessage, type: number, payload: Uint8Array): void {
    this.#output.push(encodeMessage({ type, reqId: request.reqId, txId: request.txId, payload }));
  }

  #answer(request: XsMessage): Reply {
    if (PRIVILEGED_TYPES.has(request.type)) return "EACCES";
    if (request.type === Xs.WRITE) return this.#write(request);
    const args = splitStrings(request.payload);
    if (args === undefined) return "EINVAL";
    switch (request.type) {
      case Xs.DIRECTORY:
      case Xs.READ:
      case Xs.GET_PERMS:
      case Xs.MKDIR:
      case Xs.RM:
        return args.length === 1 ? this.#onNode(request, args[0] as string) : "EINVAL";
      case Xs.DIRECTORY_PART:
        return this.#directoryPart(request.txId, args);
      case Xs.SET_PERMS:
        return this.#setPermissions(request.txId, args);
      case Xs.WATCH:
      case Xs.UNWATCH:
        return this.#watch(request.type, args);
      case Xs.RESET_WATCHES:
        this.#store.forget(this.#domid);
        this.#clearEvents();
        return OK;
      case Xs.TRANSACTION_START:
        return this.#begin(request.txId);
      case Xs.TRANSACTION_END:
        return this.#end(request.txId, args);
      case Xs.GET_DOMAIN_PATH:
      case Xs.IS_DOMAIN_INTRODUCED:
        return this.#aboutDomain(request.type, args);
      default:
        return "ENOSYS";
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
    if (args.length !== 2 || text === undefined || !/^\d{1,9}$/.test(offset ?? "")) return "EINVAL";
    const path = parsePath(this.#domid, text);
    if (isXsError(path)) return path;
    const found = this.#store.directory(this.#domid, txId, path.absolute);
    if (isXsError(found)) return found;
    return directoryPart(found.names, found.generation, Number(offset)) ?? "EINVAL";
  }

  #setPermissions(txId: number, args: readonly string[]): Reply {
    const [text, ...entries] = args;
    if (text === undefined) return "EINVAL";
    const path = parsePath(this.#domid, text);
    if (isXsError(path)) return path;
    const permissions: Permission[] = [];
    for (const entry of entries) {
      const permission = parsePermission(entry);
      if (permission === undefined) return "EINVAL";
      permissions.push(permission);
    }
    return this.#store.setPermissions(this.#domid, txId, path.absolute, permissions) ?? OK;
  }

  #watch(type: number, args: readonly string[]): Reply {
    const [text, token] = args;
    if (args.length !== 2 || text === undefined || token === undefined) return "EINVAL";
    const path = parseWatchPath(this.#domid, text);
    if (isXsError(path)) return path;
    if (type === Xs.UNWATCH) {
      return this.#store.unwatch(this.#domid, path.absolute, token) ?? OK;
    }
    const prefix = path.relative ? `${domainPath(this.#domid)}/`.length : 0;
    const fire = (changed: string): void => this.#queueEvent(changed.slice(prefix), token);
    const error = this.#store.watch({ domid: this.#domid, path: path.absolute, token, fire });
    if (error !== undefined) return error;
    // Every new watch fires once, after its reply: events are sent after replies.
    fire(path.absolute);
    return OK;
  }

  #queueEvent(path: string, token: string): void {
    const length = path.length + token.length + 2;
    // An event that would not fit a message cannot be told; the path is at least 3 KiB then.
    if (length > XENSTORE_PAYLOAD_MAX) return;
    const isFull = this.#eventBytes + XSD_SOCKMSG_SIZE + length > MAX_EVENT_BYTES;
    // When all is lost from now on, what waits already need not be looked for.
    if (isFull && this.#overflowed) return;
    const key = `${path}\0${token}\0`;
    if (this.#events.has(key)) return;
    if (isFull) {
      this.#sink.overflow();
      this.#overflowed = true;
      return;
    }
    const payload = toBytes(key);
    const event = encodeMessage({ type: Xs.WATCH_EVENT, reqId: 0, txId: 0, payload });
    this.#events.set(key, event);
    this.#eventBytes += event.length;
    if (!this.#handling) this.#sink.ready();
  }

  #clearEvents(): void {
    this.#events.clear();
    this.#eventBytes = 0;
  }

  #begin(txId: number): Reply {
    if (txId !== 0) return "EBUSY";
    const id = this.#store.begin(this.#domid);
    return isXsError(id) ? id : joinStrings([`${id}`]);
  }

  #end(txId: number, args: readonly string[]): Reply {
    const [verdict] = args;
    if (args.length !== 1 || (verdict !== "T" && verdict !== "F")) return "EINVAL";
    return this.#store.end(this.#domid, txId, verdict === "T") ?? OK;
  }

  #aboutDomain(type: number, args: readonly string[]): Reply {
    const [text] = args;
    if (args.length !== 1 || text === undefined || !/^\d{1,5}$/.test(text)) return "EINVAL";
    const domid = Number(text);
    if (type === Xs.GET_DOMAIN_PATH) return joinStrings([domainPath(domid)]);
    return joinStrings([domid === 0 || domid === this.#domid ? "T" : "F"]);
  }
}

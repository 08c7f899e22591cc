/** The nodes of a device in the store: reading what a guest wrote, and writing what it may read. */
import type { EvtchnPort, GrantRef } from "../../../base/index.js";
import { evtchnPort, grantRef } from "../../../base/index.js";
import { type Permission, PRIVILEGED } from "../xenstore/node.js";
import { isXsError } from "../xenstore/path.js";
import type { Store } from "../xenstore/store.js";
import { toBytes, toText } from "../xenstore/wire.js";

/** Values by name. */
export type Nodes = Readonly<Record<string, string>>;

/**
 * Bytes of a value that a backend reads of a guest.
 * @limit guest | value of a node that a backend reads | bytes | it counts as senseless
 */
const MAX_VALUE = 64;

/** A frontend's directory, which belongs to the guest: nothing in it is what it was a moment ago. */
export class FrontendNodes {
  readonly #store: Store;
  readonly #path: string;

  constructor(store: Store, path: string) {
    this.#store = store;
    this.#path = path;
  }

  /** A value; undefined when there is none, or it is too long. */
  text(name: string): string | undefined {
    const value = this.#store.read(PRIVILEGED, 0, `${this.#path}/${name}`);
    return isXsError(value) || value.length > MAX_VALUE ? undefined : toText(value);
  }

  /** A decimal number of 32 bits; undefined for anything else. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
    const value = Number(text);
    return value < 2 ** 32 ? value : undefined;
  }

  /** A number that is a grant reference. */
  grantRef(name: string): GrantRef | undefined {
    const value = this.number(name);
    return value === undefined ? undefined : grantRef(value);
  }

  /** A number that is an event channel port. */
  port(name: string): EvtchnPort | undefined {
    const value = this.number(name);
    return value === undefined ? undefined : evtchnPort(value);
  }

  /** Whether there is such a node, with whatever value. */
  has(name: string): boolean {
    return !isXsError(this.#store.read(PRIVILEGED, 0, `${this.#path}/${name}`));
  }
}

/** Makes a directory with nodes, all with the same permissions. */
export function makeNodes(
  store: Store,
  path: string,
  nodes: Nodes,
  permissions: readonly Permission[],
): void {
  const put = (at: string, value: string): void => {
    store.write(PRIVILEGED, 0, at, toBytes(value));
    store.setPermissions(PRIVILEGED, 0, at, permissions);
  };
  put(path, "");
  for (const [name, value] of Object.entries(nodes)) put(`${path}/${name}`, value);
}

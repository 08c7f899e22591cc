import type { XsError } from "../../../abi/xen/xs-wire.js";
import type { StoreWatchView } from "../view.js";
import { permits, type StoreNode } from "./node.js";
import { isWithin } from "./path.js";

/** A client's wish to hear of changes at and below a path. */
export interface Watch {
  readonly domid: number;
  /** Absolute path or special name. */
  readonly path: string;
  readonly token: string;
  /** A guest gave the path relative to its own directory, and hears it so. */
  readonly isRelative?: boolean;
  /** Called between operations with the absolute path that changed. */
  readonly fire: (path: string) => void;
}

/** A change of the tree. */
export interface Change {
  readonly path: string;
  /** Only watches of exactly this path: a node that went away with an ancestor. */
  readonly exact: boolean;
  /** Permissions that the node had before, if it was removed or they changed. */
  readonly before?: StoreNode["permissions"] | undefined;
  /** Permissions that the parent of a removed node had. */
  readonly parent?: StoreNode["permissions"] | undefined;
}

/** All watches, in the order of their registration. */
export class Watches {
  readonly #watches = new Set<Watch>();
  readonly #queue: (() => void)[] = [];
  #draining = false;

  /** EEXIST when the domain has a watch with the same path and token, E2BIG when it has as many as it may. */
  check(watch: Watch, limit: number): XsError | undefined {
    const own = [...this.#watches].filter((w) => w.domid === watch.domid);
    if (own.some((w) => w.path === watch.path && w.token === watch.token)) return "EEXIST";
    return own.length >= limit ? "E2BIG" : undefined;
  }

  /** All of them, for people who look. */
  list(): StoreWatchView[] {
    return [...this.#watches].map(({ domid, path, token }) => ({ domid, path, token }));
  }

  /** All of them, as they are. */
  get all(): readonly Watch[] {
    return [...this.#watches];
  }

  /** Puts them into an order: by the places of `order`; what is not there comes last. */
  sort(order: readonly Pick<Watch, "domid" | "path" | "token">[]): void {
    const keyOf = ({ domid, path, token }: (typeof order)[number]): string =>
      JSON.stringify([domid, path, token]);
    const places = new Map(order.map((watch, i) => [keyOf(watch), i]));
    const placeOf = (watch: Watch): number => places.get(keyOf(watch)) ?? places.size;
    const sorted = [...this.#watches].sort((a, b) => placeOf(a) - placeOf(b));
    this.#watches.clear();
    for (const watch of sorted) this.#watches.add(watch);
  }

  /** Registers a watch. */
  add(watch: Watch): void {
    this.#watches.add(watch);
  }

  /** Takes a watch back; undefined when there is none. */
  remove(domid: number, path: string, token: string): Watch | undefined {
    for (const watch of this.#watches) {
      if (watch.domid !== domid || watch.path !== path || watch.token !== token) continue;
      this.#watches.delete(watch);
      return watch;
    }
    return undefined;
  }

  /** Takes all watches of a domain back. */
  removeAll(domid: number): Watch[] {
    const own = [...this.#watches].filter((watch) => watch.domid === domid);
    for (const watch of own) this.#watches.delete(watch);
    return own;
  }

  /**
   * Fires the watches that a change concerns, of domains that may read the node (`after`, or what it was
   * before) or list its parent. A watch that fires may change the tree: its events come after these.
   */
  notify(change: Change, after: StoreNode | undefined, parent: StoreNode | undefined): void {
    for (const watch of this.#watches) {
      const hit = change.exact ? watch.path === change.path : isWithin(change.path, watch.path);
      if (!hit || !mayHear(watch.domid, change, [after, parent])) continue;
      this.#queue.push(() => {
        if (this.#watches.has(watch)) watch.fire(change.path);
      });
    }
    this.#drain();
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next();
    } finally {
      this.#draining = false;
    }
  }
}

function mayHear(domid: number, change: Change, nodes: (StoreNode | undefined)[]): boolean {
  const now = nodes.map((node) => node?.permissions);
  return [...now, change.before, change.parent].some(
    (permissions) => permissions !== undefined && permits(domid, permissions, "r"),
  );
}

/**
 * The xenstore tree with permissions, transactions, watches and quotas (Xen's
 * docs/misc/xenstore.txt). Pure: knows nothing of rings or messages. Every operation names the
 * domain that asks and its transaction (0 for none), and answers a value or an error name.
 *
 * Transactions conflict by node: a commit fails with EAGAIN exactly when a node that the
 * transaction looked at was changed by someone else since.
 */
import type { XsError } from "../../../abi/xen/xs-wire.js";
import {
  inheritPermissions,
  ownsNode,
  type Permission,
  PRIVILEGED,
  permits,
  type StoreNode,
} from "./node.js";
import { baseName, childPath, isXsError, parentOf } from "./path.js";
import { TransactionView, Tree, type View } from "./view.js";
import { type Change, type Watch, Watches } from "./watches.js";

/** Limits for domains other than 0. */
export interface StoreQuota {
  readonly nodes: number;
  /** Bytes of a value. */
  readonly nodeSize: number;
  readonly watches: number;
  readonly transactions: number;
  /** Nodes that one transaction may look at. */
  readonly transactionNodes: number;
  readonly permissions: number;
}

/**
 * The limits of xenstored.
 * @nolimit its members are listed
 */
export const DEFAULT_QUOTA: StoreQuota = {
  /** @limit guest | nodes that a domain owns in xenstore | nodes | ENOSPC, as xenstored */
  nodes: 1000,
  /** @limit guest | value of a xenstore node | bytes | E2BIG, as xenstored */
  nodeSize: 2048,
  /** @limit guest | watches of a domain | watches | E2BIG, as xenstored */
  watches: 128,
  /** @limit guest | open transactions of a domain | transactions | ENOSPC, as xenstored */
  transactions: 10,
  /** @limit guest | nodes that a transaction looks at | nodes | ENOSPC, as xenstored */
  transactionNodes: 1024,
  /** @limit guest | permission entries of a xenstore node | entries | ENOSPC, as xenstored */
  permissions: 5,
};

interface Transaction {
  readonly domid: number;
  readonly view: TransactionView;
  readonly changes: Change[];
}

const EMPTY = new Uint8Array(0);

export class Store {
  readonly #quota: StoreQuota;
  readonly #tree: Tree;
  readonly #watches = new Watches();
  readonly #transactions = new Map<number, Transaction>();
  #nextTransaction = 1;
  #generation = 0;

  constructor(quota: StoreQuota = DEFAULT_QUOTA) {
    this.#quota = quota;
    this.#tree = new Tree(this.#node(EMPTY, [{ domid: PRIVILEGED, access: "n" }], []));
  }

  /** The value of a node. */
  read(domid: number, tx: number, path: string): Uint8Array | XsError {
    const node = this.#find(domid, tx, path, "r");
    return isXsError(node) ? node : node.value.slice();
  }

  /** The names of a node's children and the node's generation. */
  directory(
    domid: number,
    tx: number,
    path: string,
  ): { names: readonly string[]; generation: number } | XsError {
    const node = this.#find(domid, tx, path, "r");
    return isXsError(node) ? node : { names: node.children, generation: node.generation };
  }

  /** The permissions of a node, the owner's first. */
  getPermissions(domid: number, tx: number, path: string): readonly Permission[] | XsError {
    const node = this.#find(domid, tx, path, "r");
    return isXsError(node) ? node : node.permissions;
  }

  /** Sets a value; makes the node and missing parents. */
  write(domid: number, tx: number, path: string, value: Uint8Array): XsError | undefined {
    if (domid !== PRIVILEGED && value.length > this.#quota.nodeSize) return "E2BIG";
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (node === "ENOENT") {
        const made = this.#create(view, domid, path, value.slice());
        if (made !== undefined) return made;
      } else if (isXsError(node)) return node;
      else view.put(path, this.#node(value.slice(), node.permissions, node.children));
      note(changes, { path, exact: false });
      return undefined;
    });
  }

  /** Makes a node and missing parents; nothing happens when it is there. */
  mkdir(domid: number, tx: number, path: string): XsError | undefined {
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (node !== "ENOENT") return isXsError(node) ? node : undefined;
      const made = this.#create(view, domid, path, EMPTY);
      if (made === undefined) note(changes, { path, exact: false });
      return made;
    });
  }

  /** Removes a node with all below. An absent node is fine if its parent is there. */
  rm(domid: number, tx: number, path: string): XsError | undefined {
    if (path === "/") return "EINVAL";
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      const parent = view.get(parentOf(path));
      if (node === "ENOENT") return parent === undefined ? "ENOENT" : undefined;
      if (isXsError(node)) return node;
      if (parent !== undefined) {
        const kept = parent.children.filter((name) => name !== baseName(path));
        view.put(parentOf(path), this.#node(parent.value, parent.permissions, kept));
      }
      removeBelow(view, path, node, changes);
      return undefined;
    });
  }

  /** Replaces the permissions. Only the owner may, and only domain 0 may change the owner. */
  setPermissions(
    domid: number,
    tx: number,
    path: string,
    permissions: readonly Permission[],
  ): XsError | undefined {
    const [owner, ...others] = permissions;
    if (owner === undefined) return "EINVAL";
    if (domid !== PRIVILEGED && permissions.length > this.#quota.permissions) return "ENOSPC";
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (isXsError(node)) return node;
      if (!ownsNode(domid, node)) return "EACCES";
      if (domid !== PRIVILEGED && owner.domid !== domid) return "EPERM";
      view.put(path, this.#node(node.value, [owner, ...others], node.children));
      note(changes, { path, exact: false, before: node.permissions });
      return undefined;
    });
  }

  /** Starts a transaction; answers its id, never 0. */
  begin(domid: number): number | XsError {
    const own = [...this.#transactions.values()].filter((t) => t.domid === domid);
    if (domid !== PRIVILEGED && own.length >= this.#quota.transactions) return "ENOSPC";
    while (this.#nextTransaction === 0 || this.#transactions.has(this.#nextTransaction)) {
      this.#nextTransaction = (this.#nextTransaction + 1) >>> 0;
    }
    const id = this.#nextTransaction;
    this.#nextTransaction = (id + 1) >>> 0;
    this.#transactions.set(id, { domid, view: new TransactionView(this.#tree), changes: [] });
    return id;
  }

  /** Ends a transaction. EAGAIN: others changed what it saw, and nothing of it happened. */
  end(domid: number, tx: number, commit: boolean): XsError | undefined {
    const transaction = this.#transactions.get(tx);
    if (transaction === undefined || transaction.domid !== domid) return "ENOENT";
    this.#transactions.delete(tx);
    if (!commit) return undefined;
    if (transaction.view.conflicts()) return "EAGAIN";
    if (domid !== PRIVILEGED && transaction.view.ownedBy(domid) > this.#quota.nodes)
      return "ENOSPC";
    transaction.view.apply();
    this.#announce(transaction.changes);
    return undefined;
  }

  /** Registers a watch; the caller sends the first event, which every new watch gets. */
  watch(watch: Watch): XsError | undefined {
    const limit = watch.domid === PRIVILEGED ? Number.POSITIVE_INFINITY : this.#quota.watches;
    return this.#watches.add(watch, limit);
  }

  /** Takes a watch back. */
  unwatch(domid: number, path: string, token: string): XsError | undefined {
    return this.#watches.remove(domid, path, token);
  }

  /** Forgets watches and transactions of a domain (RESET_WATCHES, or the domain went away). */
  forget(domid: number): void {
    this.#watches.removeAll(domid);
    for (const [id, transaction] of this.#transactions) {
      if (transaction.domid === domid) this.#transactions.delete(id);
    }
  }

  #node(
    value: Uint8Array,
    permissions: StoreNode["permissions"],
    children: readonly string[],
  ): StoreNode {
    this.#generation += 1;
    return { value, permissions, children, generation: this.#generation };
  }

  #view(domid: number, tx: number): View | XsError {
    if (tx === 0) return this.#tree;
    const transaction = this.#transactions.get(tx);
    if (transaction === undefined || transaction.domid !== domid) return "ENOENT";
    if (domid !== PRIVILEGED && transaction.view.size >= this.#quota.transactionNodes) {
      return "ENOSPC";
    }
    return transaction.view;
  }

  #find(domid: number, tx: number, path: string, wanted: "r" | "w"): StoreNode | XsError {
    const view = this.#view(domid, tx);
    return isXsError(view) ? view : this.#lookUp(view, domid, path, wanted);
  }

  /**
   * A node that the domain may use. Whether an absent node is ENOENT or EACCES depends on the
   * nearest ancestor: a domain learns nothing about places it may not use.
   */
  #lookUp(view: View, domid: number, path: string, wanted: "r" | "w"): StoreNode | XsError {
    const node = view.get(path);
    if (node !== undefined) return permits(domid, node.permissions, wanted) ? node : "EACCES";
    const { ancestor } = nearest(view, path);
    return permits(domid, ancestor.permissions, wanted) ? "ENOENT" : "EACCES";
  }

  /** Makes a node that is absent, below an ancestor that the domain may write. */
  #create(view: View, domid: number, path: string, value: Uint8Array): XsError | undefined {
    const { ancestor, at, missing } = nearest(view, path);
    if (domid !== PRIVILEGED && view.ownedBy(domid) + missing.length > this.#quota.nodes) {
      return "ENOSPC";
    }
    const permissions = inheritPermissions(domid, ancestor);
    const children = [...ancestor.children, missing[0] as string];
    view.put(at, this.#node(ancestor.value, ancestor.permissions, children));
    let current = at;
    missing.forEach((name, i) => {
      current = childPath(current, name);
      const below = missing[i + 1];
      const isLast = below === undefined;
      view.put(current, this.#node(isLast ? value : EMPTY, permissions, isLast ? [] : [below]));
    });
    return undefined;
  }

  /** Runs a change in the right view; its watches fire now, or when the transaction commits. */
  #change(
    domid: number,
    tx: number,
    run: (view: View, changes: Change[]) => XsError | undefined,
  ): XsError | undefined {
    const view = this.#view(domid, tx);
    if (isXsError(view)) return view;
    const changes = this.#transactions.get(tx)?.changes ?? [];
    const error = run(view, changes);
    if (error === undefined && tx === 0) this.#announce(changes);
    return error;
  }

  #announce(changes: readonly Change[]): void {
    for (const change of changes) this.#watches.notify(change, this.#tree.get(change.path));
  }
}

/** Adds a change that is not noted yet: a transaction announces each node once. */
function note(changes: Change[], change: Change): void {
  const known = changes.some((c) => c.path === change.path && c.exact === change.exact);
  if (!known) changes.push(change);
}

/** The nearest ancestor of an absent node, and the names from there to the node. */
function nearest(view: View, path: string): { ancestor: StoreNode; at: string; missing: string[] } {
  const missing: string[] = [];
  let at = path;
  for (;;) {
    missing.unshift(baseName(at));
    at = parentOf(at);
    const ancestor = view.get(at);
    if (ancestor !== undefined) return { ancestor, at, missing };
  }
}

/** Removes a node and all below it, and notes the changes: the node first, then what was below. */
function removeBelow(view: View, path: string, node: StoreNode, changes: Change[]): void {
  const pending = [{ path, node }];
  for (let item = pending.shift(); item !== undefined; item = pending.shift()) {
    view.remove(item.path);
    note(changes, {
      path: item.path,
      exact: item.path !== path,
      before: item.node.permissions,
    });
    for (const name of item.node.children) {
      const child = childPath(item.path, name);
      const below = view.get(child);
      if (below !== undefined) pending.push({ path: child, node: below });
    }
  }
}

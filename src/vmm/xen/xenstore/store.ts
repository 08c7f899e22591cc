/**
 * The xenstore tree with permissions, transactions, watches and quotas (Xen's
 * docs/misc/xenstore.txt). Pure: knows nothing of rings or messages. Every operation names the
 * domain that asks and its transaction (0 for none), and answers a value or an error name.
 *
 * Transactions conflict by node: a commit fails with EAGAIN exactly when a node that the
 * transaction looked at was changed by someone else since.
 */
import type { XsError } from "../../../abi/xen/xs-wire.js";
import type { StoreNodeView, StoreWatchView } from "../view.js";
import { Accounts, nodeBytes } from "./accounts.js";
import {
  inheritPermissions,
  ownerOf,
  ownsNode,
  type Permission,
  PRIVILEGED,
  permits,
  type StoreNode,
} from "./node.js";
import { baseName, childPath, isXsError, parentOf, parsePath } from "./path.js";
import { prefixOf, TransactionView, type TransactionViewKept, Tree, type View } from "./view.js";
import { type Change, type Watch, Watches } from "./watches.js";

/** Limits for domains other than 0. */
export interface StoreQuota {
  readonly nodes: number;
  /** Bytes of a node are fewer: its header, permissions, value and names of children ({@link nodeBytes}). */
  readonly nodeSize: number;
  readonly watches: number;
  readonly transactions: number;
  /** Nodes that one transaction may look at. */
  readonly transactionNodes: number;
  readonly permissions: number;
  /** Bytes of nodes, copies of nodes in transactions, watches and waiting messages. */
  readonly memory: number;
}

/**
 * The limits of xenstored 4.17. It looks at the number of watches and of transactions before it counts the
 * new one, so that there may be one more than its quota says.
 * @nolimit its members are listed
 */
export const DEFAULT_QUOTA: StoreQuota = {
  /** @limit guest | nodes that a domain owns in xenstore | nodes | ENOSPC, as xenstored */
  nodes: 1000,
  /**
   * @limit guest | a xenstore node: 24 bytes, 8 a permission, its value and its children's names (less) | bytes
   *   | ENOSPC, as xenstored
   */
  nodeSize: 2048,
  /** @limit guest | watches of a domain | watches | E2BIG, as xenstored */
  watches: 129,
  /** @limit guest | open transactions of a domain | transactions | ENOSPC, as xenstored */
  transactions: 11,
  /** @limit guest | nodes that a transaction looks at | nodes | ENOSPC, as xenstored, and it cannot commit */
  transactionNodes: 1024,
  /** @limit guest | permission entries of a xenstore node | entries | ENOSPC, as xenstored */
  permissions: 5,
  /**
   * @limit guest | memory of a domain in xenstore: nodes, transactions, watches, what it does not read | bytes
   *   | ENOMEM, events are dropped with a warning, as xenstored
   */
  memory: 2.5 * 2 ** 20,
};

/** Changes in their order, by what they change. */
type Changes = Map<string, Change>;

/** A node of a store that is saved. */
export interface SavedNode {
  readonly path: string;
  readonly value: Uint8Array;
  readonly permissions: readonly Permission[];
}

/** All that a store knows. */
export interface StoreKept {
  readonly nodes: readonly (SavedNode & { readonly generation: number })[];
  readonly generation: number;
  readonly nextTransaction: number;
  readonly watches: readonly Omit<Watch, "fire">[];
  readonly transactions: readonly {
    readonly id: number;
    readonly domid: number;
    readonly failed: boolean;
    readonly view: TransactionViewKept;
    readonly changes: readonly Change[];
  }[];
  readonly accounts: Accounts["all"];
}

interface Transaction {
  readonly domid: number;
  readonly view: TransactionView;
  readonly changes: Changes;
  /** It met a limit, so that it cannot commit. */
  failed: boolean;
}

const EMPTY = new Uint8Array(0);

const watchBytes = ({ path, token }: Watch): number => path.length + token.length;

export class Store {
  readonly #quota: StoreQuota;
  /** Which domains there are: nobody else can own a node. */
  readonly exists: (domid: number) => boolean;
  readonly #accounts = new Accounts();
  readonly #tree: Tree;
  readonly #watches = new Watches();
  readonly #transactions = new Map<number, Transaction>();
  #nextTransaction = 1;
  #generation = 0;

  constructor(quota: StoreQuota = DEFAULT_QUOTA, exists: (domid: number) => boolean = () => true) {
    this.#quota = quota;
    this.exists = exists;
    const root = this.#node(EMPTY, [{ domid: PRIVILEGED, access: "n" }], []);
    this.#tree = new Tree(root, this.#accounts);
  }

  /** The tree in its order, at most so many nodes, for people who look. */
  nodes(most: number): StoreNodeView[] {
    const found: StoreNodeView[] = [];
    const waiting = ["/"];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const node = this.#tree.get(path);
      if (node === undefined || found.length >= most) continue;
      const { value, permissions, generation, children } = node;
      found.push({ path, value: value.slice(), permissions, generation });
      for (const name of children.toReversed()) waiting.push(childPath(path, name));
    }
    return found;
  }

  /** All watches, for people who look. */
  watches(): StoreWatchView[] {
    return this.#watches.list();
  }

  /** Bytes that count against a domain's quota of memory. */
  memory(domid: number): number {
    return this.#accounts.memory(domid);
  }

  /** Whether so many bytes more are within a domain's quota of memory. */
  hasRoom(domid: number, bytes: number): boolean {
    return domid === PRIVILEGED || this.memory(domid) + bytes <= this.#quota.memory;
  }

  /** Notes that messages of so many bytes more, or fewer, wait for a domain. */
  useMemory(domid: number, bytes: number): void {
    this.#accounts.use(domid, bytes);
  }

  /** ENOENT for a transaction that the domain does not have; 0 is none. */
  checkTransaction(domid: number, tx: number): XsError | undefined {
    return tx === 0 || this.#transactions.get(tx)?.domid === domid ? undefined : "ENOENT";
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
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (node === "ENOENT") {
        const made = this.#create(view, domid, path, value.slice());
        if (made !== undefined) return made;
      } else if (isXsError(node)) return node;
      else {
        const changed = this.#node(value.slice(), node.permissions, node.children);
        const error = this.#putAll(view, domid, [[path, changed]]);
        if (error !== undefined) return error;
      }
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
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (path === "/") return isXsError(node) ? node : "EINVAL";
      const parent = view.get(parentOf(path));
      if (node === "ENOENT") return parent === undefined ? "ENOENT" : undefined;
      if (isXsError(node)) return node;
      if (parent !== undefined) {
        const kept = parent.children.filter((name) => name !== baseName(path));
        view.put(parentOf(path), this.#node(parent.value, parent.permissions, kept));
      }
      removeBelow(view, path, node, changes, parent);
      return undefined;
    });
  }

  /** Whether a domain may give a node so many permission entries. */
  mayHavePermissions(domid: number, count: number): boolean {
    return domid === PRIVILEGED || count <= this.#quota.permissions;
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
    if (!this.mayHavePermissions(domid, permissions.length)) return "ENOSPC";
    return this.#change(domid, tx, (view, changes) => {
      const node = this.#lookUp(view, domid, path, "w");
      if (isXsError(node)) return node;
      if (!ownsNode(domid, node)) return "EACCES";
      if (domid !== PRIVILEGED && owner.domid !== domid) return "EPERM";
      const changed = this.#node(node.value, [owner, ...others], node.children);
      const error = this.#putAll(view, domid, [[path, changed]]);
      if (error !== undefined) return error;
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
    const view = this.#newView(domid, prefixOf(this.#generation));
    this.#transactions.set(id, { domid, view, changes: new Map(), failed: false });
    return id;
  }

  #newView(domid: number, prefix: number): TransactionView {
    const isFree = domid === PRIVILEGED;
    return new TransactionView(
      this.#tree,
      this.#accounts,
      prefix,
      isFree ? Number.POSITIVE_INFINITY : this.#quota.transactionNodes,
      (owner, bytes) => isFree || this.hasRoom(owner, bytes),
    );
  }

  /** Ends a transaction. EAGAIN: others changed what it saw, and nothing of it happened. */
  end(domid: number, tx: number, commit: boolean): XsError | undefined {
    const transaction = this.#transactions.get(tx);
    if (transaction === undefined || transaction.domid !== domid) return "ENOENT";
    this.#transactions.delete(tx);
    const { view, failed } = transaction;
    view.end();
    if (!commit) return undefined;
    if (failed) return "ENOMEM";
    if (view.conflicts()) return "EAGAIN";
    if (domid !== PRIVILEGED && view.ownedBy(domid) > this.#quota.nodes) return "ENOSPC";
    view.apply();
    // What was made and removed again is nobody's news.
    const changes = view
      .inOrder(transaction.changes.values())
      .map(({ path, exact }) => ({ path, exact, before: view.first(path)?.permissions }))
      .filter(({ path, before }) => before !== undefined || this.#tree.get(path) !== undefined);
    this.#announce(changes);
    return undefined;
  }

  /** Registers a watch; the caller sends the first event, which every new watch gets. */
  watch(watch: Watch): XsError | undefined {
    const { domid } = watch;
    const limit = domid === PRIVILEGED ? Number.POSITIVE_INFINITY : this.#quota.watches;
    const error = this.#watches.check(watch, limit);
    if (error !== undefined) return error;
    if (!this.hasRoom(domid, watchBytes(watch))) return "ENOMEM";
    this.#watches.add(watch);
    this.#accounts.use(domid, watchBytes(watch));
    return undefined;
  }

  /** Takes a watch back. */
  unwatch(domid: number, path: string, token: string): XsError | undefined {
    const watch = this.#watches.remove(domid, path, token);
    if (watch === undefined) return "ENOENT";
    this.#accounts.use(domid, -watchBytes(watch));
    return undefined;
  }

  /** Forgets watches and transactions of a domain (RESET_WATCHES, or the domain went away). */
  forget(domid: number): void {
    for (const watch of this.#watches.removeAll(domid))
      this.#accounts.use(domid, -watchBytes(watch));
    for (const [id, transaction] of this.#transactions) {
      if (transaction.domid !== domid) continue;
      transaction.view.end();
      this.#transactions.delete(id);
    }
  }

  /** All nodes, each behind its parent, siblings in the order in which they were made. */
  save(): SavedNode[] {
    return this.#all().map(({ path, value, permissions }) => ({ path, value, permissions }));
  }

  #all(): StoreKept["nodes"][number][] {
    const nodes: StoreKept["nodes"][number][] = [];
    const add = (path: string): void => {
      const node = this.#tree.get(path);
      if (node === undefined) return;
      const { value, permissions, generation } = node;
      nodes.push({ path, value, permissions, generation });
      for (const name of node.children) add(childPath(path, name));
    };
    add("/");
    return nodes;
  }

  /**
   * Replaces all nodes; nobody is told, and watches stay. Quotas are not looked at: they had their turn when the nodes
   * were made.
   * @returns false when the nodes make no tree; the store is not to be used then.
   */
  restore(nodes: readonly SavedNode[]): boolean {
    for (const [path] of [...this.#tree.entries()]) if (path !== "/") this.#tree.remove(path);
    const made = new Set<string>();
    for (const { path, value, permissions } of nodes) {
      const [owner, ...others] = permissions;
      if (owner === undefined || !this.exists(owner.domid) || made.has(path)) return false;
      if (!path.startsWith("/") || isXsError(parsePath(PRIVILEGED, path))) return false;
      const isRoot = path === "/";
      // The root is the first one, since each has its parent before it.
      if (!isRoot && !made.has(parentOf(path))) return false;
      made.add(path);
      this.#tree.put(path, this.#node(value, [owner, ...others], []));
      const parent = isRoot ? undefined : this.#tree.get(parentOf(path));
      if (parent === undefined) continue;
      const children = [...parent.children, baseName(path)];
      this.#tree.put(parentOf(path), this.#node(parent.value, parent.permissions, children));
    }
    return made.size > 0;
  }

  /** All that it knows, for exact snapshots. */
  get kept(): StoreKept {
    return {
      nodes: this.#all(),
      generation: this.#generation,
      nextTransaction: this.#nextTransaction,
      watches: this.#watches.all,
      transactions: [...this.#transactions].map(([id, { domid, failed, view, changes }]) => ({
        ...{ id, domid, failed, view: view.kept },
        changes: [...changes.values()],
      })),
      accounts: this.#accounts.all,
    };
  }

  /**
   * Puts back what {@link kept} gave but for the watches; {@link settle} follows when all are there again.
   * @returns false as {@link restore}
   */
  keep(kept: StoreKept): boolean {
    if (!this.restore(kept.nodes)) return false;
    for (const { path, generation } of kept.nodes) {
      const node = this.#tree.get(path);
      if (node !== undefined) this.#tree.put(path, { ...node, generation });
    }
    this.#generation = kept.generation;
    this.#nextTransaction = kept.nextTransaction;
    for (const { id, domid, failed, view: seen, changes } of kept.transactions) {
      const view = this.#newView(domid, seen.prefix);
      view.keep(seen);
      const noted = new Map(changes.map((change) => [change.path, change]));
      this.#transactions.set(id, { domid, view, changes: noted, failed });
    }
    return true;
  }

  /** Watches are in the order in which they were, and accounts say what they said. */
  settle({ watches, accounts }: StoreKept): void {
    this.#watches.sort(watches);
    this.#accounts.all = accounts;
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
    return transaction.view;
  }

  #find(domid: number, tx: number, path: string, wanted: "r" | "w"): StoreNode | XsError {
    const view = this.#view(domid, tx);
    if (isXsError(view)) return view;
    const found = this.#lookUp(view, domid, path, wanted);
    return this.#trouble(tx) ?? found;
  }

  /** The limit that an operation's transaction met: it cannot commit any more. */
  #trouble(tx: number): XsError | undefined {
    const transaction = this.#transactions.get(tx);
    if (transaction === undefined) return undefined;
    const trouble = transaction.view.takeTrouble();
    if (trouble !== undefined) transaction.failed = true;
    return trouble;
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
    const made: [string, StoreNode][] = [
      [at, this.#node(ancestor.value, ancestor.permissions, children)],
    ];
    let current = at;
    missing.forEach((name, i) => {
      current = childPath(current, name);
      const below = missing[i + 1];
      const isLast = below === undefined;
      const node = this.#node(isLast ? value : EMPTY, permissions, isLast ? [] : [below]);
      made.push([current, node]);
    });
    const error = this.#putAll(view, domid, made);
    // That is what xenstored says of nodes that it could not make.
    return error === "ENOMEM" ? "EIO" : error;
  }

  /** Puts nodes that a domain changed, all or none: ENOSPC for one that is too large, ENOMEM. */
  #putAll(view: View, domid: number, nodes: [string, StoreNode][]): XsError | undefined {
    if (domid !== PRIVILEGED) {
      const more = new Map<number, number>();
      for (const [path, node] of nodes) {
        if (nodeBytes(node) >= this.#quota.nodeSize) return "ENOSPC";
        const old = view.get(path);
        const bytes = nodeBytes(node) - (old === undefined ? -path.length : nodeBytes(old));
        more.set(ownerOf(node), (more.get(ownerOf(node)) ?? 0) + bytes);
      }
      for (const [owner, bytes] of more)
        if (bytes > 0 && !this.hasRoom(owner, bytes)) return "ENOMEM";
    }
    for (const [path, node] of nodes) view.put(path, node);
    return undefined;
  }

  /** Runs a change in the right view; its watches fire now, or when the transaction commits. */
  #change(
    domid: number,
    tx: number,
    run: (view: View, changes: Changes) => XsError | undefined,
  ): XsError | undefined {
    const view = this.#view(domid, tx);
    if (isXsError(view)) return view;
    const changes: Changes = this.#transactions.get(tx)?.changes ?? new Map();
    const result = run(view, changes);
    // What failed has noted nothing.
    if (tx === 0) this.#announce(changes.values());
    return this.#trouble(tx) ?? result;
  }

  #announce(changes: Iterable<Change>): void {
    for (const change of changes) {
      const { path } = change;
      this.#watches.notify(change, this.#tree.get(path), this.#tree.get(parentOf(path)));
    }
  }
}

/** Adds a change that is not noted yet: a transaction announces each node once. */
function note(changes: Changes, change: Change): void {
  const known = changes.get(change.path);
  if (known === undefined) changes.set(change.path, change);
  else if (!change.exact) changes.set(change.path, { ...known, exact: false });
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

/** Removes a node and all below it, and notes the changes: what is below first. */
function removeBelow(
  view: View,
  path: string,
  node: StoreNode,
  changes: Changes,
  parent: StoreNode | undefined,
  exact = false,
): void {
  for (const name of node.children) {
    const child = childPath(path, name);
    const below = view.get(child);
    if (below !== undefined) removeBelow(view, child, below, changes, node, true);
  }
  view.remove(path);
  note(changes, { path, exact, before: node.permissions, parent: parent?.permissions });
}

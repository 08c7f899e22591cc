/** The tree as one client sees it: the shared one, or that of a transaction over it. */
import type { XsError } from "../../../abi/xen/xs-wire.js";
import { type Account, type Accounts, nodeBytes } from "./accounts.js";
import { ownerOf, type StoreNode } from "./node.js";

/** Nodes by absolute path. */
export interface View {
  get(path: string): StoreNode | undefined;
  put(path: string, node: StoreNode): void;
  remove(path: string): void;
  /** How many nodes a domain owns in this view. */
  ownedBy(domid: number): number;
}

/** The shared tree. */
export class Tree implements View {
  readonly #nodes = new Map<string, StoreNode>();
  readonly #accounts: Accounts;

  constructor(root: StoreNode, accounts: Accounts) {
    this.#accounts = accounts;
    this.put("/", root);
  }

  get(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  put(path: string, node: StoreNode): void {
    this.#accounts.replace(path, this.#nodes.get(path), node);
    this.#nodes.set(path, node);
  }

  remove(path: string): void {
    this.#accounts.replace(path, this.#nodes.get(path), undefined);
    this.#nodes.delete(path);
  }

  ownedBy(domid: number): number {
    return this.#accounts.nodes(domid);
  }

  /** All nodes with their paths. */
  entries(): IterableIterator<[string, StoreNode]> {
    return this.#nodes.entries();
  }
}

/** A node of a transaction, or that there is none. */
export interface SeenNode {
  readonly path: string;
  readonly node: StoreNode | undefined;
}

/** What a transaction knows. */
export interface TransactionViewKept {
  readonly prefix: number;
  readonly seen: readonly (SeenNode & {
    /** It is the one that is in the tree. */
    readonly isCurrent: boolean;
  })[];
  readonly changed: readonly SeenNode[];
  readonly owned: readonly Account[];
  readonly copies: readonly Account[];
}

/** Bytes by which xenstored tells the copies of a transaction from nodes, when it begins at a generation. */
export const prefixOf = (generation: number): number => `${generation}/`.length;

/**
 * The view of a transaction. It remembers every node as it was at the first access, absence
 * included: nodes are replaced, never changed, so a conflict is a different object in the tree.
 * xenstored keeps a copy of each node that a transaction looked at, which counts for the node's owner.
 */
export class TransactionView implements View {
  readonly #tree: Tree;
  readonly #accounts: Accounts;
  /** Bytes of the name by which xenstored tells a transaction's copies from the nodes. */
  readonly #prefix: number;
  readonly #seen = new Map<string, StoreNode | undefined>();
  readonly #changed = new Map<string, StoreNode | undefined>();
  /** Nodes that a domain owns here, less those in the tree. */
  readonly #owned = new Map<number, number>();
  readonly #copies = new Map<number, number>();

  readonly #limit: number;
  #trouble: XsError | undefined;

  readonly #hasRoom: (owner: number, bytes: number) => boolean;

  /** `prefix`: see {@link prefixOf}. `limit` is how many nodes it may look at; `hasRoom` says whether an owner may have a copy of so many bytes. */
  constructor(
    tree: Tree,
    accounts: Accounts,
    prefix: number,
    limit: number,
    hasRoom: (owner: number, bytes: number) => boolean,
  ) {
    this.#limit = limit;
    this.#hasRoom = hasRoom;
    this.#tree = tree;
    this.#accounts = accounts;
    this.#prefix = prefix;
  }

  /** What was wrong with what was done since the last time: it looked at too many nodes, or too large ones. */
  takeTrouble(): XsError | undefined {
    const trouble = this.#trouble;
    this.#trouble = undefined;
    return trouble;
  }

  get(path: string): StoreNode | undefined {
    if (this.#changed.has(path)) return this.#changed.get(path);
    if (!this.#seen.has(path)) {
      const node = this.#tree.get(path);
      if (this.#seen.size >= this.#limit) {
        this.#trouble = "ENOSPC";
        return node;
      }
      this.#seen.set(path, node);
      if (node !== undefined && !this.#hasRoom(ownerOf(node), this.#bytes(path, node)))
        this.#trouble = "ENOMEM";
      this.#copy(path, node, 1);
    }
    return this.#seen.get(path);
  }

  put(path: string, node: StoreNode): void {
    this.#replace(path, node);
  }

  remove(path: string): void {
    this.#replace(path, undefined);
  }

  ownedBy(domid: number): number {
    return this.#tree.ownedBy(domid) + (this.#owned.get(domid) ?? 0);
  }

  /** Whether a node that was accessed has been replaced, made or removed by others meanwhile. */
  conflicts(): boolean {
    for (const [path, node] of this.#seen) {
      if (this.#tree.get(path) !== node) return true;
    }
    return false;
  }

  /** Makes the changes in the tree. */
  apply(): void {
    for (const [path, node] of this.#changed) {
      if (node !== undefined) this.#tree.put(path, node);
      else if (this.#tree.get(path) !== undefined) this.#tree.remove(path);
    }
  }

  /** Sorts by the order in which nodes were looked at first: in that order xenstored tells of them. */
  inOrder<T extends { readonly path: string }>(things: Iterable<T>): T[] {
    const places = new Map([...this.#seen.keys()].map((path, i) => [path, i]));
    const placeOf = ({ path }: T): number => places.get(path) ?? places.size;
    return [...things].sort((a, b) => placeOf(a) - placeOf(b));
  }

  /** A node as the transaction saw it first. */
  first(path: string): StoreNode | undefined {
    return this.#seen.get(path);
  }

  /** Gives the memory of its copies back. */
  end(): void {
    for (const [domid, bytes] of this.#copies) this.#accounts.use(domid, -bytes);
  }

  /** All that it knows, for exact snapshots. */
  get kept(): TransactionViewKept {
    return {
      prefix: this.#prefix,
      seen: [...this.#seen].map(([path, node]) => ({
        ...{ path, node },
        isCurrent: this.#tree.get(path) === node,
      })),
      changed: [...this.#changed].map(([path, node]) => ({ path, node })),
      owned: [...this.#owned],
      copies: [...this.#copies],
    };
  }

  /** Puts back what {@link kept} gave; the accounts are not touched. */
  keep({ seen, changed, owned, copies }: TransactionViewKept): void {
    for (const { path, node, isCurrent } of seen) {
      this.#seen.set(path, isCurrent ? this.#tree.get(path) : node);
    }
    for (const { path, node } of changed) this.#changed.set(path, node);
    for (const [domid, count] of owned) this.#owned.set(domid, count);
    for (const [domid, count] of copies) this.#copies.set(domid, count);
  }

  #replace(path: string, node: StoreNode | undefined): void {
    const before = this.get(path);
    this.#copy(path, before, -1);
    this.#copy(path, node, 1);
    if (before !== undefined) this.#own(ownerOf(before), -1);
    if (node !== undefined) this.#own(ownerOf(node), 1);
    this.#changed.set(path, node);
  }

  #own(domid: number, by: number): void {
    this.#owned.set(domid, (this.#owned.get(domid) ?? 0) + by);
  }

  #copy(path: string, node: StoreNode | undefined, sign: 1 | -1): void {
    if (node === undefined) return;
    const domid = ownerOf(node);
    const bytes = sign * this.#bytes(path, node);
    this.#copies.set(domid, (this.#copies.get(domid) ?? 0) + bytes);
    this.#accounts.use(domid, bytes);
  }

  #bytes(path: string, node: StoreNode): number {
    return this.#prefix + path.length + nodeBytes(node);
  }
}

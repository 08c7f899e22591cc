/** The tree as one client sees it: the shared one, or that of a transaction over it. */
import { ownerOf, type StoreNode } from "./node.js";

/** Nodes by absolute path. */
export interface View {
  get(path: string): StoreNode | undefined;
  put(path: string, node: StoreNode): void;
  remove(path: string): void;
  /** How many nodes a domain owns in this view. */
  ownedBy(domid: number): number;
}

/** Counts nodes by owner. */
class OwnerCount {
  readonly #counts = new Map<number, number>();

  get(domid: number): number {
    return this.#counts.get(domid) ?? 0;
  }

  /** Notes that a node was replaced; undefined stands for "no node". */
  change(before: StoreNode | undefined, after: StoreNode | undefined): void {
    if (before !== undefined) this.#add(ownerOf(before), -1);
    if (after !== undefined) this.#add(ownerOf(after), 1);
  }

  #add(domid: number, by: number): void {
    this.#counts.set(domid, this.get(domid) + by);
  }
}

/** The shared tree. */
export class Tree implements View {
  readonly #nodes = new Map<string, StoreNode>();
  readonly #owned = new OwnerCount();

  constructor(root: StoreNode) {
    this.put("/", root);
  }

  get(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  put(path: string, node: StoreNode): void {
    this.#owned.change(this.#nodes.get(path), node);
    this.#nodes.set(path, node);
  }

  remove(path: string): void {
    this.#owned.change(this.#nodes.get(path), undefined);
    this.#nodes.delete(path);
  }

  ownedBy(domid: number): number {
    return this.#owned.get(domid);
  }
}

/**
 * The view of a transaction. It remembers every node as it was at the first access, absence
 * included: nodes are replaced, never changed, so a conflict is a different object in the tree.
 */
export class TransactionView implements View {
  readonly #tree: Tree;
  readonly #seen = new Map<string, StoreNode | undefined>();
  readonly #changed = new Map<string, StoreNode | undefined>();
  readonly #owned = new OwnerCount();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** How many nodes it has to remember. */
  get size(): number {
    return this.#seen.size;
  }

  get(path: string): StoreNode | undefined {
    if (this.#changed.has(path)) return this.#changed.get(path);
    if (!this.#seen.has(path)) this.#seen.set(path, this.#tree.get(path));
    return this.#seen.get(path);
  }

  put(path: string, node: StoreNode): void {
    this.#owned.change(this.get(path), node);
    this.#changed.set(path, node);
  }

  remove(path: string): void {
    this.#owned.change(this.get(path), undefined);
    this.#changed.set(path, undefined);
  }

  ownedBy(domid: number): number {
    return this.#tree.ownedBy(domid) + this.#owned.get(domid);
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
}

/** What each domain uses of a store, as xenstored counts it. */
import { ownerOf, type StoreNode } from "./node.js";

/** `struct xs_tdb_record_hdr` and `struct xs_permissions`: what a node is kept with. */
const RECORD_BYTES = 24;
const PERMISSION_BYTES = 8;

/** Bytes of a node as xenstored keeps it, without its path: its quota of a node's size counts these. */
export function nodeBytes(node: StoreNode): number {
  let bytes = RECORD_BYTES + PERMISSION_BYTES * node.permissions.length + node.value.length;
  for (const name of node.children) bytes += name.length + 1;
  return bytes;
}

/** A domain, and what it uses. */
export type Account = readonly [domid: number, count: number];

/** Nodes and bytes by domain. */
export class Accounts {
  readonly #nodes = new Map<number, number>();
  readonly #bytes = new Map<number, number>();

  /** Nodes that a domain owns. */
  nodes(domid: number): number {
    return this.#nodes.get(domid) ?? 0;
  }

  /** Bytes of a domain's nodes, watches, transactions, and of messages that it has not read. */
  memory(domid: number): number {
    return this.#bytes.get(domid) ?? 0;
  }

  /** Notes that a node was replaced; undefined stands for "no node". */
  replace(path: string, before: StoreNode | undefined, after: StoreNode | undefined): void {
    for (const [node, sign] of [
      [before, -1],
      [after, 1],
    ] as const) {
      if (node === undefined) continue;
      const owner = ownerOf(node);
      this.#nodes.set(owner, this.nodes(owner) + sign);
      this.use(owner, sign * (path.length + nodeBytes(node)));
    }
  }

  /** All accounts as they are. */
  get all(): { readonly nodes: readonly Account[]; readonly bytes: readonly Account[] } {
    return { nodes: [...this.#nodes], bytes: [...this.#bytes] };
  }
  set all({ nodes, bytes }: Accounts["all"]) {
    this.#nodes.clear();
    for (const [domid, count] of nodes) this.#nodes.set(domid, count);
    this.#bytes.clear();
    for (const [domid, count] of bytes) this.#bytes.set(domid, count);
  }

  /** Notes that a domain uses bytes, or fewer. */
  use(domid: number, bytes: number): void {
    this.#bytes.set(domid, this.memory(domid) + bytes);
  }
}

import {
  type Block,
  behindCall,
  blockAt,
  calls,
  linked,
  NOT_TAKEN,
  returns,
  TAKEN,
} from "./blocks.js";

/** A block of a region. */
export interface GraphNode {
  readonly block: Block;
  /** Where its links lead inside the region, by link. */
  readonly near: ReadonlyMap<number, GraphNode>;
  /** Of a return: the other places it may go back to. */
  readonly backTo: readonly GraphNode[];
  /** Place in reverse postorder; the head's is 0. */
  order: number;
  /** The node that every way to this one goes through last; of the head, itself. */
  dominator: GraphNode | undefined;
  /** Nodes that this one dominates immediately, in reverse postorder. */
  readonly dominated: GraphNode[];
  /** Edges from earlier nodes. */
  forward: number;
  /** Whether a later node that it dominates jumps back to it. */
  loops: boolean;
}

/** Code for more of them no longer fits into the processor's first cache. @nolimit of a choice, not of a guest */
const MAX_INSTRUCTIONS = 256;
/** Places behind calls that a return looks for. @nolimit of a choice, not of a guest */
const MAX_BACK = 3;

/**
 * The blocks to compile together with the first of `path`, which ran one after another: those that ran most
 * often, as many as fit.
 */
function choose(view: DataView, path: readonly number[]): Map<number, Block> {
  const times = new Map<number, number>();
  for (const address of path) times.set(address, (times.get(address) ?? 0) + 1);
  const [head = 0] = path;
  times.set(head, path.length);
  const chosen = new Map<number, Block>();
  let instructions = 0;
  for (const [address] of [...times].sort((a, b) => b[1] - a[1])) {
    const block = blockAt(view, address);
    if (block === undefined || instructions + block.count > MAX_INSTRUCTIONS) continue;
    instructions += block.count;
    chosen.set(address, block);
  }
  return chosen;
}

/** The chosen blocks behind calls. */
function placesBehindCalls(view: DataView, chosen: ReadonlyMap<number, Block>): Block[] {
  const places: Block[] = [];
  for (const block of chosen.values()) {
    if (!calls(view, block)) continue;
    const behind = behindCall(view, block);
    if (behind !== undefined && chosen.has(behind.address)) places.push(behind);
  }
  return places;
}

/**
 * The graph of the region that begins with the first block of `path`, in reverse postorder; empty when there is none.
 */
export function graphOf(view: DataView, path: readonly number[]): GraphNode[] {
  const chosen = choose(view, path);
  const places = placesBehindCalls(view, chosen);
  const nodes = new Map<number, GraphNode>();
  const post: GraphNode[] = [];
  const visit = (at: number): GraphNode | undefined => {
    const known = nodes.get(at);
    if (known !== undefined) return known;
    const block = chosen.get(at);
    if (block === undefined) return undefined;
    const near = new Map<number, GraphNode>();
    const backTo: GraphNode[] = [];
    const node: GraphNode = {
      block,
      near,
      backTo,
      order: 0,
      dominator: undefined,
      dominated: [],
      forward: 0,
      loops: false,
    };
    nodes.set(at, node);
    for (const link of [TAKEN, NOT_TAKEN]) {
      const next = linked(view, block, link);
      const to = next && visit(next.address);
      if (to !== undefined) near.set(link, to);
    }
    if (returns(view, block)) {
      for (const place of places) {
        if (backTo.length === MAX_BACK || place.address === near.get(TAKEN)?.block.address)
          continue;
        const to = visit(place.address);
        if (to !== undefined && !backTo.includes(to)) backTo.push(to);
      }
    }
    post.push(node);
    return node;
  };
  visit(path[0] ?? 0);
  const order = post.reverse();
  for (const [i, node] of order.entries()) node.order = i;
  dominate(order);
  return order;
}

function successors(node: GraphNode): GraphNode[] {
  return [...node.near.values(), ...node.backTo];
}

/** Immediate dominators, by the method of Cooper, Harvey and Kennedy; loops and merges. */
function dominate(order: readonly GraphNode[]): void {
  const [head] = order;
  if (head === undefined) return;
  head.dominator = head;
  const before = new Map<GraphNode, GraphNode[]>(order.map((node) => [node, []]));
  for (const node of order) for (const next of successors(node)) before.get(next)?.push(node);
  for (let again = true; again; ) {
    again = false;
    for (const node of order.slice(1)) {
      let found: GraphNode | undefined;
      for (const from of before.get(node) ?? [])
        if (from.dominator !== undefined) found = found === undefined ? from : common(found, from);
      if (node.dominator === found) continue;
      node.dominator = found;
      again = true;
    }
  }
  for (const node of order) {
    if (node !== head) node.dominator?.dominated.push(node);
    for (const next of successors(node)) {
      if (next.order > node.order) next.forward++;
      else if (dominates(next, node)) next.loops = true;
    }
  }
}

/** One step towards the head. */
const up = (node: GraphNode): GraphNode => node.dominator ?? node;

function common(a: GraphNode, b: GraphNode): GraphNode {
  let [x, y] = [a, b];
  while (x !== y) {
    while (x.order > y.order) x = up(x);
    while (y.order > x.order) y = up(y);
  }
  return x;
}

/** Whether every way to `node` goes through `a`. */
export function dominates(a: GraphNode, node: GraphNode): boolean {
  let at = node;
  while (at.order > a.order) at = up(at);
  return at === a;
}

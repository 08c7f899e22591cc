import {
  type Block,
  behindCall,
  blockAt,
  calls,
  linked,
  looksUp,
  NOT_TAKEN,
  onlyReturns,
  returns,
  sameMode,
  TAKEN,
} from "./blocks.js";

/** A part of the way to an entry: to the beginning of a loop around it, or to itself. */
export interface EntryEdge {
  readonly number: number;
  readonly to: GraphNode;
  readonly last: boolean;
}

/** A block of a region. */
export interface GraphNode {
  readonly block: Block;
  /** Where its links lead inside the region, by link. */
  readonly near: ReadonlyMap<number, GraphNode>;
  /** Of a jump that is looked up: other places that it may lead to. */
  readonly others: readonly GraphNode[];
  /** Place in reverse postorder; the head's is 0. */
  order: number;
  /** The node that every way to this one goes through last; of the head, itself. */
  dominator: GraphNode | undefined;
  /** Nodes that this one dominates immediately, in reverse postorder. */
  readonly dominated: GraphNode[];
  /** Of the head, and of beginnings of loops: ways from here to entries. */
  readonly inner: EntryEdge[];
  /** Edges from earlier nodes. */
  forward: number;
  /** Whether a later node that it dominates jumps back to it. */
  loops: boolean;
}

/**
 * Code for more of them no longer fits into the processor's first cache. 384 took as long, and a tenth more of V8's compiler, in
 * Python, gcc, sqlite and pipe. @nolimit of a choice, not of a guest
 */
const MAX_INSTRUCTIONS = 256;
/** Places that a jump which is looked up compares, beside the last one. @nolimit of a choice, not of a guest */
const MAX_OTHERS = 3;

/**
 * The blocks to compile together with the first of `path`, which ran one after another: those that ran most
 * often, as many as fit.
 */
function choose(view: DataView, path: readonly number[]): Map<number, Block> {
  const times = new Map<number, number>();
  for (const address of path) if (address !== 0) times.set(address, (times.get(address) ?? 0) + 1);
  const [head = 0] = path;
  times.set(head, path.length);
  const chosen = new Map<number, Block>();
  const first = blockAt(view, head);
  if (first === undefined) return chosen;
  let instructions = 0;
  for (const [address] of [...times].sort((a, b) => b[1] - a[1])) {
    const block = blockAt(view, address);
    if (block === undefined || !sameMode(block, first)) continue;
    if (instructions + block.count > MAX_INSTRUCTIONS) continue;
    instructions += block.count;
    chosen.set(address, block);
  }
  return chosen;
}

/** Bytes between blocks, at least; their addresses fit into 27 bits. */
const BLOCK_STEP = 32;
const ADDRESSES = 2 ** 27;
/**
 * What tells the nodes of a region apart. A block that only returns has one for each block that leads there: functions of a kernel
 * end with jumps to one such block (`__x86_return_thunk`), and go on at different places behind it.
 */
const keyOf = (view: DataView, block: Block, from: number): number =>
  onlyReturns(view, block) ? (from / BLOCK_STEP) * ADDRESSES + block.address : block.address;

/**
 * Where blocks led to that look up where they go, as returns do: by key of the node, the chosen ones that came
 * behind it, or that lie behind a call of the region.
 */
function ways(
  view: DataView,
  chosen: ReadonlyMap<number, Block>,
  path: readonly number[],
): Map<number, Set<number>> {
  const found = new Map<number, Set<number>>();
  for (const [i, address] of path.entries()) {
    const block = chosen.get(address);
    const next = path[i + 1] ?? 0;
    if (block === undefined || !chosen.has(next) || !looksUp(view, block)) continue;
    const key = keyOf(view, block, path[i - 1] ?? 0);
    const set = found.get(key);
    if (set === undefined) found.set(key, new Set([next]));
    else set.add(next);
  }
  return found;
}

/** Blocks that lie behind calls of the region. */
function behindCalls(view: DataView, chosen: ReadonlyMap<number, Block>): number[] {
  const places: number[] = [];
  for (const block of chosen.values()) {
    const behind = calls(view, block) ? behindCall(view, block) : undefined;
    if (behind !== undefined && chosen.has(behind.address)) places.push(behind.address);
  }
  return places;
}

/**
 * The graph of the region that begins with the first block of `path` (0 stands for what is not known), in reverse postorder; empty when there is none.
 */
export function graphOf(view: DataView, path: readonly number[]): GraphNode[] {
  const chosen = choose(view, path);
  const more = ways(view, chosen, path);
  const places = behindCalls(view, chosen);
  const nodes = new Map<number, GraphNode>();
  const post: GraphNode[] = [];
  const visit = (at: number, from: number): GraphNode | undefined => {
    const block = chosen.get(at);
    if (block === undefined) return undefined;
    const key = keyOf(view, block, from);
    const known = nodes.get(key);
    if (known !== undefined) return known;
    const near = new Map<number, GraphNode>();
    const others: GraphNode[] = [];
    const node: GraphNode = {
      block,
      near,
      others,
      order: 0,
      dominator: undefined,
      dominated: [],
      inner: [],
      forward: 0,
      loops: false,
    };
    nodes.set(key, node);
    // The link of one that is there several times leads where any of them led last.
    for (const link of key === at ? [TAKEN, NOT_TAKEN] : []) {
      const next = linked(view, block, link);
      const to = next && visit(next.address, at);
      if (to !== undefined) near.set(link, to);
    }
    const back = returns(view, block) ? places : [];
    for (const address of new Set([...(more.get(key) ?? []), ...back])) {
      if (others.length === MAX_OTHERS || address === near.get(TAKEN)?.block.address) continue;
      const to = visit(address, at);
      if (to !== undefined) others.push(to);
    }
    post.push(node);
    return node;
  };
  visit(path[0] ?? 0, 0);
  const order = post.reverse();
  for (const [i, node] of order.entries()) node.order = i;
  dominate(order);
  return order;
}

/** Where control goes from a block inside the region. */
export function successors(node: GraphNode): GraphNode[] {
  return [...node.near.values(), ...node.others, ...node.inner.map(({ to }) => to)];
}

/** Immediate dominators, by the method of Cooper, Harvey and Kennedy; loops and merges. */
export function dominate(order: readonly GraphNode[]): void {
  const [head] = order;
  if (head === undefined) return;
  for (const node of order) {
    node.dominator = undefined;
    node.dominated.length = 0;
    node.forward = 0;
    node.loops = false;
  }
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

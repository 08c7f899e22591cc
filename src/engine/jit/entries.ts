import { behindCall, calls, onlyReturns, TAKEN } from "./blocks.js";
import { dominate, dominates, type EntryEdge, type GraphNode, successors } from "./graph.js";

/**
 * Entries: blocks of a region, beside its head, at which it can be entered too. What leaves a region in its middle
 * comes back there: without them all is interpreted up to the head of some region.
 */

/** Each is compared with the number of the one that is taken, and where ways meet less is known. @nolimit of a choice, not of a guest */
const MOST_ENTRIES = 8;

/**
 * Chooses the entries of a region, the blocks `order` in reverse postorder, and adds the ways to them: from the head through
 * the beginnings of all loops around them, so that loops are still entered at their beginning only.
 */
export function entriesOf(view: DataView, order: readonly GraphNode[]): GraphNode[] {
  const [head] = order;
  const entries = chosen(view, order).slice(0, MOST_ENTRIES);
  if (head === undefined || entries.length === 0) return [];
  const loops = order.filter((node) => node.loops).map((node) => loopOf(node, order));
  for (const [i, entry] of entries.entries()) {
    const around = loops.filter((loop) => loop.has(entry)).map(([first]) => first);
    let from = head;
    for (const to of [...around, entry]) {
      if (to === undefined || to === from) continue;
      const edge: EntryEdge = { number: i + 1, to, last: to === entry };
      from.inner.push(edge);
      from = to;
    }
  }
  dominate(order);
  return entries;
}

/** Blocks that something outside of the region leads to again and again. */
function chosen(view: DataView, order: readonly GraphNode[]): GraphNode[] {
  const found = new Set<GraphNode>();
  const byAddress = new Map(order.map((node) => [node.block.address, node]));
  for (const node of order) {
    if (node.loops) found.add(node);
    // What is called returns there, if it is in another region.
    if (!calls(view, node.block) || node.near.has(TAKEN)) continue;
    const behind = byAddress.get(behindCall(view, node.block)?.address ?? 0);
    if (behind !== undefined) found.add(behind);
  }
  return [...found].filter(({ block, order: place }) => place !== 0 && !onlyReturns(view, block));
}

/** The loop that begins with `first`: that node, and those that lead back to it. */
function loopOf(first: GraphNode, order: readonly GraphNode[]): Set<GraphNode> {
  const loop = new Set([first]);
  const inside = (node: GraphNode): boolean =>
    successors(node).some((to) => loop.has(to) && (to.order > node.order || dominates(to, node)));
  // Nodes behind are looked at first: a loop inside of this one may need another turn.
  for (let grown = true; grown; ) {
    grown = false;
    for (const node of order.slice(first.order + 1).reverse()) {
      if (loop.has(node) || !dominates(first, node) || !inside(node)) continue;
      loop.add(node);
      grown = true;
    }
  }
  return loop;
}

import { isFlat, onlyReturns, TAKEN } from "./blocks.js";
import { Code, type Label, Op, Type } from "./code.js";
import { entriesOf } from "./entries.js";
import { binary, type Expression, i32, i64, load, local, unary, write } from "./expression.js";
import { dominates, type GraphNode, graphOf } from "./graph.js";
import { FetchTlb, Why } from "./operations.gen.js";
import { isFast, operationOf, RECORD_BYTES, rootOf } from "./record.js";
import {
  BUDGET,
  ENTRY,
  FIXED_LOCALS,
  PAGE_BASE,
  PARAMETERS,
  SITE,
  TLB,
  TLB_AT,
  VA,
  WORDS,
} from "./state.js";
import { type Edges, type Site, Translator } from "./translate.js";

/** Where compiled code leaves what the core reads after it. */
export interface OutPlaces {
  readonly va: number;
  readonly budget: number;
}

/** A compiled region, not yet in a module. */
export interface Region {
  /** Its blocks, the head first. */
  readonly nodes: readonly GraphNode[];
  /** Where else it can be entered: entry n is number n - 1 here. */
  readonly entries: readonly GraphNode[];
  /** The function's body: locals and code. */
  readonly body: Uint8Array;
  readonly sites: readonly Site[];
}

const PAGE_MASK = ~0xfffn;
/** Instructions by the type of a word. */
const LOADS: Readonly<Record<number, number>> = {
  [Type.I32]: Op.I32_LOAD,
  [Type.I64]: Op.I64_LOAD,
  [Type.V128]: Op.V128_LOAD,
};
const STORES: Readonly<Record<number, number>> = {
  [Type.I32]: Op.I32_STORE,
  [Type.I64]: Op.I64_STORE,
  [Type.V128]: Op.V128_STORE,
};

/**
 * Compiles the region that begins with the first block of `path`, which names blocks in the order in which they
 * ran; undefined when there is nothing to compile.
 */
export function compileRegion(
  view: DataView,
  path: readonly number[],
  out: OutPlaces,
): Region | undefined {
  const nodes = graphOf(view, path);
  const [head] = nodes;
  // A block that only returns belongs to what leads there.
  if (head === undefined || onlyReturns(view, head.block)) return undefined;
  const entries = entriesOf(view, nodes);
  return new RegionWriter(view, out).region(nodes, head, entries);
}

/**
 * Writes the code of a graph: a loop where one jumps back, a block around what several lead to, and everything else
 * where it is jumped to (N. Ramsey, "Beyond Relooper", 2022). A jump back to a block that does not dominate, and
 * one that leaves the region, is an exit.
 */
class RegionWriter {
  readonly #view: DataView;
  readonly #out: OutPlaces;
  readonly #code = new Code();
  readonly #labels = new Map<GraphNode, Label>();
  readonly #translator: Translator;
  readonly #exit: Label;

  constructor(view: DataView, out: OutPlaces) {
    this.#view = view;
    this.#out = out;
    this.#exit = this.#code.open(Op.BLOCK);
    const first = PARAMETERS + FIXED_LOCALS.length;
    this.#translator = new Translator(this.#code, view, this.#exit, first);
  }

  region(nodes: readonly GraphNode[], head: GraphNode, entries: readonly GraphNode[]): Region {
    this.#tree(head);
    const code = this.#code;
    code.byte(Op.UNREACHABLE);
    code.close();
    // The region's one end.
    this.#translator.synchronised.push({ at: code.length, load: false });
    put(code, Op.I32_STORE, this.#out.budget, BUDGET);
    put(code, Op.I64_STORE, this.#out.va, VA);
    code.get(SITE);
    code.byte(Op.END);
    const whole = new Code();
    this.#writeLocals(whole);
    const load = this.#loads();
    const store = this.#stores();
    whole.append(load);
    let from = 0;
    for (const place of this.#translator.synchronised) {
      whole.append(code.bytes().subarray(from, place.at));
      whole.append(place.load ? load : store);
      from = place.at;
    }
    whole.append(code.bytes().subarray(from));
    return { nodes, entries, body: whole.bytes().slice(), sites: this.#translator.sites };
  }

  #writeLocals(whole: Code): void {
    const types = [...FIXED_LOCALS, ...this.#translator.temporaries];
    const runs: [count: number, type: number][] = [];
    for (const type of types) {
      const last = runs.at(-1);
      if (last?.[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    whole.u32(runs.length);
    for (const [count, type] of runs) {
      whole.u32(count);
      whole.byte(type);
    }
  }

  /** Code that loads the state that the region uses. */
  #loads(): Uint8Array {
    const code = new Code();
    code.i32(0);
    code.access(Op.I32_LOAD, TLB_AT);
    code.set(TLB);
    for (const word of WORDS) {
      if (!this.#translator.used.has(word)) continue;
      code.i32(0);
      code.access(LOADS[word.type] ?? 0, word.address);
      code.set(this.#translator.placeOf(word));
    }
    return code.bytes();
  }

  /** Code that stores the state that the region changes. What it has not changed yet is what it loaded. */
  #stores(): Uint8Array {
    const code = new Code();
    for (const word of WORDS)
      if (this.#translator.changed.has(word))
        put(code, STORES[word.type] ?? 0, word.address, this.#translator.placeOf(word));
    return code.bytes();
  }

  /** A node and all that it dominates. */
  #tree(node: GraphNode): void {
    const code = this.#code;
    const translator = this.#translator;
    const { flagsKind } = translator;
    // Where several ways meet, it is not known.
    if (node.loops || node.forward > 1) translator.flagsKind = undefined;
    if (node.loops) this.#labels.set(node, code.open(Op.LOOP));
    // Blocks that several lead to follow behind: the last in order outermost.
    const merges = node.dominated.filter((each) => each.forward > 1).reverse();
    for (const merge of merges) this.#labels.set(merge, code.open(Op.BLOCK));
    if (node.inner.length > 0) this.#enter(node);
    this.#block(node);
    for (const merge of merges.reverse()) {
      code.close();
      // From here on the label of a loop is its beginning.
      this.#labels.delete(merge);
      this.#tree(merge);
    }
    if (node.loops) {
      code.close();
      this.#labels.delete(node);
    }
    translator.flagsKind = flagsKind;
  }

  /** The way to entries goes through the beginnings of all loops around them: goes on on it from this one. */
  #enter(node: GraphNode): void {
    const code = this.#code;
    code.get(ENTRY);
    code.open(Op.IF);
    for (const { number, to, last } of node.inner) {
      code.get(ENTRY);
      code.i32(number);
      code.byte(Op.I32_EQ);
      code.open(Op.IF);
      if (last) {
        code.i32(0);
        code.set(ENTRY);
      }
      this.#jump(node, to);
      code.close();
    }
    code.close();
  }

  #block(node: GraphNode): void {
    const view = this.#view;
    const { block } = node;
    for (let p = block.address; ; p += RECORD_BYTES) {
      const op = operationOf(view, p);
      if (isFast(op))
        this.#translator.translate(p, rootOf(op, isFlat(block)), this.#edges(node, p));
      else this.#translator.byHandler(p);
      if (p === block.last) return;
    }
  }

  #edges(from: GraphNode, record: number): Edges {
    return {
      near: (link) => {
        const to = from.near.get(link);
        if (to === undefined || !this.#mayJump(from, to)) {
          this.#translator.leave(Why.GO_NEAR, link);
          return;
        }
        this.#unless(to.block.count, () =>
          this.#translator.leave(Why.GO_NEAR, link, undefined, record),
        );
        this.#jump(from, to);
      },
      far: (target, link, check, commit) => this.#far(from, record, target, link, check, commit),
    };
  }

  /** Whether a jump can be written: forward, or back to a block that dominates this one. */
  #mayJump(from: GraphNode, to: GraphNode): boolean {
    return to.order > from.order || dominates(to, from);
  }

  /** Leaves by `leave` when fewer than `count` instructions may be executed. */
  #unless(count: number, leave: () => void): void {
    const code = this.#code;
    code.get(BUDGET);
    code.i32(count);
    code.byte(Op.I32_LT_S);
    code.open(Op.IF);
    leave();
    code.close();
  }

  #jump(from: GraphNode, to: GraphNode): void {
    const label = this.#labels.get(to);
    if (label !== undefined) this.#code.br(label);
    else if (to.order > from.order && to.forward === 1) this.#tree(to);
    else throw new Error("engine: a jump to a block that has no place");
  }

  /**
   * A jump whose target is looked up: where it may be fetched from is compared with the blocks that the region
   * knows, by their place in linear memory.
   */
  #far(
    from: GraphNode,
    record: number,
    target: Expression,
    link: number,
    check: boolean,
    commit: () => void,
  ): void {
    const translator = this.#translator;
    const code = this.#code;
    const to = [from.near.get(link), ...(link === TAKEN ? from.others : [])].filter(
      (node): node is GraphNode => node !== undefined && this.#mayJump(from, node),
    );
    const t = translator.keep(Type.I64, target);
    if (to.length > 0) {
      const entry = translator.keep(Type.I32, fetchEntry(t));
      const page = binary(Op.I64_AND, t, i64(PAGE_MASK));
      write(code, binary(Op.I64_EQ, load(Op.I64_LOAD, entry, FetchTlb.TAG), page));
      code.open(Op.IF);
      const addend = load(Op.I32_LOAD, entry, FetchTlb.ADDEND);
      const linear = translator.keep(Type.I32, binary(Op.I32_ADD, unary(Op.WRAP, t), addend));
      for (const node of to) {
        write(code, binary(Op.I32_EQ, linear, i32(node.block.linear)));
        code.open(Op.IF);
        code.get(BUDGET);
        code.i32(node.block.count);
        code.byte(Op.I32_GE_S);
        code.open(Op.IF);
        commit();
        translator.setWord(PAGE_BASE, page);
        this.#jump(from, node);
        code.close();
        code.close();
      }
      code.close();
    }
    if (check) this.#leaveUnlessCanonical(t, record);
    commit();
    translator.leave(Why.GO, link, t, record);
  }

  #leaveUnlessCanonical(t: Expression, record: number): void {
    const code = this.#code;
    const extended = binary(Op.I64_SHR_S, binary(Op.I64_SHL, t, i64(16n)), i64(16n));
    write(code, binary(Op.I64_NE, extended, t));
    code.open(Op.IF);
    this.#translator.leave(Why.RETRY, 0, undefined, record);
    code.close();
  }
}

/** Stores a local at an address. */
function put(code: Code, instruction: number, address: number, from: number): void {
  code.i32(0);
  code.get(from);
  code.access(instruction, address);
}

/** The TLB entry for fetches from `t`: as fetchAt() in core/layout.ts. */
function fetchEntry(t: Expression): Expression {
  const hash = binary(
    Op.I64_XOR,
    binary(Op.I64_SHR_U, t, i64(7n)),
    binary(Op.I64_SHR_U, t, i64(18n)),
  );
  const place = binary(Op.I32_AND, unary(Op.WRAP, hash), i32(FetchTlb.MASK));
  return binary(Op.I32_ADD, binary(Op.I32_ADD, place, i32(FetchTlb.AT)), local(TLB));
}

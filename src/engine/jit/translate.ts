import { type Code, type Label, Op, Type } from "./code.js";
import {
  binary,
  type Expression,
  i32,
  i64,
  isConstant,
  isLane,
  laneOf,
  load,
  local,
  select,
  shuffle,
  toLane,
  unary,
  vector,
  write,
} from "./expression.js";
import { NAMES, NODES, Node, Why, WIDE } from "./operations.gen.js";
import { BUDGET, CC_OP, HANDLE, isZeroWord, SITE, TLB, VA, type Word, wordAt } from "./state.js";
import { partOf, withPart } from "./vector.js";

/** A place where a region is left: which record, why, and a detail, as core/hot-exit.ts has them. */
export interface Site {
  readonly record: number;
  readonly why: number;
  readonly detail: number;
}

/** What a block's end needs of the region around it. */
export interface Edges {
  /** Jumps by the link at `link` of the record, which needs no check. */
  near(link: number): void;
  /** Jumps to `target`, anywhere; `commit` writes what changes when it can be fetched from. */
  far(target: Expression, link: number, check: boolean, commit: () => void): void;
}

const BYTE = 8;
const U8 = 0xff;
const U16 = 0xffff;
/** What `tlb` is in the texts. */
const TLB_NAME = "tlb";

type Words = readonly number[];

/** Names that are assigned to somewhere: they need a local even when they begin as constants. */
const ASSIGNED = new Set(
  NODES.filter((words) => words[0] === Node.SET).map((words) => words[1] ?? 0),
);

function wide(at: number): bigint {
  return WIDE[at] ?? 0n;
}

/** Writes the code of records, one after another. */
export class Translator {
  /** Words of the state that the region reads or writes; those that it changes. */
  readonly used = new Set<Word>();
  readonly changed = new Set<Word>();
  readonly sites: Site[] = [];
  /** Places in the code where the state that the region has in locals is stored to memory, or loaded from there. */
  readonly synchronised: { readonly at: number; readonly load: boolean }[] = [];
  /** Types of the temporary locals, from `firstTemporary` on. */
  readonly temporaries: number[] = [];
  /** What CC_OP is, when that is known here. */
  flagsKind: Expression | undefined;
  readonly #code: Code;
  readonly #view: DataView;
  readonly #exit: Label;
  readonly #firstTemporary: number;
  #record = 0;
  #edges: Edges | undefined;
  /** What a name means now. */
  #values: (Expression | undefined)[] = [];
  /** Where words without a fixed local lie. */
  readonly #places = new Map<Word, number>();
  /** Locals that no record uses now, by type. */
  #free = new Map<number, number[]>();
  #taken: [type: number, local: number][] = [];

  constructor(code: Code, view: DataView, exit: Label, firstTemporary: number) {
    this.#code = code;
    this.#view = view;
    this.#exit = exit;
    this.#firstTemporary = firstTemporary;
  }

  /** Translates the operation with node `root` of the record at `record`. */
  translate(record: number, root: number, edges: Edges): void {
    // The block behind a jump is written where the jump is: in the middle of the record that jumps.
    const outer = {
      record: this.#record,
      edges: this.#edges,
      values: this.#values,
      taken: this.#taken,
    };
    this.#record = record;
    this.#edges = edges;
    this.#values = [];
    this.#taken = [];
    this.#statement(root);
    for (const [type, at] of this.#taken) this.#pool(type).push(at);
    this.#record = outer.record;
    this.#edges = outer.edges;
    this.#values = outer.values;
    this.#taken = outer.taken;
  }

  #pool(type: number): number[] {
    let pool = this.#free.get(type);
    if (pool === undefined) {
      pool = [];
      this.#free.set(type, pool);
    }
    return pool;
  }

  #newLocal(type: number): number {
    return this.#firstTemporary + this.temporaries.push(type) - 1;
  }

  /** A local of a type, until the record is done. */
  temporary(type: number): number {
    const at = this.#pool(type).pop() ?? this.#newLocal(type);
    this.#taken.push([type, at]);
    return at;
  }

  /** The local of a word. */
  placeOf(word: Word): number {
    if (word.local !== 0) return word.local;
    const known = this.#places.get(word);
    if (known !== undefined) return known;
    const at = this.#newLocal(word.type);
    this.#places.set(word, at);
    return at;
  }

  /** Keeps the value in a local. */
  keep(type: number, value: Expression): Expression {
    if (isConstant(value)) return value;
    const at = this.temporary(type);
    write(this.#code, value);
    this.#code.set(at);
    return local(at);
  }

  /** Leaves the region at the record `record`. */
  leave(why: number, detail: number, va?: Expression, record: number = this.#record): void {
    const code = this.#code;
    if (va !== undefined) {
      write(code, va);
      code.set(VA);
    }
    code.i32(this.sites.push({ record, why, detail }) - 1);
    code.set(SITE);
    code.br(this.#exit);
  }

  /** The value of a word that lies in a local. */
  word(word: Word): Expression {
    if (word === CC_OP && this.flagsKind !== undefined) return this.flagsKind;
    this.used.add(word);
    return local(this.placeOf(word));
  }

  setWord(word: Word, value: Expression): void {
    this.used.add(word);
    this.changed.add(word);
    if (word === CC_OP) this.flagsKind = isConstant(value) ? value : undefined;
    write(this.#code, value);
    this.#code.set(this.placeOf(word));
  }

  /** The words of a node. */
  #node(at: number): Words {
    const words = NODES[at];
    if (words === undefined) throw new RangeError("engine: no such node");
    return words;
  }

  #evaluate(node: number): Expression {
    const words = this.#node(node);
    // One by one: V8 takes a list apart through its iterator until a function is compiled well, which few of these get.
    const kind = words[0] ?? 0;
    const first = words[1] ?? 0;
    const second = words[2] ?? 0;
    const third = words[3] ?? 0;
    switch (kind) {
      case Node.I32:
        return i32(first);
      case Node.I64:
        return i64(wide(first));
      case Node.VAR:
        return this.#variable(first);
      case Node.RECORD:
        return this.#ofRecord(first, second);
      case Node.LOAD:
        return this.#load(first, this.#evaluate(second), third);
      case Node.SELECT: {
        const c = this.#evaluate(second);
        if (c.op === Node.I32) return this.#evaluate(c.k !== 0 ? third : (words[4] ?? 0));
        return select(first, c, this.#evaluate(third), this.#evaluate(words[4] ?? 0));
      }
      case Node.V128:
        return vector(wide(first), wide(second));
      case Node.SHUFFLE:
        return shuffle(this.#evaluate(first), this.#evaluate(second), words.slice(3));
      case Node.LANE:
        return toLane(Op.I64_TO_LANE, first, this.#evaluate(second), this.#evaluate(third));
    }
    if (words.length === 2) return unary(kind, this.#evaluate(first));
    return binary(kind, this.#evaluate(first), this.#evaluate(second));
  }

  #variable(name: number): Expression {
    const value = this.#values[name];
    if (value !== undefined) return value;
    if (NAMES[name] === TLB_NAME) return local(TLB);
    throw new Error(`engine: ${NAMES[name]} has no value`);
  }

  /** What the record holds at `offset`, a constant. */
  #ofRecord(instruction: number, offset: number): Expression {
    const at = this.#record + offset;
    const view = this.#view;
    switch (instruction) {
      case Op.I64_LOAD:
        return i64(view.getBigInt64(at, true));
      case Op.I32_LOAD:
        return i32(view.getInt32(at, true));
      case Op.I32_LOAD16_U:
        return i32(view.getUint16(at, true));
      case Op.I32_LOAD8_U:
        return i32(view.getUint8(at));
      default:
        throw new Error(`engine: load ${instruction} of a record`);
    }
  }

  #load(instruction: number, address: Expression, offset: number): Expression {
    if (address.op !== Node.I32) return load(instruction, address, offset);
    const at = address.k + offset;
    if (isZeroWord(at)) return instruction === Op.I64_LOAD ? i64(0n) : i32(0);
    const found = wordAt(at);
    if (found === undefined) return load(instruction, i32(at), 0);
    const whole = this.word(found.word);
    if (found.word.type === Type.V128) return partOf(instruction, whole, found.byte);
    if (found.word.type === Type.I32 || instruction === Op.I64_LOAD) return whole;
    const low = unary(Op.WRAP, whole);
    if (instruction === Op.I32_LOAD) return low;
    const part = binary(Op.I32_SHR_U, low, i32(found.byte * BYTE));
    switch (instruction) {
      case Op.I32_LOAD8_U:
        return binary(Op.I32_AND, part, i32(U8));
      case Op.I32_LOAD16_U:
        return binary(Op.I32_AND, part, i32(U16));
      case Op.I32_LOAD8_S:
        return unary(Op.EXTEND8_S, part);
      case Op.I32_LOAD16_S:
        return unary(Op.EXTEND16_S, part);
      default:
        throw new Error(`engine: load ${instruction} of a register`);
    }
  }

  #store(instruction: number, address: Expression, offset: number, value: Expression): void {
    const code = this.#code;
    if (address.op === Node.I32) {
      const at = address.k + offset;
      const found = wordAt(at);
      if (found !== undefined) {
        this.#storeWord(instruction, found.word, found.byte, value);
        return;
      }
      code.i32(0);
      write(code, value);
      code.access(instruction, at);
      return;
    }
    write(code, address);
    write(code, value);
    code.access(instruction, offset);
  }

  #storeWord(instruction: number, word: Word, byte: number, value: Expression): void {
    if (word.type === Type.V128) {
      this.setWord(word, withPart(instruction, this.word(word), byte, value));
      return;
    }
    if (word.type === Type.I32 || instruction === Op.I64_STORE) {
      this.setWord(word, value);
      return;
    }
    const bits = instruction === Op.I32_STORE8 ? BYTE : instruction === Op.I32_STORE16 ? 16 : 32;
    const mask = ((1n << BigInt(bits)) - 1n) << BigInt(byte * BYTE);
    const wide = binary(Op.I64_SHL, unary(Op.EXTEND_U, value), i64(BigInt(byte * BYTE)));
    const kept = binary(Op.I64_AND, this.word(word), i64(~mask));
    this.setWord(word, binary(Op.I64_OR, kept, binary(Op.I64_AND, wide, i64(mask))));
  }

  #statement(node: number): void {
    const words = this.#node(node);
    const kind = words[0];
    const first = words[1] ?? 0;
    const second = words[2] ?? 0;
    const third = words[3] ?? 0;
    const fourth = words[4] ?? 0;
    switch (kind) {
      case Node.SEQ:
        for (let i = 1; i < words.length; i++) this.#statement(words[i] ?? 0);
        return;
      case Node.LET:
        this.#let(first, second, third);
        return;
      case Node.SET:
        this.#set(first, this.#evaluate(second));
        return;
      case Node.STORE:
        this.#store(first, this.#evaluate(second), third, this.#evaluate(fourth));
        return;
      case Node.IF:
        this.#if(this.#evaluate(first), second, third);
        return;
      case Node.SWITCH:
        this.#switch(words);
        return;
      case Node.EXIT:
        this.leave(first, third, second < 0 ? undefined : this.#evaluate(second));
        return;
      case Node.COUNT:
        this.#count();
        return;
      case Node.GO:
        this.#edges?.near(second);
        return;
      case Node.FAR:
        this.#edges?.far(this.#evaluate(first), second, third !== 0, () => this.#statement(fourth));
        return;
      default:
        throw new Error(`engine: node ${kind} is no statement`);
    }
  }

  #let(name: number, type: number, node: number): void {
    const value = node < 0 ? undefined : this.#evaluate(node);
    if (value !== undefined && !ASSIGNED.has(name)) {
      this.#values[name] = this.#kept(type, value);
      return;
    }
    const at = this.temporary(type);
    if (value !== undefined) {
      write(this.#code, value);
      this.#code.set(at);
    }
    this.#values[name] = local(at);
  }

  /** What stands for the value from now on: parts of vectors, and bits of floating-point numbers, stay where they are. */
  #kept(type: number, value: Expression): Expression {
    const { a, op } = value;
    if (a === undefined) return this.keep(type, value);
    if (isLane(value)) return laneOf(value.detail, value.k, this.keep(Type.V128, a));
    if (op === Op.I64_FROM_F64) return unary(op, this.keep(Type.F64, a));
    if (op === Op.I32_FROM_F32) return unary(op, this.keep(Type.F32, a));
    return this.keep(type, value);
  }

  #set(name: number, value: Expression): void {
    const to = this.#values[name];
    if (to?.op !== Node.VAR) throw new Error("engine: assignment to a constant");
    write(this.#code, value);
    this.#code.set(to.k);
  }

  #if(c: Expression, then: number, other: number): void {
    if (c.op === Node.I32) {
      if (c.k !== 0) this.#statement(then);
      else if (other >= 0) this.#statement(other);
      return;
    }
    const code = this.#code;
    write(code, c);
    code.open(Op.IF);
    const before = this.flagsKind;
    this.#statement(then);
    let same = this.flagsKind === before;
    this.flagsKind = before;
    if (other >= 0) {
      code.otherwise();
      this.#statement(other);
      same &&= this.flagsKind === before;
    }
    this.flagsKind = same ? before : undefined;
    code.close();
  }

  #switch(words: Words): void {
    const value = this.#evaluate(words[1] ?? 0);
    if (value.op !== Node.I32) throw new Error("engine: a choice that the record does not decide");
    for (let i = 3; i < words.length; i += 2) {
      if (words[i] === value.k) {
        this.#statement(words[i + 1] ?? 0);
        return;
      }
    }
    this.#statement(words[2] ?? 0);
  }

  /** The block is done: its instructions are used up. */
  #count(): void {
    const code = this.#code;
    code.get(BUDGET);
    code.i32(this.#view.getInt32(this.#record + 40, true));
    code.op(Op.I32_SUB);
    code.set(BUDGET);
  }

  /**
   * The record has no fast operation: its complete handler does it, which finds the state in memory and may change all
   * of it. Whether the region goes on behind it, the core says (handle() in core/interpret.ts).
   */
  byHandler(record: number): void {
    const code = this.#code;
    this.synchronised.push({ at: code.length, load: false });
    code.i32(record);
    code.get(BUDGET);
    code.call(HANDLE);
    code.set(SITE);
    this.synchronised.push({ at: code.length, load: true });
    this.flagsKind = undefined;
    code.get(SITE);
    code.i32(0);
    code.byte(Op.I32_LT_S);
    code.open(Op.IF);
    this.leave(Why.HANDLED, 0, undefined, record);
    code.close();
    code.get(SITE);
    code.set(BUDGET);
  }
}

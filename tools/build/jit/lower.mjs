// @ts-check
/**
 * From the texts' expressions to instructions of WebAssembly, with AssemblyScript's rules for types. Integers of 8 and 16
 * bits are i32 whose upper bits are always right. The nodes are shared: equal ones have the same number.
 * src/engine/jit/nodes.ts says what their numbers mean.
 */
import { WASM } from "./wasm-names.mjs";

/** Kinds of nodes; those of expressions come before those of statements. Also in src/engine/jit/nodes.gen.ts. */
export const NODE = {
  I32: 0,
  I64: 1,
  VAR: 2,
  RECORD: 3,
  LOAD: 4,
  SELECT: 5,
  V128: 6,
  SHUFFLE: 7,
  LANE: 8,
  LET: 20,
  SET: 21,
  STORE: 22,
  IF: 23,
  SEQ: 24,
  SWITCH: 25,
  EXIT: 26,
  GO: 27,
  FAR: 28,
  COUNT: 29,
};

/** Bytes in a type's name of AssemblyScript. @type {Record<string, number>} */
const BYTES = { bool: 1, u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8 };
/** @type {Record<string, number>} */
const WASM_TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
/** The type of WebAssembly that holds it. @param {string} type */
const home = (type) =>
  BYTES[type] === undefined ? type : (BYTES[type] ?? 0) === 8 ? "i64" : "i32";
const isSigned = (/** @type {string} */ type) => type.startsWith("i");
const isInteger = (/** @type {string} */ type) => BYTES[type] !== undefined;

/**
 * A value of an expression: its type and node; of a literal, or what consists of such, a function that makes it of a type.
 * @typedef {{ type: string, node: number } | { type: "literal", make: (type: string) => number }} Value
 * @typedef {import("./parse.mjs").Ast} Ast
 * @typedef {import("./parse.mjs").Statement} Statement
 * @typedef {number | bigint} Word
 */

/** All nodes of all operations. */
export class Nodes {
  /** @type {Word[][]} */
  list = [];
  /** @type {Map<string, number>} */
  #byText = new Map();
  /** @type {string[]} */
  names = [];

  /** @param {Word[]} words @returns {number} */
  add(...words) {
    const text = words.map((w) => (typeof w === "bigint" ? `${w}n` : String(w))).join(",");
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    this.#byText.set(text, this.list.length);
    return this.list.push(words) - 1;
  }
  /** @param {string} name */
  name(name) {
    const at = this.names.indexOf(name);
    return at >= 0 ? at : this.names.push(name) - 1;
  }
}

/** Lowers one operation. */
export class Lowering {
  /** What is declared, by scope: its type, and a name that no other has that is known at the same time. @type {Map<string, { type: string, name: string }>[]} */
  #scopes = [new Map()];
  /**
   * @param {Nodes} nodes
   * @param {Map<string, { type: string, value: bigint }>} constants
   */
  constructor(nodes, constants) {
    this.nodes = nodes;
    this.constants = constants;
  }

  /** @param {string} name */
  #op(name) {
    const number = WASM[name];
    if (number === undefined) throw new Error(`gen-jit: no instruction ${name}`);
    return number;
  }

  /** @param {bigint} value @param {string} type */
  #number(value, type) {
    if (home(type) === "i64") return this.nodes.add(NODE.I64, BigInt.asIntN(64, value));
    if (home(type) !== "i32") throw new Error(`gen-jit: integer as ${type}`);
    const bytes = BYTES[type] ?? 4;
    const cut = isSigned(type) ? BigInt.asIntN(bytes * 8, value) : BigInt.asUintN(bytes * 8, value);
    return this.nodes.add(NODE.I32, Number(BigInt.asIntN(32, cut)));
  }

  /** The node of a value as a type that it becomes by itself. @param {Value} value @param {string} type */
  #as(value, type) {
    if (value.type === "literal" && "make" in value) return value.make(type);
    return this.#cast(/** @type {{ type: string, node: number }} */ (value), type);
  }

  /** @param {number} node @param {string} type brings an i32 back to 8 or 16 bits */
  #narrow(node, type) {
    if (type === "u8") return this.nodes.add(this.#op("i32.and"), node, this.#number(255n, "u32"));
    if (type === "u16")
      return this.nodes.add(this.#op("i32.and"), node, this.#number(65535n, "u32"));
    if (type === "i8") return this.nodes.add(this.#op("i32.extend8_s"), node);
    if (type === "i16") return this.nodes.add(this.#op("i32.extend16_s"), node);
    return node;
  }

  /** @param {{ type: string, node: number }} value @param {string} type @returns {number} */
  #cast(value, type) {
    const from = value.type;
    const { node } = value;
    if (from === type) return node;
    if (type === "bool") return this.#truth(value);
    if (!isInteger(from) || !isInteger(type)) return this.#castFloat(node, from, type);
    const [was, is] = [BYTES[from] ?? 0, BYTES[type] ?? 0];
    if (was === 8 && is === 8) return node;
    if (is === 8)
      return this.nodes.add(this.#op(`i64.extend_i32_${isSigned(from) ? "s" : "u"}`), node);
    const word = was === 8 ? this.nodes.add(this.#op("i32.wrap_i64"), node) : node;
    if (is === 4) return word;
    if (was < is && !isSigned(from)) return word;
    return this.#narrow(word, type);
  }

  /** @param {number} node @param {string} from @param {string} type */
  #castFloat(node, from, type) {
    /** @type {Record<string, string>} */
    const known = {
      "f32 f64": "f64.promote_f32",
      "f64 f32": "f32.demote_f64",
      "i32 f64": "f64.convert_i32_s",
      "i64 f64": "f64.convert_i64_s",
      "f64 i32": "i32.trunc_sat_f64_s",
      "f64 i64": "i64.trunc_sat_f64_s",
    };
    return this.nodes.add(this.#op(known[`${from} ${type}`] ?? `cast ${from} ${type}`), node);
  }

  /** @param {Value} value @returns {number} an i32 of 0 or 1 */
  #truth(value) {
    if (value.type === "bool" && "node" in value) return value.node;
    const type = value.type === "literal" ? "i32" : value.type;
    return this.nodes.add(
      this.#op(`${home(type)}.ne`),
      this.#as(value, type),
      this.#number(0n, type),
    );
  }

  /** The type in which two values are combined. @param {Value} a @param {Value} b @param {string} what */
  #common(a, b, what) {
    if (a.type === "literal") return b.type;
    if (b.type === "literal" || a.type === b.type) return a.type;
    const [x, y] = [BYTES[a.type], BYTES[b.type]];
    if (x === undefined || y === undefined || x === y)
      throw new Error(`gen-jit: ${a.type} ${what} ${b.type}`);
    return x > y ? a.type : b.type;
  }

  /** @param {Ast} ast @returns {Value} */
  expression(ast) {
    switch (ast.k) {
      case "lit":
        return { type: "literal", make: (type) => this.#number(ast.value, type) };
      case "float": {
        const bits = new DataView(new ArrayBuffer(8));
        bits.setFloat64(0, ast.value);
        const node = this.nodes.add(NODE.I64, bits.getBigInt64(0));
        return { type: "f64", node: this.nodes.add(this.#op("f64.reinterpret_i64"), node) };
      }
      case "name":
        return this.#name(ast.name);
      case "cast":
        return { type: ast.type, node: this.#as(this.expression(ast.a), ast.type) };
      case "unary":
        return this.#unary(ast.op, this.expression(ast.a));
      case "binary":
        return this.#binary(ast.op, this.expression(ast.a), this.expression(ast.b));
      case "ternary": {
        const c = this.#truth(this.expression(ast.c));
        const [a, b] = [this.expression(ast.a), this.expression(ast.b)];
        const make = (/** @type {string} */ type) =>
          this.nodes.add(
            NODE.SELECT,
            WASM_TYPE[home(type)] ?? 0,
            c,
            this.#as(a, type),
            this.#as(b, type),
          );
        const type = this.#common(a, b, "?:");
        return type === "literal" ? { type, make } : { type, node: make(type) };
      }
      case "call":
        return this.#call(ast.name, ast.type, ast.args);
    }
  }

  /** @param {string} name @returns {Value} */
  #name(name) {
    const known = this.constants.get(name);
    if (known !== undefined)
      return { type: known.type, node: this.#number(known.value, known.type) };
    const found = this.#declared(name);
    return { type: found.type, node: this.nodes.add(NODE.VAR, this.nodes.name(found.name)) };
  }

  /** @param {string} name */
  #declared(name) {
    if (name === "tlb") return { type: "u32", name };
    const found = this.#scopes.findLast((scope) => scope.has(name))?.get(name);
    if (found === undefined) throw new Error(`gen-jit: what is ${name}?`);
    return found;
  }

  /** @param {string} op @param {Value} value @returns {Value} */
  #unary(op, value) {
    if (op === "!") {
      const type = value.type === "literal" ? "i32" : value.type;
      const node = this.#as(value, type);
      return { type: "bool", node: this.nodes.add(this.#op(`${home(type)}.eqz`), node) };
    }
    const apply = (/** @type {string} */ type) => {
      const node = this.#as(value, type);
      if (!isInteger(type)) return this.nodes.add(this.#op(`${type}.neg`), node);
      const made =
        op === "~"
          ? this.nodes.add(this.#op(`${home(type)}.xor`), node, this.#number(-1n, home(type)))
          : this.nodes.add(this.#op(`${home(type)}.sub`), this.#number(0n, home(type)), node);
      return this.#narrow(made, type);
    };
    if (value.type === "literal") return { type: "literal", make: apply };
    return { type: value.type, node: apply(value.type) };
  }

  /** @param {string} op @param {Value} a @param {Value} b @returns {Value} */
  #binary(op, a, b) {
    if (op === "&&" || op === "||")
      return {
        type: "bool",
        node: this.nodes.add(
          this.#op(op === "&&" ? "i32.and" : "i32.or"),
          this.#truth(a),
          this.#truth(b),
        ),
      };
    if (["==", "!=", "<", "<=", ">", ">="].includes(op)) return this.#compare(op, a, b);
    const shift = op === "<<" || op === ">>";
    const type = shift ? a.type : this.#common(a, b, op);
    const make = (/** @type {string} */ as) =>
      this.#arithmetic(op, as, this.#as(a, as), this.#as(b, as));
    return type === "literal" ? { type, make } : { type, node: make(type) };
  }

  /** @param {string} op @param {string} type @param {number} a @param {number} b */
  #arithmetic(op, type, a, b) {
    const sign = isSigned(type) ? "s" : "u";
    /** @type {Record<string, string>} */
    const names = {
      "+": "add",
      "-": "sub",
      "*": "mul",
      "&": "and",
      "|": "or",
      "^": "xor",
      "<<": "shl",
    };
    if (isInteger(type))
      Object.assign(names, { "/": `div_${sign}`, "%": `rem_${sign}`, ">>": `shr_${sign}` });
    else names["/"] = "div";
    if ((op === "<<" || op === ">>") && (BYTES[type] ?? 0) < 4)
      throw new Error(`gen-jit: ${type} ${op}`);
    const node = this.nodes.add(this.#op(`${home(type)}.${names[op]}`), a, b);
    return "&|^".includes(op) ? node : this.#narrow(node, type);
  }

  /** @param {string} op @param {Value} a @param {Value} b @returns {Value} */
  #compare(op, a, b) {
    const type = this.#common(a, b, op);
    const as = type === "literal" ? "i32" : type;
    /** @type {Record<string, string>} */
    const names = { "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge" };
    const signed = isInteger(as) && op !== "==" && op !== "!=";
    const name = `${home(as)}.${names[op]}${signed ? (isSigned(as) ? "_s" : "_u") : ""}`;
    return { type: "bool", node: this.nodes.add(this.#op(name), this.#as(a, as), this.#as(b, as)) };
  }

  /** @param {Ast | undefined} ast @returns {number} */
  #offset(ast) {
    if (ast === undefined) return 0;
    if (ast.k !== "lit") throw new Error("gen-jit: offset of an access");
    return Number(ast.value);
  }

  /** @param {string} name @param {string | undefined} type @param {Ast[]} args @returns {Value} */
  #call(name, type, args) {
    const value = (/** @type {number} */ i) => this.expression(args[i] ?? { k: "lit", value: 0n });
    if (name === "load" || name === "v128.load") {
      const as = type ?? "v128";
      const load = loadName(as);
      const offset = this.#offset(args[1]);
      const [at] = args;
      if (at?.k === "name" && at.name === "p")
        return { type: as, node: this.nodes.add(NODE.RECORD, this.#op(load), offset) };
      const address = this.#as(value(0), "u32");
      return { type: as, node: this.nodes.add(NODE.LOAD, this.#op(load), address, offset) };
    }
    if (type !== undefined && !name.startsWith("v128.")) return this.#builtin(name, type, value);
    return { type: vectorResult(name), node: this.#vector(name, type, args) };
  }

  /** @param {string} name @param {string} type @param {(i: number) => Value} value @returns {Value} */
  #builtin(name, type, value) {
    const from = value(0);
    if (name === "reinterpret") {
      if (from.type === "literal") throw new Error("gen-jit: reinterpret of a literal");
      const node = this.#as(from, from.type);
      return {
        type,
        node: this.nodes.add(this.#op(`${home(type)}.reinterpret_${home(from.type)}`), node),
      };
    }
    const a = this.#as(from, type);
    if (name === "bswap") return { type, node: this.#bswap(a, type) };
    if (name === "min") {
      const b = this.#as(value(1), type);
      const c = this.nodes.add(this.#op(`i32.lt_${isSigned(type) ? "s" : "u"}`), a, b);
      return { type, node: this.nodes.add(NODE.SELECT, 0x7f, c, a, b) };
    }
    const two = name === "rotl" || name === "rotr";
    if (two && (BYTES[type] ?? 0) < 4) throw new Error(`gen-jit: ${name}<${type}>`);
    const op = this.#op(`${home(type)}.${name}`);
    return {
      type,
      node: two ? this.nodes.add(op, a, this.#as(value(1), type)) : this.nodes.add(op, a),
    };
  }

  /** The bytes in the other order: WebAssembly has no instruction for it. @param {number} a @param {string} type */
  #bswap(a, type) {
    const word = home(type);
    const n = (/** @type {bigint} */ value) => this.#number(value, type);
    const two = (/** @type {string} */ op, /** @type {number} */ x, /** @type {number} */ y) =>
      this.nodes.add(this.#op(`${word}.${op}`), x, y);
    const half = (/** @type {number} */ x, /** @type {bigint} */ mask, /** @type {bigint} */ by) =>
      two(
        "or",
        two("and", two("shr_u", x, n(by)), n(mask)),
        two("shl", two("and", x, n(mask)), n(by)),
      );
    if (word === "i32") return two("rotl", half(a, 0xff00ffn, 8n), n(16n));
    return two("rotl", half(half(a, 0x00ff00ff00ff00ffn, 8n), 0x0000ffff0000ffffn, 16n), n(32n));
  }

  /** @param {string} name @param {string | undefined} type @param {Ast[]} args @returns {number} */
  #vector(name, type, args) {
    if (/^i\d+x\d+$/.test(name)) return this.#vectorConstant(name, args);
    const vector = (/** @type {number} */ i) =>
      this.#as(this.expression(args[i] ?? { k: "lit", value: 0n }), "v128");
    const full = type === undefined ? name : typedVector(name, type);
    if (name === "v128.shuffle") {
      const bytes = BYTES[type ?? ""] ?? 0;
      const lanes = args.slice(2).flatMap((arg) => {
        const lane = this.#offset(arg);
        return Array.from({ length: bytes }, (_, i) => lane * bytes + i);
      });
      return this.nodes.add(NODE.SHUFFLE, vector(0), vector(1), ...lanes);
    }
    if (name === "i64x2.replace_lane")
      return this.nodes.add(
        NODE.LANE,
        this.#offset(args[1]),
        vector(0),
        this.#as(this.expression(args[2] ?? { k: "lit", value: 0n }), "u64"),
      );
    if (full.endsWith(".splat")) {
      const of = full.startsWith("i64") ? "u64" : full.startsWith("i8") ? "i8" : "u32";
      return this.nodes.add(
        this.#op(full),
        this.#as(this.expression(args[0] ?? { k: "lit", value: 0n }), of),
      );
    }
    if (/\.sh[lr]/.test(full))
      return this.nodes.add(
        this.#op(full),
        vector(0),
        this.#as(this.expression(args[1] ?? { k: "lit", value: 0n }), "i32"),
      );
    return this.nodes.add(this.#op(full), ...args.map((_, i) => vector(i)));
  }

  /** @param {string} name @param {Ast[]} args */
  #vectorConstant(name, args) {
    const bits = BigInt(/^i(\d+)x/.exec(name)?.[1] ?? 0);
    let all = 0n;
    for (const [i, arg] of args.entries()) {
      if (arg.k !== "lit") throw new Error("gen-jit: constant of a vector");
      all |= BigInt.asUintN(Number(bits), arg.value) << (BigInt(i) * bits);
    }
    return this.nodes.add(NODE.V128, BigInt.asIntN(64, all), BigInt.asIntN(64, all >> 64n));
  }

  /** @param {Statement[]} list @returns {number} */
  sequence(list) {
    this.#scopes.push(new Map());
    const made = list.flatMap((each) => (each.k === "next" ? [] : [this.statement(each)]));
    this.#scopes.pop();
    return made.length === 1 ? (made[0] ?? 0) : this.nodes.add(NODE.SEQ, ...made);
  }

  /** @param {Statement} s @returns {number} */
  statement(s) {
    const { nodes } = this;
    switch (s.k) {
      case "let":
        return this.#let(s);
      case "set": {
        if (s.name === "budget") return nodes.add(NODE.COUNT);
        const { type, name: unique } = this.#declared(s.name);
        const name = /** @type {Ast} */ ({ k: "name", name: s.name });
        const value =
          s.op === "="
            ? this.expression(s.value)
            : this.#binary(s.op.charAt(0), this.expression(name), this.expression(s.value));
        return nodes.add(NODE.SET, nodes.name(unique), this.#as(value, type));
      }
      case "call":
        return this.#store(s.call);
      case "if": {
        const c = this.#truth(this.expression(s.c));
        const then = this.sequence([s.then]);
        return nodes.add(NODE.IF, c, then, s.other === undefined ? -1 : this.sequence([s.other]));
      }
      case "block":
        return this.sequence(s.body);
      case "switch":
        return this.#switch(s.value, s.cases);
      case "return":
        return this.#exit(s.name, s.args);
      case "go":
        return nodes.add(NODE.GO, s.rel, s.link);
      case "far":
        return nodes.add(
          NODE.FAR,
          this.#as(this.expression(s.target), "u64"),
          s.link,
          s.check ? 1 : 0,
          this.sequence(s.commit),
        );
      default:
        throw new Error(`gen-jit: ${s.k} here`);
    }
  }

  /** @param {{ name: string, changes: boolean, type: string | undefined, value: Ast | undefined }} s */
  #let({ name, changes, type, value }) {
    const made = value === undefined ? undefined : this.expression(value);
    const as = type ?? made?.type ?? "";
    if (as === "" || as === "literal") throw new Error(`gen-jit: type of ${name}`);
    const node = made === undefined ? -1 : this.#as(made, as);
    const hidden = this.#scopes.filter((scope) => scope.has(name)).length;
    // What is never assigned to must not have the name of what is: the compiler keeps constants out of locals.
    const unique = `${name}${hidden === 0 ? "" : hidden}${changes ? "=" : ""}`;
    this.#scopes.at(-1)?.set(name, { type: as, name: unique });
    return this.nodes.add(NODE.LET, this.nodes.name(unique), WASM_TYPE[home(as)] ?? 0, node);
  }

  /** @param {Ast} ast */
  #store(ast) {
    if (ast.k !== "call" || (ast.name !== "store" && ast.name !== "v128.store"))
      throw new Error("gen-jit: a statement that is no store");
    const type = ast.type ?? "v128";
    const [at, value, offset] = ast.args;
    if (at === undefined || value === undefined) throw new Error("gen-jit: store");
    const address = this.#as(this.expression(at), "u32");
    const node = this.#as(this.expression(value), type);
    return this.nodes.add(
      NODE.STORE,
      this.#op(storeName(type)),
      address,
      this.#offset(offset),
      node,
    );
  }

  /** @param {Ast} value @param {[bigint | undefined, Statement[]][]} cases each ends with a break */
  #switch(value, cases) {
    const node = this.#as(this.expression(value), "u32");
    /** @type {number[]} */
    const words = [];
    let other = -1;
    for (const [number, body] of cases) {
      if (body.at(-1)?.k !== "break") throw new Error("gen-jit: a case without break");
      const made = this.sequence(body.slice(0, -1));
      if (number === undefined) other = made;
      else words.push(Number(number), made);
    }
    return this.nodes.add(NODE.SWITCH, node, other, ...words);
  }

  /** @param {string} name @param {Ast[]} args */
  #exit(name, args) {
    const W = (/** @type {string} */ which) => Number(this.constants.get(`W_${which}`)?.value);
    if (name === "complete") return this.nodes.add(NODE.EXIT, W("COMPLETE"), -1, 0);
    if (name === "verify") return this.nodes.add(NODE.EXIT, W("VERIFY"), -1, 0);
    if (name !== "missRead" && name !== "missWrite") throw new Error(`gen-jit: return ${name}`);
    const [, , va = { k: "lit", value: 0n }, size = { k: "lit", value: 0n }] = args;
    const word = this.nodes.list[this.#as(this.expression(/** @type {Ast} */ (size)), "u32")];
    const write = name === "missWrite" ? Number(this.constants.get("MISS_WRITE")?.value) : 0;
    const detail = foldOr(this.nodes, word) | write;
    return this.nodes.add(
      NODE.EXIT,
      W("MISS"),
      this.#as(this.expression(/** @type {Ast} */ (va)), "u64"),
      detail,
    );
  }
}

/** The value of a constant, or of an OR of two. @param {Nodes} nodes @param {Word[] | undefined} words @returns {number} */
function foldOr(nodes, words) {
  if (words?.[0] === NODE.I32) return Number(words[1]);
  if (words === undefined || words[0] !== WASM["i32.or"])
    throw new Error("gen-jit: detail of an exit");
  return foldOr(nodes, nodes.list[Number(words[1])]) | foldOr(nodes, nodes.list[Number(words[2])]);
}

/** @param {string} type */
function loadName(type) {
  if (!isInteger(type)) return `${type}.load`;
  const bits = (BYTES[type] ?? 0) * 8;
  if (bits >= 32) return `i${bits}.load`;
  return `i32.load${bits}_${isSigned(type) ? "s" : "u"}`;
}

/** @param {string} type */
function storeName(type) {
  if (!isInteger(type)) return `${type}.store`;
  const bits = (BYTES[type] ?? 0) * 8;
  return bits >= 32 ? `i${bits}.store` : `i32.store${bits}`;
}

/** The instruction that v128.NAME<TYPE> means. @param {string} name @param {string} type */
function typedVector(name, type) {
  const shape = `i${(BYTES[type] ?? 0) * 8}x${16 / (BYTES[type] ?? 1)}`;
  const what = name.slice(5);
  const sign = isSigned(type) ? "_s" : "_u";
  return `${shape}.${what}${["min", "max", "shr"].includes(what) ? sign : ""}`;
}

/** @param {string} name */
const vectorResult = (name) =>
  name.endsWith("bitmask") ? "i32" : name.endsWith("any_true") ? "bool" : "v128";

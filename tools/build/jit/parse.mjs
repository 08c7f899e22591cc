// @ts-check
/**
 * Reads the texts of the fast operations (gen-fast*.mjs): the part of AssemblyScript that they use.
 */

/**
 * @typedef {{ k: "lit", value: bigint } | { k: "float", value: number } | { k: "name", name: string }
 *   | { k: "unary", op: string, a: Ast } | { k: "cast", type: string, a: Ast } | { k: "binary", op: string, a: Ast, b: Ast }
 *   | { k: "ternary", c: Ast, a: Ast, b: Ast } | { k: "call", name: string, type: string | undefined, args: Ast[] }} Ast
 * @typedef {{ k: "let", name: string, changes: boolean, type: string | undefined, value: Ast | undefined } | { k: "set", name: string, op: string, value: Ast }
 *   | { k: "call", call: Ast } | { k: "if", c: Ast, then: Statement, other: Statement | undefined } | { k: "block", body: Statement[] }
 *   | { k: "switch", value: Ast, cases: [bigint | undefined, Statement[]][] } | { k: "return", name: string, args: Ast[] }
 *   | { k: "go", rel: number, link: number } | { k: "far", target: Ast, link: number, commit: Statement[], check: boolean }
 *   | { k: "next" } | { k: "break" }} Statement
 */

const TOKEN =
  /\s*(?:(@NEXT|@GO\([^)]*\)@|@FAR\([^@]*\)@)|(0x[0-9a-fA-F]+|\d+\.\d+|\d+)|([A-Za-z_][A-Za-z0-9_.]*)|(<<|>>|<=|>=|==|!=|&&|\|\||-=|\+=|[-+*/%&|^~!<>=?:;,(){}]))/y;

/** Calls that name a type: NAME<TYPE>(...). */
const GENERIC =
  /^(load|store|rotl|rotr|popcnt|ctz|clz|bswap|min|reinterpret|sqrt|v128\.(shuffle|min|max|add|sub|eq|shl|shr))$/;

/** Binary operators by rank, from the weakest. */
const RANKS = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!="],
  ["<", "<=", ">", ">="],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];

/** @param {string} text */
function tokens(text) {
  const list = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const at = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) throw new Error(`gen-jit: cannot read ${text.slice(at, at + 60)}`);
    list.push(found[0].trim());
  }
  return list;
}

class Parser {
  #at = 0;
  /** @param {string[]} list */
  constructor(list) {
    this.list = list;
  }
  peek(ahead = 0) {
    return this.list[this.#at + ahead] ?? "";
  }
  take() {
    const token = this.peek();
    this.#at++;
    return token;
  }
  /** @param {string} token */
  have(token) {
    if (this.peek() !== token) return false;
    this.#at++;
    return true;
  }
  /** @param {string} token */
  need(token) {
    if (!this.have(token))
      throw new Error(
        `gen-jit: ${token} expected before ${this.list.slice(this.#at, this.#at + 12).join(" ")}`,
      );
  }

  /** @returns {Ast} */
  expression() {
    const c = this.binary(0);
    if (!this.have("?")) return c;
    const a = this.expression();
    this.need(":");
    return { k: "ternary", c, a, b: this.expression() };
  }

  /** @param {number} rank @returns {Ast} */
  binary(rank) {
    const operators = RANKS[rank];
    if (operators === undefined) return this.unary();
    let a = this.binary(rank + 1);
    while (operators.includes(this.peek())) {
      const op = this.take();
      a = { k: "binary", op, a, b: this.binary(rank + 1) };
    }
    return a;
  }

  /** @returns {Ast} */
  unary() {
    if (this.have("<")) {
      const type = this.take();
      this.need(">");
      return { k: "cast", type, a: this.unary() };
    }
    for (const op of ["!", "~", "-"]) if (this.have(op)) return { k: "unary", op, a: this.unary() };
    return this.primary();
  }

  /** @returns {Ast} */
  primary() {
    if (this.have("(")) {
      const inner = this.expression();
      this.need(")");
      return inner;
    }
    const token = this.take();
    if (/^\d+\.\d+$/.test(token)) return { k: "float", value: Number(token) };
    if (/^\d/.test(token)) return { k: "lit", value: BigInt(token) };
    if (!/^[A-Za-z_]/.test(token)) throw new Error(`gen-jit: unexpected ${token}`);
    let type;
    if (GENERIC.test(token) && this.have("<")) {
      type = this.take();
      this.need(">");
    }
    if (this.have("(")) return { k: "call", name: token, type, args: this.args() };
    return { k: "name", name: token };
  }

  /** @returns {Ast[]} */
  args() {
    /** @type {Ast[]} */
    const list = [];
    if (this.have(")")) return list;
    do list.push(this.expression());
    while (this.have(","));
    this.need(")");
    return list;
  }

  /** @param {string} [end] @returns {Statement[]} */
  statements(end) {
    const list = [];
    while (this.peek() !== (end ?? "")) list.push(this.statement());
    if (end !== undefined) this.need(end);
    return list;
  }

  /** @returns {Statement} */
  statement() {
    const token = this.peek();
    if (token.startsWith("@")) return marker(this.take());
    if (this.have("{")) return { k: "block", body: this.statements("}") };
    if (this.have("if")) {
      this.need("(");
      const c = this.expression();
      this.need(")");
      const then = this.statement();
      return { k: "if", c, then, other: this.have("else") ? this.statement() : undefined };
    }
    if (this.have("switch")) return this.switchStatement();
    let made;
    if (this.have("break")) made = /** @type {Statement} */ ({ k: "break" });
    else if (this.have("return")) {
      const name = this.take();
      this.need("(");
      made = /** @type {Statement} */ ({ k: "return", name, args: this.args() });
    } else if (token === "const" || token === "let") made = this.declaration();
    else if (["=", "-=", "+="].includes(this.peek(1))) {
      const name = this.take();
      const op = this.take();
      made = /** @type {Statement} */ ({ k: "set", name, op, value: this.expression() });
    } else made = /** @type {Statement} */ ({ k: "call", call: this.expression() });
    this.need(";");
    return made;
  }

  /** @returns {Statement} */
  declaration() {
    const changes = this.take() === "let";
    const name = this.take();
    const type = this.have(":") ? this.take() : undefined;
    return { k: "let", name, changes, type, value: this.have("=") ? this.expression() : undefined };
  }

  caseNumber() {
    this.need("case");
    return BigInt(this.take());
  }

  /** @returns {Statement} */
  switchStatement() {
    this.need("(");
    const value = this.expression();
    this.need(")");
    this.need("{");
    /** @type {[bigint | undefined, Statement[]][]} */
    const cases = [];
    while (!this.have("}")) {
      const number = this.have("default") ? undefined : this.caseNumber();
      this.need(":");
      const body = [];
      while (!["case", "default", "}"].includes(this.peek())) body.push(this.statement());
      cases.push([number, body]);
    }
    return { k: "switch", value, cases };
  }
}

/** @param {string} text @returns {Statement} */
function marker(text) {
  if (text === "@NEXT") return { k: "next" };
  const inner = text.slice(text.indexOf("(") + 1, -2);
  if (text.startsWith("@GO")) {
    const [rel, link] = inner.split(",").map(Number);
    return { k: "go", rel: rel ?? 0, link: link ?? 0 };
  }
  const [target = "", link, commit = "", check] = inner.split("|");
  return {
    k: "far",
    target: new Parser(tokens(target)).expression(),
    link: Number(link),
    commit: new Parser(tokens(commit)).statements(),
    check: check === "1",
  };
}

/** The statements of an operation's text. @param {string} body */
export function parseBody(body) {
  return new Parser(tokens(body)).statements();
}

/** One expression. @param {string} text */
export function parseExpression(text) {
  return new Parser(tokens(text)).expression();
}

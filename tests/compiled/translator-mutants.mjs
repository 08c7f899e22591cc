// @ts-check
/**
 * Mistakes that a translator can have, each as a text of src/engine/jit and what stands there instead. The comparisons of the
 * paths have to notice all of them: `node tests/compiled/mutants.mjs`.
 * @typedef {{ file: string, what: string, from: string, to: string }} Mutant
 */

/**
 * @param {string} file
 * @param {[what: string, from: string, to: string][]} rows
 * @returns {Mutant[]}
 */
const of = (file, rows) => rows.map(([what, from, to]) => ({ file, what, from, to }));

/** @type {readonly Mutant[]} */
export const MUTANTS = [
  ...of("translate.ts", [
    [
      "a check for reading used for writing",
      "if (address.op !== Node.I32) return load(instruction, address, offset);",
      "if (address.op !== Node.I32) return load(instruction, address, offset === 8 ? 0 : offset);",
    ],

    [
      "the kind of the flags is never written",
      "write(this.#code, value);\n    this.#code.set(this.placeOf(word));",
      "if (word === CC_OP) return;\n    write(this.#code, value);\n    this.#code.set(this.placeOf(word));",
    ],
    [
      "a changed word is not stored at the end",
      "this.changed.add(word);\n",
      "if (word.local % 5 !== 0) this.changed.add(word);\n",
    ],
    [
      "a changed word is not loaded at the entry",
      "this.used.add(word);\n    this.changed.add(word);",
      "this.changed.add(word);",
    ],
    [
      "the second way of a choice is left out",
      "code.otherwise();\n      this.#statement(other);",
      "code.otherwise();",
    ],
    [
      "a choice that is known takes the other way",
      "if (c.k !== 0) this.#statement(then);",
      "if (c.k === 0) this.#statement(then);",
    ],
    [
      "a value that is known takes the other one",
      "this.#evaluate(c.k !== 0 ? third",
      "this.#evaluate(c.k === 0 ? third",
    ],
    ["a parent's record is forgotten behind a jump", "this.#record = outer.record;", ""],
    [
      "a local is free while its record uses it",
      "this.#taken.push([type, at]);",
      "this.#pool(type).push(at);",
    ],
    [
      "an exit is at the record behind",
      "sites.push({ record, why, detail })",
      "sites.push({ record: record + 32, why, detail })",
    ],
    ["the address of an exit is not set", "write(code, va);\n      code.set(VA);", ""],
    [
      "the state is not stored for a complete handler",
      "this.synchronised.push({ at: code.length, load: false });\n",
      "",
    ],
    [
      "the state is not loaded behind a complete handler",
      "this.synchronised.push({ at: code.length, load: true });\n",
      "",
    ],
    [
      "the kind of the flags survives a complete handler",
      "this.flagsKind = undefined;\n    code.get(SITE);",
      "code.get(SITE);",
    ],
    [
      "a region goes on behind a handler that leaves",
      "this.leave(Why.HANDLED, 0, undefined, record);",
      "",
    ],

    [
      "one instruction of each block is not counted",
      "code.i32(this.#view.getInt32(this.#record + 40, true));",
      "code.i32(this.#view.getInt32(this.#record + 40, true) - 1);",
    ],
    [
      "AH is AL when it is stored",
      "const mask = ((1n << BigInt(bits)) - 1n) << BigInt(byte * BYTE);",
      "const mask = (1n << BigInt(bits)) - 1n;",
    ],
    ["AH is AL when it is read", "i32(found.byte * BYTE)", "i32(0)"],
    [
      "a byte that is read has sixteen bits",
      "return binary(Op.I32_AND, part, i32(U8));",
      "return binary(Op.I32_AND, part, i32(U16));",
    ],
    ["a byte that is stored goes into the lowest one", "i64(BigInt(byte * BYTE)));", "i64(0n));"],
    [
      "a byte that is stored clears the rest of its register",
      "const kept = binary(Op.I64_AND, this.word(word), i64(~mask));",
      "const kept = i64(0n);",
    ],
    [
      "the word that is zero is not",
      "return instruction === Op.I64_LOAD ? i64(0n) : i32(0);",
      "return instruction === Op.I64_LOAD ? i64(1n) : i32(1);",
    ],
    [
      "a displacement has sixteen bits",
      "return i32(view.getInt32(at, true));",
      "return i32(view.getInt16(at, true));",
    ],
    [
      "an immediate has no sign",
      "return i64(view.getBigInt64(at, true));",
      "return i64(BigInt(view.getUint32(at, true)));",
    ],
    [
      "a variable keeps the value that it began with",
      "write(this.#code, value);\n    this.#code.set(to.k);",
      "void value;",
    ],
    [
      "a choice takes the first case that does not fit",
      "if (words[i] === value.k) {",
      "if (words[i] !== value.k) {",
    ],
  ]),
  ...of("graph.ts", [
    [
      "a region has blocks of both widths",
      "if (block === undefined || !sameMode(block, first)) continue;",
      "if (block === undefined) continue;",
    ],
  ]),
  ...of("translate.ts", [
    [
      "what a complete handler leaves of the budget is not taken over",
      "code.get(SITE);\n    code.set(BUDGET);",
      "",
    ],
  ]),
  ...of("vector.ts", [
    [
      "the upper half of a vector is the lower",
      "laneOf(Op.I64_LANE, byte >> 3, whole)",
      "laneOf(Op.I64_LANE, 0, whole)",
    ],
    [
      "half of a vector is stored into the lower one",
      "? toLane(Op.I64_TO_LANE, byte >> 3, whole, value)",
      "? toLane(Op.I64_TO_LANE, 0, whole, value)",
    ],
    [
      "a double that moves goes into the lower half",
      ": toLane(Op.F64_TO_LANE, byte >> 3, whole, float);",
      ": toLane(Op.F64_TO_LANE, 0, whole, float);",
    ],
    [
      "a double that is stored is not",
      "return toLane(Op.F64_TO_LANE, byte >> 3, whole, value);",
      "return whole;",
    ],
    [
      "a float is stored into its upper neighbour",
      ": toLane(Op.F32_TO_LANE, byte >> 2, whole, float);",
      ": toLane(Op.F32_TO_LANE, 1, whole, float);",
    ],
  ]),
  ...of("translate.ts", [
    [
      "a part of a vector changes with it",
      "return laneOf(value.detail, value.k, this.keep(Type.V128, a));",
      "return value;",
    ],
    ["a word that has no local yet gets that of another", "this.#places.set(word, at);", ""],
  ]),
  ...of("region.ts", [
    ["PAGE_BASE stays behind a jump to another page", "translator.setWord(PAGE_BASE, page);", ""],
    [
      "a jump to another page does not compare the TLB's entry",
      "binary(Op.I64_EQ, load(Op.I64_LOAD, entry, FetchTlb.TAG), page)",
      "i32(1)",
    ],
    [
      "a jump goes to the first place that is known",
      "binary(Op.I32_EQ, linear, i32(node.block.linear))",
      "i32(1)",
    ],
    [
      "a jump to another page does not look at the budget",
      "code.byte(Op.I32_GE_S);",
      "code.op(0x1a);\n        code.op(0x1a);\n        code.i32(1);",
    ],
    [
      "a near jump does not look at the budget",
      "code.byte(Op.I32_LT_S);",
      "code.op(0x1a);\n    code.op(0x1a);\n    code.i32(0);",
    ],
    ["what a jump changes is left out", "commit();\n        translator", "translator"],
    ["what a jump out changes is left out", "commit();\n    translator.leave", "translator.leave"],
    [
      "a target that is not canonical is jumped to",
      "if (check) this.#leaveUnlessCanonical(t, record);",
      "",
    ],
    [
      "the kind of the flags is known where ways meet",
      "if (node.loops || node.forward > 1) translator.flagsKind = undefined;",
      "",
    ],
    [
      "an entry is taken for ever",
      "if (last) {\n        code.i32(0);\n        code.set(ENTRY);\n      }",
      "",
    ],
    ["each entry is the head", "if (node.inner.length > 0) this.#enter(node);", ""],
    ["the budget is not given back", "put(code, Op.I32_STORE, this.#out.budget, BUDGET);", ""],
    [
      "nothing is stored at the end",
      "this.#translator.synchronised.push({ at: code.length, load: false });\n    put",
      "put",
    ],
    [
      "the TLB of another half is used",
      "code.access(Op.I32_LOAD, TLB_AT);",
      "code.access(Op.I32_LOAD, TLB_AT + 4);",
    ],
    [
      "the first record of a block is left out",
      "for (let p = block.address; ; p += RECORD_BYTES) {",
      "for (let p = block.address === block.last ? block.last : block.address + RECORD_BYTES; ; p += RECORD_BYTES) {",
    ],
  ]),
  ...of("expression.ts", [
    [
      "a select gives the other value",
      "write(code, a);\n    write(code, b);\n    write(code, c);",
      "write(code, b);\n    write(code, a);\n    write(code, c);",
    ],
    [
      "a load forgets its offset",
      "write(code, e.a);\n  code.access(e.detail, e.k);",
      "write(code, e.a);\n  code.access(e.detail, 0);",
    ],
    ["a sum of constants is a difference", "106: (a, b) => a + b,", "106: (a, b) => a - b,"],
    [
      "a number of 32 bits that grows has a sign",
      "return i64(BigInt(a.k >>> 0));",
      "return i64(BigInt(a.k));",
    ],
  ]),
  ...of("graph.ts", [
    [
      "a region has the head's first block twice",
      "const key = keyOf(view, block, from);\n    const known",
      "const key = block.address;\n    const known",
    ],
    [
      "the other way of a jump leads where the first does",
      "linked(view, block, link);",
      "linked(view, block, TAKEN);",
    ],
    [
      "only the nearest block dominates",
      "while (at.order > a.order) at = up(at);\n  return at === a;",
      "return at.order >= a.order;",
    ],
  ]),
  ...of("state.ts", [
    [
      "registers take the place of their neighbours",
      "WORDS[(address - GPR_AT) >> 3];",
      "WORDS[((address - GPR_AT) >> 3) ^ 1];",
    ],
    ["each byte of a register is the lowest", "byte: (address - GPR_AT) & 7", "byte: 0"],
  ]),
  ...of("code.ts", [
    [
      "small numbers are negative",
      "(rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {\n        this.byte(low);\n        return;\n      }\n      this.byte(low | 0x80);\n    }\n  }\n\n  /** A signed LEB128 number of 64",
      "rest === 0 || rest === -1) {\n        this.byte(low);\n        return;\n      }\n      this.byte(low | 0x80);\n    }\n  }\n\n  /** A signed LEB128 number of 64",
    ],
  ]),
  ...of("compiler.ts", [
    [
      "an exit has the details of none",
      "view.setUint16(place + 6, site.detail, true);",
      "view.setUint16(place + 6, 0, true);",
    ],
    [
      "each exit is a jump on its page",
      "view.setUint8(place + 4, site.why);",
      "view.setUint8(place + 4, Why.GO_NEAR);",
    ],
    [
      "an exit belongs to the record behind",
      "view.setUint32(place, site.record, true);",
      "view.setUint32(place, site.record + 32, true);",
    ],
  ]),
  ...of("expression.ts", [
    [
      "the arms of a choice change places",
      "write(code, a);\n  code.otherwise();\n  write(code, b);",
      "write(code, b);\n  code.otherwise();\n  write(code, a);",
    ],
    [
      "operands change places",
      "if (e.a !== undefined) write(code, e.a);\n  if (e.b !== undefined) write(code, e.b);",
      "if (e.b !== undefined) write(code, e.b);\n  if (e.a !== undefined) write(code, e.a);",
    ],
    [
      "what is added to zero is zero",
      "if (isZero(b) && NEUTRAL.has(op)) return a;",
      "if (isZero(b) && NEUTRAL.has(op)) return b;",
    ],
    ["a number that is cut has 16 bits", "BigInt.asIntN(32, a.big)", "BigInt.asIntN(16, a.big)"],
  ]),
];

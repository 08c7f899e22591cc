// @ts-check
/** ADD OR ADC SBB AND SUB XOR CMP in all forms; INC DEC NEG NOT TEST. */
const hex = (/** @type {number} */ n) => n.toString(16).toUpperCase().padStart(2, "0");

const OPERATIONS = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
/** @type {Record<string, string>} */
const FILES = { or: "logic", and: "logic", xor: "logic" };

/**
 * The eight operations share one scheme: opcodes 8n to 8n+5, and /n of 80 to 83.
 * @param {string} op
 * @param {number} n
 */
function regular(op, n) {
  const handler = (/** @type {string} */ form, /** @type {string} */ type) =>
    `ops/${FILES[op] ?? "alu"}:${op}_${form}<${type}>`;
  const lock = op === "cmp" ? "" : "lock";
  const at = n * 8;
  return [
    `${hex(at)} /r | ${op} Eb,Gb | ${handler("EG", "b")} | ${lock}`,
    `${hex(at + 1)} /r | ${op} Ev,Gv | ${handler("EG", "v")} | ${lock}`,
    `${hex(at + 2)} /r | ${op} Gb,Eb | ${handler("GE", "b")}`,
    `${hex(at + 3)} /r | ${op} Gv,Ev | ${handler("GE", "v")}`,
    `${hex(at + 4)} ib | ${op} AL,Ib | ${handler("AI", "b")}`,
    `${hex(at + 5)} iz | ${op} rAX,Iz | ${handler("AI", "v")}`,
    `80 /${n} ib | ${op} Eb,Ib | ${handler("EI", "b")} | ${lock}`,
    `81 /${n} iz | ${op} Ev,Iz | ${handler("EI", "v")} | ${lock}`,
    `82 /${n} ib | ${op} Eb,Ib | ${handler("EI", "b")} | ${lock} i64`,
    `83 /${n} ib | ${op} Ev,Ib | ${handler("EI", "v")} | ${lock}`,
  ];
}

export default [
  ...OPERATIONS.flatMap(regular),
  "40 +r | inc Zv | ops/alu:inc_Z<v> | i64",
  "48 +r | dec Zv | ops/alu:dec_Z<v> | i64",
  "FE /0 | inc Eb | ops/alu:inc_E<b> | lock",
  "FF /0 | inc Ev | ops/alu:inc_E<v> | lock",
  "FE /1 | dec Eb | ops/alu:dec_E<b> | lock",
  "FF /1 | dec Ev | ops/alu:dec_E<v> | lock",
  "F6 /2 | not Eb | ops/logic:not_E<b> | lock",
  "F7 /2 | not Ev | ops/logic:not_E<v> | lock",
  "F6 /3 | neg Eb | ops/alu:neg_E<b> | lock",
  "F7 /3 | neg Ev | ops/alu:neg_E<v> | lock",
  "84 /r | test Eb,Gb | ops/logic:test_EG<b>",
  "85 /r | test Ev,Gv | ops/logic:test_EG<v>",
  "A8 ib | test AL,Ib | ops/logic:test_AI<b>",
  "A9 iz | test rAX,Iz | ops/logic:test_AI<v>",
  "F6 /0 ib | test Eb,Ib | ops/logic:test_EI<b>",
  "F7 /0 iz | test Ev,Iz | ops/logic:test_EI<v>",
  // /1 is /0 once more, as AMD documents and all processors do.
  "F6 /1 ib | test Eb,Ib | ops/logic:test_EI<b>",
  "F7 /1 iz | test Ev,Iz | ops/logic:test_EI<v>",
];

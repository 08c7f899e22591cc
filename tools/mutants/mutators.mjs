// @ts-check

/**
 * What the instrumenter's own list lacks, and what this code is made of: numbers, bits, and statements of
 * one line. With Stryker's sixteen this is the fixed list that the figures count; nothing is taken from it
 * but texts of messages.
 *
 * @typedef {import("./packages.js").Babel} Babel
 * @typedef {import("./packages.js").Ignorer} Ignorer
 * @typedef {import("./packages.js").Mutator} Mutator
 * @typedef {import("./packages.js").Node} Node
 */

const bits = new Map([
  ["&", "|"],
  ["|", "&"],
  ["^", "&"],
  ["<<", ">>"],
  [">>", "<<"],
  [">>>", "<<"],
]);
const bitAssignments = new Map([
  ["&=", "|="],
  ["|=", "&="],
  ["^=", "&="],
]);

/**
 * @param {Babel} babel
 * @returns {Mutator[]}
 */
export function ownMutators(babel) {
  const { types } = babel;
  const changed = (/** @type {Node} */ node, /** @type {string} */ operator) => {
    const copy = types.cloneNode(node, true, false);
    copy.operator = operator;
    return copy;
  };
  return [
    {
      name: "BitwiseOperator",
      *mutate({ node }) {
        const table = types.isBinaryExpression(node) ? bits : bitAssignments;
        if (!types.isBinaryExpression(node) && !types.isAssignmentExpression(node)) return;
        const other = table.get(node.operator ?? "");
        if (other !== undefined) yield changed(node, other);
      },
    },
    {
      // One more; a mask loses its lowest bits, a shift goes one further, a size becomes odd.
      name: "NumberLiteral",
      *mutate({ node, parent, key }) {
        const isKey = key === "key" && !parent.computed;
        if (isKey || types.isTSEnumMember(parent) || types.isTSLiteralType(parent)) return;
        const { value } = node;
        if (types.isNumericLiteral(node)) yield types.numericLiteral(Number(value) + 1);
        if (types.isBigIntLiteral(node))
          yield types.bigIntLiteral(String(BigInt(String(value)) + 1n));
      },
    },
    {
      // A block of one statement is emptied by BlockStatement already.
      name: "StatementRemoval",
      *mutate({ node, parent }) {
        if (!types.isExpressionStatement(node)) return;
        const { body } = parent;
        if (types.isBlockStatement(parent) && Array.isArray(body) && body.length === 1) return;
        const call = node.expression;
        if (types.isCallExpression(call) && types.isSuper(call?.callee)) return;
        yield types.emptyStatement();
      },
    },
  ];
}

/** Calls whose later arguments are words for people. */
const speaks = new Set(["refuse", "assert", "KvmError", "HostError", "fail"]);
/** Methods of a log. */
const logs = new Set(["debug", "info", "warn", "error"]);

/**
 * Says which nodes are texts of messages: all that a thrown Error or a log says, and every argument but the
 * first of a refusal or assertion.
 * @param {Babel} babel
 * @returns {Ignorer}
 */
export function messageTexts(babel) {
  const { types } = babel;
  return {
    shouldIgnore({ node, parent, key, listKey }) {
      const text =
        types.isStringLiteral(node) ||
        types.isTemplateLiteral(node) ||
        types.isConditionalExpression(node) ||
        types.isBinaryExpression(node, { operator: "+" });
      if (!text || listKey !== "arguments") return undefined;
      if (!types.isCallExpression(parent) && !types.isNewExpression(parent)) return undefined;
      const { callee } = parent;
      const name = String(callee?.name ?? callee?.property?.name ?? "");
      if (name.endsWith("Error") && !speaks.has(name)) return "text of a message";
      if (types.isMemberExpression(callee) && logs.has(name)) return "text of a message";
      return speaks.has(name) && Number(key) > 0 ? "text of a message" : undefined;
    },
  };
}

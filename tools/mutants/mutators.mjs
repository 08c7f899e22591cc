// @ts-check

/**
 * What the instrumenter's own list lacks, and what this code is made of: numbers, bits, and statements of
 * one line. With Stryker's sixteen this is the fixed list that the figures count; nothing is taken from it
 * but texts of messages.
 *
 * @typedef {object} NodePath a path of Babel's traversal, as far as it is used here
 * @property {any} node
 * @property {any} parent
 * @property {any} key
 * @property {any} listKey
 * @typedef {{ name: string, mutate(path: NodePath): Generator<any> }} Mutator
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
 * @param {any} babel
 * @returns {Mutator[]}
 */
export function ownMutators(babel) {
  const { types } = babel;
  const changed = (/** @type {any} */ node, /** @type {string} */ operator) => {
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
        const other = table.get(node.operator);
        if (other !== undefined) yield changed(node, other);
      },
    },
    {
      // One more; a mask loses its lowest bits, a shift goes one further, a size becomes odd.
      name: "NumberLiteral",
      *mutate({ node, parent, key }) {
        const isKey = key === "key" && !parent.computed;
        if (isKey || types.isTSEnumMember(parent) || types.isTSLiteralType(parent)) return;
        if (types.isNumericLiteral(node)) yield types.numericLiteral(node.value + 1);
        if (types.isBigIntLiteral(node)) yield types.bigIntLiteral(String(BigInt(node.value) + 1n));
      },
    },
    {
      // A block of one statement is emptied by BlockStatement already.
      name: "StatementRemoval",
      *mutate({ node, parent }) {
        if (!types.isExpressionStatement(node)) return;
        if (types.isBlockStatement(parent) && parent.body.length === 1) return;
        if (types.isCallExpression(node.expression) && types.isSuper(node.expression.callee))
          return;
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
 * @param {any} babel
 */
export function messageTexts(babel) {
  const { types } = babel;
  return {
    /** @param {NodePath} path */
    shouldIgnore({ node, parent, key, listKey }) {
      const text =
        types.isStringLiteral(node) ||
        types.isTemplateLiteral(node) ||
        types.isConditionalExpression(node) ||
        types.isBinaryExpression(node, { operator: "+" });
      if (!text || listKey !== "arguments") return undefined;
      if (!types.isCallExpression(parent) && !types.isNewExpression(parent)) return undefined;
      const name = parent.callee.name ?? parent.callee.property?.name ?? "";
      if (name.endsWith("Error") && !speaks.has(name)) return "text of a message";
      if (types.isMemberExpression(parent.callee) && logs.has(name)) return "text of a message";
      return speaks.has(name) && key > 0 ? "text of a message" : undefined;
    },
  };
}

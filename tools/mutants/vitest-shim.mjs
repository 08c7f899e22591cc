// @ts-check
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  addCustomEqualityTesters,
  chai,
  customMatchers,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";

/**
 * What unit tests import from vitest, without its processes: a file's cases become functions, and `expect` is
 * vitest's own.
 * @typedef {() => unknown} Body
 * @typedef {{ name: string, run: () => Promise<void> }} Case
 * @typedef {{ name: string, beforeAll: Body[], afterAll: Body[], beforeEach: Body[], afterEach: Body[], parent: Suite | undefined }} Suite
 */

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
// Element by element, as vitest compares them, pages of memory take most of the time of all tests.
addCustomEqualityTesters([
  (a, b) =>
    a instanceof Uint8Array && b instanceof Uint8Array && a.constructor === b.constructor
      ? Buffer.compare(a, b) === 0
      : undefined,
]);
const shown = (/** @type {unknown} */ value, /** @type {string} */ message) =>
  chai.expect(value, message);
Object.assign(shown, chai.expect);
export const expect = /** @type {import("vitest").ExpectStatic} */ (/** @type {unknown} */ (shown));
Object.assign(expect, Reflect.get(globalThis, ASYMMETRIC_MATCHERS_OBJECT));
setState({ assertionCalls: 0, testPath: "", currentTestName: "" }, expect);
Reflect.get(chai.expect, "extend").call(chai.expect, expect, customMatchers);

/**
 * @param {string} name
 * @param {Suite} [parent]
 * @returns {Suite}
 */
const suite = (name, parent) => ({
  name,
  beforeAll: [],
  afterAll: [],
  beforeEach: [],
  afterEach: [],
  parent,
});

let current = suite("");
/** @type {Case[]} */
let cases = [];

/**
 * Loads one test file.
 * @param {() => Promise<unknown>} load
 * @returns {Promise<Case[]>}
 */
export async function collect(load) {
  current = suite("");
  cases = [];
  await load();
  return cases;
}

/** The suites around a case, outermost first. @param {Suite} inner */
function around(inner) {
  const all = [];
  for (let at = /** @type {Suite | undefined} */ (inner); at !== undefined; at = at.parent)
    all.unshift(at);
  return all;
}

/**
 * Runs a case between its hooks, those of its whole suites included: every case stands alone, because a mutant
 * may sit in what beforeAll makes.
 * @param {Suite[]} suites outermost first
 * @param {Body} body
 */
async function runCase(suites, body) {
  const inward = suites.toReversed();
  for (const each of suites) for (const hook of each.beforeAll) await hook();
  for (const each of suites) for (const hook of each.beforeEach) await hook();
  try {
    await body();
  } finally {
    for (const each of inward) for (const hook of each.afterEach) await hook();
    for (const each of inward) for (const hook of each.afterAll) await hook();
  }
}

/**
 * A title with vitest's placeholders left as they are, made different by a number.
 * @template T
 * @param {(title: string, body: (...values: unknown[]) => unknown) => void} one
 * @returns {(rows: T[]) => (title: string, body: (...values: unknown[]) => unknown) => void}
 */
const each = (one) => (rows) => (title, body) => {
  rows.forEach((row, i) => {
    const values = Array.isArray(row) ? row : [row];
    one(`${title} [${i}]`, () => body(...values));
  });
};

export const describe = (/** @type {string} */ name, /** @type {Body} */ body) => {
  current = suite(name, current);
  body();
  current = current.parent ?? suite("");
};

/** @param {string} name @param {Body | object} a options, when a body follows @param {Body} [b] */
export const it = (name, a, b) => {
  const body = /** @type {Body} */ (typeof a === "function" ? a : b);
  const suites = around(current);
  const names = suites.map((part) => part.name);
  const full = [...names, name].filter((part) => part !== "").join(" > ");
  cases.push({ name: full, run: () => runCase(suites, body) });
};
const skip = () => {};
describe.each = each(describe);
describe.skip = skip;
describe.skipIf = (/** @type {boolean} */ no) => (no ? skip : describe);
describe.runIf = (/** @type {boolean} */ yes) => (yes ? describe : skip);
it.each = each(it);
it.skip = skip;
it.skipIf = (/** @type {boolean} */ no) => (no ? skip : it);
it.runIf = (/** @type {boolean} */ yes) => (yes ? it : skip);
export const test = it;

export const beforeAll = (/** @type {Body} */ hook) => void current.beforeAll.push(hook);
export const afterAll = (/** @type {Body} */ hook) => void current.afterAll.push(hook);
export const beforeEach = (/** @type {Body} */ hook) => void current.beforeEach.push(hook);
export const afterEach = (/** @type {Body} */ hook) => void current.afterEach.push(hook);

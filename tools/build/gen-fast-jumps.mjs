// @ts-check
/**
 * How a fast operation leaves its block. The texts of the operations name it only, by a marker, since
 * the hot loop and compiled regions do it differently:
 *
 *   @GO(REL,LINK)@                     to the block of the link at LINK, which needs no check; REL is where the
 *                                      record has its address relative to PAGE_BASE
 *   @FAR(TARGET|LINK|COMMIT|CHECK)@    to the address TARGET, anywhere. COMMIT changes registers when it is known
 *                                      that the address can be fetched from; CHECK 1: a target that
 *                                      is not canonical faults before that, in the complete handler
 */
import { fetchEntryOf } from "./gen-fast-text.mjs";
import { codeAt, textFor } from "./gen-fast-width.mjs";

const slow = (/** @type {string} */ target, /** @type {string} */ link) =>
  `return goTo(p, ${target}, ${link}, budget);`;

/** @typedef {import("./gen-fast-width.mjs").Word} Word */

/** @param {string} rel @param {string} link @param {Word} w */
const near = (rel, link, w) =>
  `{ const q = load<u32>(p, ${link}); if (budget >= load<i32>(q - 20)) { p = q; continue; } ${slow(codeAt(w, rel), link)} }`;

/** The target's page is compared before the link is used. @param {string} target @param {string} link @param {string} commit @param {string} check @param {Word} w */
const far = (target, link, commit, check, w) =>
  `{ const t: u64 = ${target}; ${fetchEntryOf("t")} if (load<u64>(e, 24) == (t & PAGE_MASK)) { const lin: u32 = <u32>t + load<u32>(e, 16); const key: u64 = <u64>lin | ${w === 8 ? "KEY64" : "keys"}; let q = load<u32>(p, ${link}); if (load<u64>(q - 32) != key) { q = load<u32>(BLOCK_HASH_AT + (((lin ^ (lin >> 15)) & HASH_MASK) << 2)); if (q == 0 || load<u64>(q - 32) != key) q = DEAD_BLOCK; else store<u32>(p, q, ${link}); } if (budget >= load<i32>(q - 20)) { ${commit} store<u64>(PAGE_BASE, t & PAGE_MASK); p = q; continue; } } ${check === "1" ? "if (((<i64>t << 16) >> 16) != <i64>t) return retry(p, budget);" : ""} ${commit} ${slow("t", link)} }`;

/** The text of an operation for the hot loop of one kind of code. @param {import("./gen-fast-ops.mjs").Operation} op @param {Word} w */
export function hotText(op, w) {
  return textFor(op, w)
    .replaceAll(/@GO\((\d+),(\d+)\)@/g, (_, rel, link) => near(rel, link, w))
    .replaceAll(/@FAR\(([^|]*)\|(\d+)\|([^|]*)\|([01])\)@/g, (_, target, link, commit, check) =>
      far(target, link, commit, check, w),
    );
}

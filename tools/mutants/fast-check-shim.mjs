// @ts-check
import fc from "fast-check";

/** Runs of a property: a mutant that shows now and then is for other cases. */
const RUNS = 30;

// The same properties in every run, and none made smaller: that one fails is enough.
fc.configureGlobal({ seed: 1, endOnFailure: true });

/**
 * @template T
 * @param {import("fast-check").IRawProperty<T>} property
 * @param {import("fast-check").Parameters<T>} [options]
 */
const assert = (property, options) =>
  fc.assert(property, { ...options, numRuns: Math.min(options?.numRuns ?? RUNS, RUNS) });

/** What unit tests import from fast-check: as it is, with fewer runs. */
export default { ...fc, assert };

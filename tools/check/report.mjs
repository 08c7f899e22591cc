// @ts-check

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/**
 * How many tests a run of vitest had, from its JSON report. A file that could not be loaded counts
 * as one failed test.
 * @param {string} report
 * @returns {Counts}
 */
export function countsOf(report) {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } =
    JSON.parse(report);
  const broken = testResults.filter(
    (/** @type {{ status: string, assertionResults: unknown[] }} */ file) =>
      file.status === "failed" && file.assertionResults.length === 0,
  );
  return {
    passed: numPassedTests,
    failed: numFailedTests + broken.length,
    skipped: numPendingTests + numTodoTests,
  };
}

/**
 * The line that says how several runs went together.
 * @param {Counts[]} runs
 */
export function closingLine(runs) {
  const sum = (/** @type {keyof Counts} */ key) => runs.reduce((total, run) => total + run[key], 0);
  const skipped = sum("skipped") > 0 ? `, ${sum("skipped")} skipped` : "";
  return `${sum("passed")} passed, ${sum("failed")} failed${skipped}`;
}

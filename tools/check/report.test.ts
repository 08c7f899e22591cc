import { expect, it } from "vitest";
import { closingLine, countsOf } from "./report.mjs";

const report = (passed: number, failed: number, pending: number, testResults: unknown[] = []) =>
  JSON.stringify({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: pending,
    numTodoTests: 0,
    testResults,
  });

it("adds up runs", () => {
  const runs = [countsOf(report(10, 1, 0)), countsOf(report(5, 0, 2))];
  expect(closingLine(runs)).toBe("15 passed, 1 failed, 2 skipped");
});

it("leaves out what was not skipped", () => {
  expect(closingLine([countsOf(report(10, 0, 0))])).toBe("10 passed, 0 failed");
  expect(closingLine([])).toBe("0 passed, 0 failed");
});

it("counts a test file that does not load", () => {
  const broken = { status: "failed", assertionResults: [] };
  expect(countsOf(report(0, 0, 0, [broken])).failed).toBe(1);
});

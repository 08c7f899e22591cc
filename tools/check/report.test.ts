import { expect, it } from "vitest";
import { closingLine, type Report } from "./report.mjs";

const names = (count: number, name: string) => Array.from({ length: count }, (_, i) => name + i);
const report = (passed: number, failed: number, skipped: number, broken = 0): Report => ({
  tests: [...names(passed, "p"), ...names(failed, "f"), ...names(skipped, "s")],
  failed: names(failed, "f"),
  skipped: names(skipped, "s"),
  secondTries: [],
  broken,
});

it("adds up runs", () => {
  expect(closingLine([report(10, 1, 0), report(5, 0, 2)])).toBe("15 passed, 1 failed, 2 skipped");
});

it("leaves out what was not skipped", () => {
  expect(closingLine([report(10, 0, 0)])).toBe("10 passed, 0 failed");
  expect(closingLine([])).toBe("0 passed, 0 failed");
});

it("counts a test file that does not load", () => {
  expect(closingLine([report(3, 0, 0, 1)])).toBe("3 passed, 1 failed");
});

import { describe, expect, it } from "vitest";
import type { Need } from "./machine.mjs";
import { type Skip, skipProblems } from "./skips.mjs";
import { BUDGET_MINUTES, stages } from "./stages.mjs";

const list: Skip[] = [
  { run: "unit", test: /^a > packs/, needs: ["the program xz"] },
  { run: "unit", test: /^a > owns/, needs: ["to be root"], evenInCi: true },
  { run: "boot", test: /^b > /, needs: ["the program script"] },
];
const tests = ["a > packs", "a > owns", "a > runs"];

describe("what is skipped is what the list says", () => {
  const problems = (skipped: string[], lacks: Need[], ci = false) =>
    skipProblems("unit", { tests, skipped }, list, (need) => !lacks.includes(need), ci);

  it.each<[string, string[], Need[], boolean]>([
    ["nothing is skipped, nothing is missing", [], [], false],
    ["the same in CI", [], [], true],
    ["a program is missing", ["a > packs"], ["the program xz"], false],
    ["what may be missing in CI is missing", ["a > owns"], ["to be root"], true],
  ])("%s", (_name, skipped, lacks, ci) => {
    expect(problems(skipped, lacks, ci)).toEqual([]);
  });

  it.each<[string, string[], Need[], boolean, RegExp]>([
    ["a skip that is not listed", ["a > runs"], [], false, /without being on the list: a > runs/],
    ["a listed skip without its reason", ["a > packs"], [], false, /without being on the list/],
    ["a reason, and no skip", [], ["the program xz"], false, /not skipped without .*xz: a > packs/],
    ["a program that CI must have", ["a > packs"], ["the program xz"], true, /^not in CI/],
  ])("%s", (_name, skipped, lacks, ci, problem) => {
    const found = problems(skipped, lacks, ci);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(problem);
  });

  it("a row that names no test", () => {
    const found = skipProblems("boot", { tests: [], skipped: [] }, list, () => true, false);
    expect(found).toEqual(["the list of skips names no test: /^b > /"]);
  });
});

it("budgets of the stages fit into the whole", () => {
  const sum = Object.values(stages).reduce((total, stage) => total + stage.minutes, 0);
  expect(sum).toBeLessThanOrEqual(BUDGET_MINUTES);
});

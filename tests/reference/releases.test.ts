/** spec/kvm/releases.mjs: every recorded kernel's answers are given by the release that stands for it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readPatches } from "../../spec/kvm/patches.mjs";
import { quirkScenario } from "../../spec/kvm/quirks.mjs";
import { NOT_FOLLOWED, RECORDED, RELEASES } from "../../spec/kvm/releases.mjs";
import { LINUX_RELEASES, type LinuxRelease } from "../../src/kvm/index.js";
import { linuxRules } from "../../src/kvm/linux.js";
import { play, recordedAnswers } from "./answers.js";

const releases = Object.keys(RECORDED) as LinuxRelease[];
const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "latin1");

/** Parts of recordings that the newer release answers otherwise. */
const DIFFERING = [
  ...[...readPatches(text("src/ioctl/recorded/linux-7.2.txt")).keys()].map((at) => `ioctls/${at}`),
  ...[...readPatches(text("spec/kvm/differences-7.2.out")).keys()].map((at) => `differences/${at}`),
  ...text("spec/kvm/recorded-7.2.txt")
    .trimEnd()
    .split("\n")
    .map((line) => `answers/${line.split(" ").slice(0, 2).join(" ")}`),
];
/** Scenarios that it answers otherwise: most of them by rules that a row shows elsewhere. */
const SCENARIOS = [...readPatches(text("tests/vectors/linux-7.2.txt")).keys()];
const WITH_STEPS = RELEASES.flatMap((row) =>
  row.steps === undefined ? [] : [{ ...row, steps: row.steps }],
);

describe("releases of Linux", () => {
  it("are those that can be chosen", () => {
    expect(releases.sort()).toEqual([...LINUX_RELEASES].sort());
  });

  it("have a row for every rule of the code, which differs between them", () => {
    const [before, now] = [linuxRules("6.12"), linuxRules("7.2")];
    const rules = Object.keys(before).filter((name) => name !== "release");
    expect(RELEASES.map((row) => row.rule).sort()).toEqual(rules.sort());
    for (const rule of rules as (keyof typeof now)[])
      expect([rule, now[rule]]).not.toEqual([rule, before[rule]]);
  });

  it("differ in recordings that a row names, or what is not here", () => {
    const named = new Set([
      ...RELEASES.flatMap((row) => row.recorded ?? []),
      ...NOT_FOLLOWED.map(([at]) => at),
    ]);
    const known = [...DIFFERING, ...SCENARIOS];
    expect([...named].filter((at) => !known.includes(at))).toEqual([]);
    expect(DIFFERING.filter((at) => !named.has(at))).toEqual([]);
  });

  describe.each(releases)("%s", (release) => {
    const linux = recordedAnswers(`releases-${release}.out`);

    it.each(WITH_STEPS)("$title", async (row) => {
      expect(await play(quirkScenario(row), release)).toEqual(linux.get(row.title));
    });
  });

  it.each(WITH_STEPS)("differ in: $title", (row) => {
    const answers = releases.map((release) => recordedAnswers(`releases-${release}.out`));
    const texts = answers.map((linux) => linux.get(row.title)?.join("\n"));
    expect(new Set(texts).size).toBe(releases.length);
  });
});

/** Differences that a scenario shows: Linux answered other than this library, there and only there. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DIFFERENCES } from "../../spec/kvm/differences.mjs";
import { patched, readPatches } from "../../spec/kvm/patches.mjs";
import { SHOWN, shownScenario } from "../../spec/kvm/shown.mjs";
import { play, recordedAnswers } from "./answers.js";

const recorded = recordedAnswers("differences.out");

it("each has a recording and a row, and the recordings no other", () => {
  const titles = SHOWN.map((shown) => shown.what);
  expect([...recorded.keys()]).toEqual(titles);
  const rows = DIFFERENCES.flatMap((group) => group.rows.map(([what]) => what));
  expect(titles.filter((what) => !rows.includes(what))).toEqual([]);
});

const newer = readPatches(
  readFileSync(new URL("../../spec/kvm/differences-7.2.out", import.meta.url), "utf8"),
);

it("Linux 7.2 answers those alike that do not say otherwise", () => {
  const other = SHOWN.filter((shown) => shown.as7).map((shown) => shown.what);
  expect([...newer.keys()].sort()).toEqual(other.sort());
});

it.each(SHOWN.filter((shown) => shown.as7))("$what: as Linux 7.2 answered", async (shown) => {
  const linux = patched(recorded.get(shown.what) ?? [], newer.get(shown.what));
  expect(await play(shownScenario(shown), "7.2")).toEqual(linux);
});

describe.each(SHOWN)("$what", (shown) => {
  it("is other than Linux answered, in these answers only", async () => {
    const linux = recorded.get(shown.what) ?? [];
    const wanted = [...linux];
    for (const [step, answer] of Object.entries(shown.here)) {
      const at = shown.steps.lastIndexOf(step);
      const line = step.startsWith("v0 regs") ? `${step} ${answer}` : `${step} = ${answer}`;
      expect(linux[at]).not.toBe(line);
      wanted[at] = line;
    }
    expect(await play(shownScenario(shown))).toEqual(wanted);
  });
});

/** spec/kvm/releases.mjs: every recorded kernel's answers are given by the release that stands for it. */
import { describe, expect, it } from "vitest";
import { quirkScenario } from "../../spec/kvm/quirks.mjs";
import { RECORDED, RELEASES } from "../../spec/kvm/releases.mjs";
import { LINUX_RELEASES, type LinuxRelease } from "../../src/kvm/index.js";
import { play, recordedAnswers } from "./answers.js";

const releases = Object.keys(RECORDED) as LinuxRelease[];

describe("releases of Linux", () => {
  it("are those that can be chosen", () => {
    expect(releases.sort()).toEqual([...LINUX_RELEASES].sort());
  });

  describe.each(releases)("%s", (release) => {
    const linux = recordedAnswers(`releases-${release}.out`);

    it.each(RELEASES)("$title", async (row) => {
      expect(await play(quirkScenario(row), release)).toEqual(linux.get(row.title));
    });
  });

  it.each(RELEASES)("differ in: $title", (row) => {
    const answers = releases.map((release) => recordedAnswers(`releases-${release}.out`));
    const texts = answers.map((linux) => linux.get(row.title)?.join("\n"));
    expect(new Set(texts).size).toBe(releases.length);
  });
});

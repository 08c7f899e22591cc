/** spec/kvm/quirks.mjs: what the page shows is what Linux answered, and this library answers it too. */
import { describe, expect, it } from "vitest";
import { QUIRKS, quirkScenario } from "../../spec/kvm/quirks.mjs";
import { play, recordedAnswers, recordedBy72 } from "./answers.js";

const recorded = recordedAnswers("quirks.out");
const newer = recordedBy72("quirks");

it("each has a recording, and the recordings no other", () => {
  expect([...recorded.keys()]).toEqual(QUIRKS.map((quirk) => quirk.title));
});

describe.each(QUIRKS)("$title", (quirk) => {
  it("is as Linux answered", async () => {
    const scenario = quirkScenario(quirk);
    const lines = recorded.get(quirk.title) ?? [];
    const steps = scenario.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(lines.map((line) => line.split(" = ")[0])).toEqual(steps);
    expect(await play(scenario)).toEqual(lines);
  });

  it("is as Linux 7.2 answered", async () => {
    expect(await play(quirkScenario(quirk), "7.2")).toEqual(newer.get(quirk.title));
  });
});

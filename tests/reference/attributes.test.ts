/** spec/kvm/attributes.mjs: claims, what Linux answered, and what this library answers. */
import { describe, expect, it } from "vitest";
import { ATTRIBUTES, rowScenario, SETUP, stepOf } from "../../spec/kvm/attributes.mjs";
import { KvmXenHvmAttrType, KvmXenVcpuAttrType } from "../../src/abi/kvm/index.js";
import { play, recordedAnswers, recordedBy72 } from "./answers.js";

const recorded = recordedAnswers("attributes.out");

it("every attribute of the headers has a row", () => {
  const named = (of: string): Record<string, number> =>
    Object.fromEntries(
      ATTRIBUTES.filter((row) => row.of === of).map((row) => [row.name, row.type]),
    );
  expect(named("hvm")).toEqual(KvmXenHvmAttrType);
  expect(named("vcpu")).toEqual(KvmXenVcpuAttrType);
});

describe.each(ATTRIBUTES)("$of $name", (row) => {
  const lines = recorded.get(`${row.of} ${row.name}`) ?? [];

  it("Linux answered what the row claims", () => {
    const answers = lines.slice(SETUP.length + 1).map((line) => line.split(" = "));
    const short = answers.map(([step, answer = ""]) => [step, answer.split(" ")[0]]);
    expect(short).toEqual(row.claims.map((claim) => [stepOf(row, claim), claim[2]]));
  });

  it("the library answers what Linux answered", async () => {
    expect(await play(rowScenario(row))).toEqual(lines);
  });

  it("the library answers what Linux 7.2 answered", async () => {
    const newer = recordedBy72("attributes").get(`${row.of} ${row.name}`);
    expect(await play(rowScenario(row), "7.2")).toEqual(newer);
  });
});

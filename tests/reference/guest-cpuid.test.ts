/** spec/kvm/guest-cpuid.mjs: each row is as Linux answered, or as was read, and this library does the same. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  ELSEWHERE,
  GUEST_CPUID,
  type GuestCpuidRow,
  guestCpuidName,
  guestCpuidOutcomes,
  guestCpuidScenario,
} from "../../spec/kvm/guest-cpuid.mjs";
import { play, recordedAnswers } from "./answers.js";

const recorded = recordedAnswers("guest-cpuid.out");
const rows: GuestCpuidRow[] = GUEST_CPUID.flatMap((part) => part.rows);
const named = rows.map((row) => ({ row, name: guestCpuidName(row) }));
const asked = named.filter(({ row }) => row.read === undefined);
const said = (row: GuestCpuidRow) => [row.set, row.clear, row.none];

it("has a recording for each row that was asked, and for no other", () => {
  expect([...recorded.keys()].sort()).toEqual(asked.map(({ name }) => name).sort());
});

it("has every row once", () => {
  expect(new Set(named.map(({ name }) => name)).size).toBe(rows.length);
});

describe("Linux answered", () => {
  it.each(asked)("$name", ({ row, name }) => {
    const lines = recorded.get(name) ?? [];
    const steps = guestCpuidScenario(row).trimEnd().split("\n");
    expect(lines.map((line) => line.split(" = ")[0])).toEqual(steps);
    expect(guestCpuidOutcomes(row, lines)).toEqual(said(row));
  });
});

describe("this library answers", () => {
  it.each(named)("$name", async ({ row }) => {
    expect(guestCpuidOutcomes(row, await play(guestCpuidScenario(row)))).toEqual(said(row));
  });
});

it.each(ELSEWHERE)("elsewhere: %s", (_what, _needs, scenarios) => {
  const names = readdirSync(new URL("../vectors/topics/", import.meta.url));
  const pattern = new RegExp(`^${scenarios.replace("*", ".*")}\\.out$`);
  expect(names.filter((name) => pattern.test(name))).not.toEqual([]);
});

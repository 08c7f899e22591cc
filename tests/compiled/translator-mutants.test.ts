import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { MUTANTS } from "./translator-mutants.mjs";

it("each mistake has its place in the translator", () => {
  for (const { file, what, from, to } of MUTANTS) {
    const text = readFileSync(new URL(`../../src/engine/jit/${file}`, import.meta.url), "utf8");
    expect(text.split(from).length, `${file}: ${what}`).toBe(2);
    expect(to).not.toBe(from);
  }
  expect(MUTANTS.length).toBeGreaterThanOrEqual(50);
});

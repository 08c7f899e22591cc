/** The generated switches of the core. Above 1024 cases the optimiser makes a chain of comparisons of one. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const MOST = 1024;

/** Cases of each switch of a file, from the top. */
function casesOf(file: string): number[] {
  const text = readFileSync(new URL(`../core/${file}`, import.meta.url), "utf8");
  const counts: number[] = [];
  // Small switches inside of a case stand on its line.
  for (const line of text.split("\n")) {
    if (/^\s*switch \(/.test(line)) counts.push(0);
    else if (/^\s*case \d+:/.test(line)) counts[counts.length - 1] = (counts.at(-1) ?? 0) + 1;
  }
  return counts;
}

it.each([
  // One loop for 64-bit code, one for 32-bit code.
  ["hot.gen.ts", 4],
] as const)("have a jump table each: %s", (file, switches) => {
  const counts = casesOf(file);
  expect(counts.length).toBe(switches);
  expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThan(MOST);
  for (const count of counts) expect(count).toBeLessThanOrEqual(MOST);
});

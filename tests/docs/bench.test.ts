import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const text = (path: string) =>
  readFileSync(new URL(`../../bench/${path}`, import.meta.url), "utf8");

it("bench/README.md has a row for every section of npm run bench", () => {
  const sections = /const SECTIONS = \[([^\]]*)\]/.exec(text("run.mjs"))?.[1]?.match(/\w+/g) ?? [];
  expect(sections.length).toBeGreaterThan(4);
  const rows = [...text("README.md").matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  expect(sections.filter((section) => !rows.includes(section))).toEqual([]);
});

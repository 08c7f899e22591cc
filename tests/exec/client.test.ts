import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compile, exec, here } from "./support.js";

/** What Linux 6.12 answered, by part. */
function recorded(): [string, string][] {
  const text = readFileSync(here("programs/client.out"), "utf8");
  return text
    .split(/^(?=-- )/m)
    .map((part) => [/^-- (\S+)/.exec(part)?.[1] ?? "", part] as [string, string]);
}

describe("a client sees through exec what it sees on Linux", () => {
  const program = compile("client");
  const parts = recorded();

  it("has recorded answers", () => {
    expect(parts.length).toBe(11);
  });

  for (const [name, answers] of parts) {
    it(name, async () => {
      const ended = await exec("--", program, name);
      expect(ended.stdout).toBe(answers);
      expect(ended).toMatchObject({ status: 0, stderr: "" });
    });
  }
});

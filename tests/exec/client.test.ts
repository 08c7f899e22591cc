import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compile, exec, here } from "./support.js";

/** What Linux 6.12 answered, by part. */
function recorded(program: string): [string, string][] {
  const text = readFileSync(here(`programs/${program}.out`), "utf8");
  return text
    .split(/^(?=-- )/m)
    .map((part) => [/^-- (\S+)/.exec(part)?.[1] ?? "", part] as [string, string]);
}

describe.each([
  { name: "client", count: 11 },
  { name: "odd", count: 9 },
  { name: "kernel", count: 3 },
  { name: "slots", count: 1 },
  { name: "nowhere", count: 2 },
  { name: "numbers", count: 2 },
  { name: "waits", count: 5 },
  { name: "lines", count: 6 },
  { name: "access", count: 9 },
  { name: "operands", count: 5 },
  { name: "passed", count: 7 },
  { name: "arguments", count: 7 },
  { name: "turns", count: 4 },
  { name: "endless", count: 8 },
  { name: "others", count: 2 },
  { name: "files", count: 5 },
  { name: "rights", count: 5, forRoot: ["user", "root"] },
])("$name sees through exec what it sees on Linux", ({ name, count, forRoot }) => {
  const program = compile(name);
  const parts = recorded(name);
  const isPossible = (part: string) => !forRoot?.includes(part) || process.getuid?.() === 0;

  it("has recorded answers", () => {
    expect(parts.length).toBe(count);
  });

  for (const [part, answers] of parts) {
    it.runIf(isPossible(part))(part, async () => {
      const ended = await exec("--", program, part);
      expect(ended.stdout).toBe(answers);
      expect(ended).toMatchObject({ status: 0, stderr: "" });
    });
  }

  it.each(["--mailbox", "--no-mailbox"])("all in one program, %s", async (way) => {
    const played = parts.filter(([part]) => isPossible(part));
    const all = played.length === parts.length ? [] : played.map(([part]) => part);
    const ended = await exec(way, "--", program, ...all);
    expect(ended.stdout).toBe(played.map(([, answers]) => answers).join(""));
    expect(ended).toMatchObject({ status: 0, stderr: "" });
  });
});

describe("--stats", () => {
  it("counts calls that the library answers by itself", async () => {
    const program = compile("lines");
    const lines = async (...options: string[]) => {
      const { stderr } = await exec("--stats", ...options, "--", program, "levels", "others");
      return /^KVM_IRQ_LINE_STATUS +(\d+) +(\d+)/m.exec(stderr)?.slice(1);
    };
    const counted = await lines();
    expect(Number(counted?.[0])).toBeGreaterThan(300);
    expect(await lines("--trace=/dev/null")).toEqual(counted);
  });
});

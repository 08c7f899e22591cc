import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { exec, here } from "./support.js";

it("the example of docs/exec.md builds, runs, and prints what the page says", async () => {
  const page = readFileSync(here("../../docs/exec.md"), "utf8");
  const block = (kind: string) => new RegExp(`\`\`\`${kind}\n(.*?)\`\`\``, "s").exec(page)?.[1];
  const folder = here("../../build/exec-tests");
  mkdirSync(folder, { recursive: true });
  const program = join(folder, "xen-guest");
  writeFileSync(`${program}.c`, block("c") ?? "");
  const built = spawnSync("gcc", ["-Wall", "-Wextra", "-Werror", "-o", program, `${program}.c`], {
    encoding: "utf8",
  });
  expect(built.stderr).toBe("");
  expect(await exec("--", program)).toMatchObject({ status: 0, stdout: block("text") });
});

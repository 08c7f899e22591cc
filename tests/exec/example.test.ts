import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { exec, here, startCommand } from "./support.js";

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
  // What happens in its VM is noted by the server's KVM.
  const trace = await startCommand("trace", "--filter", "*", "exec", "--", program).ended;
  expect(trace).toMatchObject({ status: 0, stdout: block("text") });
  const lines = trace.stderr.trimEnd().split("\n");
  expect(lines.map((line) => line.replace(/^ *\d+\.\d{9} /, ""))).toEqual([
    "vCPU 0 runstate offline to running",
    "vCPU 0 exit HYPERCALL, at 0x1015",
    "vCPU 0 exit HYPERCALL, at 0x1015",
    "vCPU 0 hypercall console_io(write, 0x17, 0x1100) = 0 by the monitor, at 0x1015",
    "vCPU 0 runstate running to running",
    "vCPU 0 exit HYPERCALL, at 0x1024",
    "vCPU 0 exit HYPERCALL, at 0x1024",
    "vCPU 0 hypercall sched_op(shutdown, 0x17) = ?, at 0x1024",
  ]);
});

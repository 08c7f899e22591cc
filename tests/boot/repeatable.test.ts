import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./support/cli.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";

const BOOTS = 20;
const folder = workFolder();
afterAll(() => folder.remove());

/** What must be the same in every run: all of the console, and the instructions executed. */
async function fingerprint(args: readonly string[]): Promise<string> {
  const ended = await runCli([...args, "--clock", "virtual", "--stats", "--timeout", "300"]);
  const instructions = /(\d+) instructions/.exec(ended.stderr)?.[1];
  const output = createHash("sha256").update(ended.stdout).digest("hex");
  return `status ${ended.status}, ${instructions} instructions, console ${output}`;
}

describe("under the virtual clock", () => {
  let args: string[];
  beforeAll(async () => {
    const initramfs = await writeInitramfs(folder.path, "quick");
    const kernel = ["--kernel", await kernelPath("6.1"), "--initrd", initramfs];
    args = ["run", ...kernel, "--append", "panic=-1 cryptomgr.notests"];
  });

  it(`${BOOTS} boots are the same to the last instruction`, async () => {
    const first = await fingerprint(args);
    expect(first).toMatch(/^status 0, \d+ instructions/);
    for (let i = 1; i < BOOTS; i++) expect(await fingerprint(args)).toBe(first);
  });

  it("a boot leaves compiled code and the hot loop seldom", async () => {
    const { stderr } = await runCli([...args, "--clock", "virtual", "--stats", "--timeout", "300"]);
    const per1000 = (name: string): number =>
      Number(new RegExp(`^kvm-xen: ${name} +\\d+ +([\\d.]+)$`, "m").exec(stderr)?.[1]);
    // They are the same in every run, on any machine: what makes one worse has to say why.
    expect(per1000("generic")).toBeLessThan(3);
    expect(per1000("complete")).toBeLessThan(0.1);
    expect(per1000("miss")).toBeLessThan(0.5);
    expect(per1000("step")).toBeLessThan(0.4);
    expect(per1000("compiled")).toBeGreaterThan(450);
  });

  it("boots with two CPUs are the same, too", async () => {
    const first = await fingerprint([...args, "--cpus", "2"]);
    expect(first).toMatch(/^status 0, \d+ instructions/);
    expect(await fingerprint([...args, "--cpus", "2"])).toBe(first);
  });

  it("a boot without cached blocks is the same, too", async () => {
    const first = await fingerprint(args);
    expect(await fingerprint([...args, "--decode", "each"])).toBe(first);
  });
});

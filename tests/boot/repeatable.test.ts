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

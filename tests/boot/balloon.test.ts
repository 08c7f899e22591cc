import { afterAll, describe, expect, it } from "vitest";
import { runCli } from "./support/cli.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());

const KIB_GIVEN = 100 * 1024;

describe.each(kernels)("the balloon of Debian's kernel %s", (name) => {
  it("gives memory back and gets it again", async () => {
    const initrd = await writeInitramfs(folder.path, "balloon");
    const files = ["--kernel", await kernelPath(name), "--initrd", initrd];
    const append = ["--append", "panic=-1 cryptomgr.notests", "--clock", "virtual"];
    const ended = await runCli(["run", ...files, ...append, "--timeout", "300"]);
    const evidence = (about: string): string =>
      ended.lines
        .find((line) => line.text.startsWith(`E ${about} `))
        ?.text.slice(about.length + 3) ?? "";
    const numbers = (about: string) => evidence(about).split(" ").map(Number) as number[];
    const [start = 0, total = 0, free = 0] = numbers("start");
    expect(ended.stdout).toMatch(/^E done/m);
    expect(ended.status).toBe(0);
    const [small = 0, smallTotal = 0, smallFree = 0] = numbers("small");
    expect(start - small).toBe(KIB_GIVEN);
    expect(total - smallTotal).toBe(KIB_GIVEN);
    expect(free - smallFree).toBeGreaterThan(KIB_GIVEN * 0.9);
    expect(evidence("/small")).toBe(`${48 << 20} 1 same`);
    const [back, backTotal, backFree = 0] = numbers("back");
    expect([back, backTotal]).toEqual([start, total]);
    expect(free - backFree).toBeLessThan(KIB_GIVEN * 0.1);
    expect(evidence("/big")).toBe(`${96 << 20} 1 same`);
  });
});

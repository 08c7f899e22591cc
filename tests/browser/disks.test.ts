/** Disks of a page whose changes outlive it: reloaded, in two tabs, beside a saved machine, and discarded. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { startWith, Web, waitForText } from "./support.js";

describe.skipIf(!machineHas("Chromium"))("changes of a disk", () => {
  const web = new Web();
  let page: Page;
  let disk: string;
  let files: Readonly<Record<string, string>>;
  const content = Buffer.alloc(1 << 20, "Only read. ");

  beforeAll(async () => {
    await web.start();
    disk = join(web.folder, "disk.img");
    writeFileSync(disk, content);
    const [, kernel = "", initrd = ""] = /-kernel (\S+) -initrd (\S+)/.exec(web.guest) ?? [];
    files = { kernel, initrd, disk };
    page = await web.open();
  });
  afterAll(() => web.close());

  /** Boots the guest with the disk, to its prompt. */
  async function boot(where: Page): Promise<void> {
    for (const [name, path] of Object.entries(files)) await where.setInputFiles(`#${name}`, path);
    await startWith(where, { guest: "files", append: "cryptomgr.notests TERM=xterm" });
    await waitForText(where, /\/root # *$/);
    await where.click("#terminal");
  }
  const write = (text: string) =>
    `printf ${text} | dd of=/dev/xvda bs=1 seek=65533 conv=notrunc,fsync 2>/dev/null`;
  let turn = 0;
  /** The eleven bytes around the border of two pieces, as the guest reads them now. */
  async function readIn(where: Page): Promise<string> {
    turn++;
    const show = "dd if=/dev/xvda bs=1 skip=65530 count=11 2>/dev/null";
    await where.keyboard.type(
      `echo 3 > /proc/sys/vm/drop_caches; echo; echo A${turn}''B $(${show}) C${turn}\n`,
    );
    const text = await waitForText(where, new RegExp(`A${turn}B .* C${turn}`));
    return new RegExp(`A${turn}B (.*) C${turn}`).exec(text)?.[1] ?? "";
  }
  const around = content.subarray(65530, 65541).toString();
  const changed = (text: string) => around.slice(0, 3) + text + around.slice(8);

  it("are there when the page is loaded again, and the file stays as it is", async () => {
    await boot(page);
    await page.keyboard.type(`${write("12345")}\n`);
    expect(await readIn(page)).toBe(changed("12345"));
    await page.reload();
    await page.click("#settings summary");
    await page.waitForSelector("#kept-changes >> text=disk.img");
    await boot(page);
    expect(await readIn(page)).toBe(changed("12345"));
    expect(readFileSync(disk).equals(content)).toBe(true);
  });

  it("belong to one tab: another one has none, and says so", async () => {
    const other = await web.open();
    await boot(other);
    expect(await waitForText(other, /gone with it: another tab has them/)).toContain("disk.img");
    expect(await readIn(other)).toBe(around);
    await other.close();
  });

  it("are what a saved machine goes on with, and nothing else", async () => {
    await page.click("#save");
    await page.waitForFunction(() =>
      document.getElementById("message")?.textContent?.startsWith("saved ("),
    );
    await page.reload();
    await page.waitForSelector("text=Go on with it");
    await page.setInputFiles("#disk", disk);
    await page.click("text=Go on with it");
    await waitForText(page, /Restarting tasks \.\.\. done/);
    await page.click("#terminal");
    await page.keyboard.type("\n");
    await waitForText(page, /done[\s\S]*\/root # *$/);
    expect(await readIn(page)).toBe(changed("12345"));
    await page.keyboard.type(`${write("abcde")}\n`);
    expect(await readIn(page)).toBe(changed("abcde"));
    await page.reload();
    await page.waitForSelector("text=Go on with it");
    await page.setInputFiles("#disk", disk);
    await page.click("text=Go on with it");
    await expect
      .poll(() => page.textContent("#message"), { timeout: 30_000 })
      .toMatch(/^disk xvda is not as it was/);
  });

  it("can be discarded", async () => {
    await page.reload();
    await page.click("#settings summary");
    await page.click("#kept-changes button");
    await page.waitForSelector("#kept-changes", { state: "hidden" });
    await boot(page);
    expect(await readIn(page)).toBe(around);
  });
});

/** The package that is published, installed into an empty folder: its `--inspect` in a real Chromium. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pack } from "../../tools/build/pack.mjs";
import { machineHas } from "../../tools/check/machine.mjs";
import { openBrowser, rows } from "./support.js";

describe.skipIf(!machineHas("Chromium"))("the installed package", () => {
  const user = mkdtempSync(join(tmpdir(), "kvm-xen-inspect-"));
  let child: ChildProcess;
  let ended: Promise<number | null>;
  let browser: Browser;
  let page: Page;
  let said = "";
  const errors: string[] = [];

  /** Waits for what the command prints. */
  const heard = (pattern: RegExp): Promise<string> =>
    expect
      .poll(() => pattern.exec(said)?.[1], { timeout: 60_000 })
      .toBeDefined()
      .then(() => pattern.exec(said)?.[1] ?? "");

  beforeAll(async () => {
    writeFileSync(join(user, "package.json"), '{ "type": "module" }\n');
    const args = ["install", "--no-audit", "--no-fund", "--prefer-offline", pack()];
    const { status, stderr } = spawnSync("npm", args, { cwd: user, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const bin = join(user, "node_modules/.bin/kvm-xen");
    child = spawn(bin, ["start", "--cold", "--inspect"], { cwd: user, stdio: "pipe" });
    ended = new Promise((resolve) => child.once("close", resolve));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (bytes: Buffer) => {
        said += bytes;
      });
    }
    browser = await openBrowser();
    page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
  });
  afterAll(async () => {
    await browser?.close();
    child.kill();
    rmSync(user, { recursive: true, force: true });
    expect(errors).toEqual([]);
  });

  it("opens --inspect at the address that it prints, with what the guest does", async () => {
    await page.goto(await heard(/inspector: (http:\S+)/));
    await heard(/(\/root # )/);
    const soon = { timeout: 20_000 };
    await expect
      .poll(async () => (await rows(page, "Ports")).map((cells) => cells[1]), soon)
      .toEqual(expect.arrayContaining(["VIRQ TIMER", expect.stringContaining("backend")]));
    await page.click("role=tab[name=Attributes]");
    await expect
      .poll(async () => (await rows(page, "Of the VM")).map((cells) => cells.slice(0, 2)), soon)
      .toContainEqual(["XEN_VERSION", "0x40011"]);
    // The guest's console works beside the page, and so do the page's buttons.
    child.stdin?.write("echo $((6 * 7)) answers\n");
    await heard(/\n(42 answers)/);
    await page.click("#pause");
    await expect.poll(() => page.textContent("#pause"), soon).toBe("Resume");
    await page.click("#pause");
    child.stdin?.write("poweroff\n");
    expect(await ended).toBe(0);
    await page.waitForFunction(() =>
      document.getElementById("message")?.textContent?.includes("the machine has ended"),
    );
  });
});

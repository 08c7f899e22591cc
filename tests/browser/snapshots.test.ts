/** Machines that are saved in Chromium and go on in Node, and the other way round. */
import { spawnSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMachine, TextConsole, writeSnapshotFile } from "../../src/hosts/node/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { main, startWith, Web, waitForText } from "./support.js";

describe.skipIf(!machineHas("Chromium"))("saved machines", () => {
  const web = new Web();
  let page: Page;

  beforeAll(async () => {
    await web.start();
    page = await web.open();
  });
  afterAll(() => web.close());

  const told = (of: Page, text: string) =>
    of.waitForFunction(
      (wanted) => document.getElementById("message")?.textContent?.includes(wanted),
      text,
      { timeout: 60_000 },
    );
  async function type(text: string, answer: RegExp): Promise<void> {
    await page.click("#terminal");
    await page.keyboard.type(`${text}\n`);
    await waitForText(page, answer, 60);
  }
  async function goesOn(): Promise<void> {
    await waitForText(page, /goes on where it was saved/);
    await page.waitForFunction(() => document.getElementById("state")?.textContent === "running");
  }
  const file = () => join(web.folder, "machine.snapshot");

  it("are saved in a tab, which goes on, and are offered to it when it is loaded again", async () => {
    await page.waitForSelector("#debian-label:not([hidden])", { state: "attached" });
    await startWith(page, { guest: "debian", memory: "128" });
    await waitForText(page, /\/root # *$/);
    await type("n=41; echo $((n + 1))", /^42$/m);
    await page.click("#save");
    await told(page, "offered when this page is loaded again");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.click("#message button"),
    ]);
    await download.saveAs(file());
    await type("n=1; echo $((n + 2))", /^3$/m);
    // In the middle of something.
    await page.keyboard.type("yes\n");
    await page.reload();
    await told(page, "a machine was saved here at");
    // Another tab has a place of its own.
    const other = await web.open();
    await waitForText(other, /powered itself off/);
    expect(await other.isVisible("#message >> text=a machine was saved here")).toBe(false);
    expect(await other.evaluate(() => document.getElementById("kept-label")?.hidden)).toBe(true);
    await other.close();
    await page.click("#message button >> nth=0");
    await goesOn();
    await type("echo $((n + 3))", /^44$/m);
  });

  it("go on in Node, are saved there, and go on in the tab", async () => {
    expect(statSync(file()).size).toBeGreaterThan(10e6);
    const console = new TextConsole();
    const machine = await createMachine({ restore: file(), console });
    const ended = machine.run();
    console.type("\n");
    await console.waitFor(/\/root # /);
    console.type("n=$((n * 2)); echo $((n + 1))\n");
    await console.waitFor(/^83\r?$/m);
    await writeSnapshotFile(file(), await machine.save());
    machine.stop();
    await ended;
    await page.setInputFiles("#snapshot", file());
    await page.evaluate(() => (document.getElementById("form") as HTMLFormElement).requestSubmit());
    await goesOn();
    await type("echo $((n + 4))", /^86$/m);
  });

  it("that are none, or damaged, are refused with the words of run", async () => {
    writeFileSync(file(), "kvm-xen\nand what is no snapshot");
    const run = spawnSync(process.execPath, [main, "run", "--restore", file()], {
      encoding: "utf8",
    });
    await page.setInputFiles("#snapshot", file());
    await page.evaluate(() => (document.getElementById("form") as HTMLFormElement).requestSubmit());
    await told(page, run.stderr.trim().replace(/^kvm-xen: /, ""));
  });
});

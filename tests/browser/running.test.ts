/** The inspector of a machine that runs: what only shows when something happens. */
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { every, InspectServer } from "../../src/cli/inspect/inspect-server.js";
import { createMachine, NodeClock, TextConsole } from "../../src/hosts/node/index.js";
import { Inspection, machineTarget } from "../../src/inspect/index.js";
import type { Machine } from "../../src/vmm/machine/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { guestOptions, openBrowser, rows } from "./support.js";

describe.skipIf(!machineHas("Chromium"))("the inspector of a running machine", () => {
  let machine: Machine;
  let server: InspectServer;
  let browser: Browser;
  let page: Page;
  const errors: string[] = [];

  beforeAll(async () => {
    const [, kernel = "", , initrd = ""] = guestOptions();
    const console = new TextConsole();
    const commandLine = "quiet cryptomgr.notests";
    const [kernelBytes, initrdBytes] = [readFileSync(kernel), readFileSync(initrd)];
    machine = await createMachine({
      ...{ kernel: kernelBytes, initrd: initrdBytes, commandLine, console },
    });
    const target = machineTarget(machine, new NodeClock());
    server = await InspectServer.open(
      { port: 0, allowOrigins: [] },
      {
        ...{ inspected: "machine", name: "a test" },
        connect: (output) => new Inspection(target, output, every),
      },
    );
    void machine.run();
    await console.waitFor(/\/root # /);
    console.type("while :; do usleep 50000; echo; done\n");
    browser = await openBrowser();
    page = await browser.newPage({ viewport: { width: 1000, height: 900 }, acceptDownloads: true });
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(server.address);
  });
  afterAll(async () => {
    await browser?.close();
    machine?.stop();
    await server?.close();
    expect(errors).toEqual([]);
  });

  const soon = { timeout: 20_000 };
  const open = (name: string) => page.click(`role=tab[name=${name}]`);

  it("tells what happened to a port that is pressed, and how often", async () => {
    const timer = async () =>
      (await rows(page, "Ports")).find((cells) => cells[1] === "VIRQ TIMER") ?? [];
    await expect.poll(async () => Number((await timer())[5]), soon).toBeGreaterThan(3);
    await expect.poll(async () => Number((await timer())[6]), soon).toBeGreaterThan(1);
    const [port] = await timer();
    await page.click(`section.channels button:text-is("${port}")`);
    await page.waitForSelector(`h3:text-is("Port ${port}: what happened last")`);
    const lines = async () => ((await page.textContent("section.channels pre")) ?? "").split("\n");
    const delivered = new RegExp(`^ *\\d+\\.\\d{9} vCPU 0 deliver port ${port}: delivered$`);
    expect((await lines()).filter((line) => !delivered.test(line))).toEqual([]);
    expect((await lines()).length).toBeGreaterThan(3);
    const newest = (await lines()).at(-1);
    await expect.poll(async () => (await lines()).at(-1), soon).not.toBe(newest);
  });

  it("saves the hypercalls that are shown as lines of JSON", async () => {
    await open("Hypercalls");
    const counts = async () => (await rows(page, "Counts")).map(([name]) => name);
    await expect.poll(counts, soon).toContain("event_channel_op send");
    await page.fill("#hypercall-filter", "vcpu_op");
    await expect.poll(async () => (await rows(page, "Log")).length, soon).toBeGreaterThan(5);
    await page.check("#hypercall-freeze");
    const shown = (await rows(page, "Log")).map((cells) => cells[2]).reverse();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.click("text=Save as JSON lines"),
    ]);
    expect(download.suggestedFilename()).toBe("hypercalls.jsonl");
    const saved = readFileSync(await download.path(), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string; name: string; op: string });
    // The machine goes on while the log is held still.
    expect(saved.length).toBeGreaterThanOrEqual(shown.length);
    expect(new Set(saved.map(({ kind, name }) => `${kind} ${name}`))).toEqual(
      new Set(["hypercall vcpu_op"]),
    );
    expect(saved.slice(0, shown.length).map(({ op }) => op)).toEqual(
      shown.map((call) => /\((\w+)/.exec(call ?? "")?.[1]),
    );
  });

  it("highlights what has changed in a shared page, and nothing else", async () => {
    await open("Pages");
    const changed = () =>
      page.$$eval("section.pages td.changed", (cells) =>
        cells.map((cell) => (cell as HTMLTableCellElement).parentElement?.children[3]?.textContent),
      );
    await expect.poll(changed, soon).toContain("time[running]");
    expect(await changed()).not.toContain("wc_sec");
  });

  it("says in the plot which share each state has", async () => {
    await open("Runstate");
    await page.waitForSelector(".u-legend");
    const shares = () =>
      page.$$eval(".u-legend .u-value", (cells) =>
        cells.slice(1).map((cell) => Number.parseFloat(cell.textContent ?? "")),
      );
    const { x, y, width, height } = (await page.locator(".u-over").first().boundingBox()) ?? {
      ...{ x: 0, y: 0, width: 0, height: 0 },
    };
    let turn = 0;
    await expect
      .poll(async () => {
        turn++;
        await page.mouse.move(x + width * (0.9 + (turn % 10) / 200), y + height / 2);
        return (await shares()).reduce((sum, share) => sum + share, 0);
      }, soon)
      .toBeCloseTo(100, 0);
    // KVM accounts one that halts as running.
    const [offline, blocked, , running = 0] = await shares();
    expect([offline, blocked]).toEqual([0, 0]);
    expect(running).toBeGreaterThan(20);
  });
});

/** `kvm-xen exec --inspect` with stock QEMU's Xen guest in a real Chromium: what the page shows is what QEMU itself says. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { qemu10 } from "../monitors/support/packages.js";
import { Qmp } from "../monitors/support/qmp.js";
import { guestOptions, main, openBrowser, rows } from "./support.js";

const CPUS = 2;

/** What QEMU says of an event channel: its QMP command xen-event-list. */
interface EventInfo {
  readonly port: number;
  readonly vcpu: number;
  readonly type: "closed" | "unbound" | "interdomain" | "pirq" | "virq" | "ipi";
  readonly pending: boolean;
  readonly masked: boolean;
}

describe.skipIf(!machineHas("Chromium"))("exec --inspect with QEMU's Xen guest", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-qemu-"));
  let child: ChildProcess;
  let ended: Promise<unknown>;
  let browser: Browser;
  let page: Page;
  let qmp: Qmp;
  let stdout = "";
  const errors: string[] = [];

  beforeAll(async () => {
    const { words } = await qemu10();
    const accel = ["-accel", "kvm,xen-version=0x40011,kernel-irqchip=split"];
    const socket = join(folder, "qmp");
    const rest =
      `-smp ${CPUS} -m 256 -display none -nic none -serial stdio -no-reboot -qmp unix:${socket},server=on,wait=off`.split(
        " ",
      );
    const append = ["-append", "console=ttyS0 quiet cryptomgr.notests"];
    const guest = guestOptions();
    child = spawn(
      process.execPath,
      [main, "exec", "--inspect", "--", ...words, ...accel, ...rest, ...guest, ...append],
      { stdio: "pipe" },
    );
    ended = new Promise((resolve) => child.once("close", resolve));
    let stderr = "";
    child.stderr?.on("data", (bytes: Buffer) => {
      stderr += bytes;
    });
    child.stdout?.on("data", (bytes: Buffer) => {
      stdout += bytes;
    });
    qmp = await Qmp.connect(socket);
    browser = await openBrowser();
    page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
    page.on("pageerror", (error) => errors.push(String(error)));
    // From the beginning: what the guest asks of Xen while it boots is seen.
    await page.goto(/inspector: (http:\S+)/.exec(stderr)?.[1] ?? "");
  });
  afterAll(async () => {
    qmp?.close();
    await browser?.close();
    child?.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true, force: true });
    expect(errors).toEqual([]);
  });

  const soon = { timeout: 30_000 };
  const open = (name: string) => page.click(`role=tab[name=${name}]`);

  it("shows the ports that QEMU has, with their bits, while all stands still", async () => {
    await expect.poll(() => stdout, { timeout: 180_000 }).toMatch(/\/root # /);
    await qmp.call("stop");
    const list = (await qmp.call("xen-event-list")) as EventInfo[];
    const virqs = list.filter(({ type }) => type === "virq" || type === "ipi");
    expect(virqs.length).toBeGreaterThan(2 * CPUS);
    const bits = (value: boolean) => (value ? "1" : "0");
    const shown = async () =>
      new Map((await rows(page, "Ports")).map((cells) => [cells[0], cells.slice(3, 5)]));
    for (const { port, pending, masked } of virqs) {
      await expect
        .poll(async () => (await shown()).get(String(port)), soon)
        .toEqual([bits(pending), bits(masked)]);
    }
    const ways = await rows(page, "The way of an event");
    expect(ways.map(([vcpu]) => vcpu)).toEqual(["0", "1"]);
    await qmp.call("cont");
  });

  it("logs hypercalls, those that KVM answers and those of QEMU", async () => {
    await open("Hypercalls");
    const counts = async () => (await rows(page, "Counts")).map(([name]) => name);
    await expect
      .poll(counts, soon)
      .toEqual(
        expect.arrayContaining([
          "event_channel_op bind_virq",
          "event_channel_op bind_ipi",
          "memory_op add_to_physmap",
          "vcpu_op set_singleshot_timer",
        ]),
      );
    const by = new Map((await rows(page, "Counts")).map((cells) => [cells[0], cells]));
    // Of bind_virq all are the monitor's; of timers and sends KVM's, as QEMU tells it.
    const answered = (name: string) => by.get(name)?.slice(1, 4);
    const [all, kvm, monitor] = answered("event_channel_op bind_virq") ?? [];
    expect([kvm, monitor]).toEqual(["0", all]);
    const [timers, timersOfKvm] = answered("vcpu_op set_singleshot_timer") ?? [];
    expect(timersOfKvm).toBe(timers);
  });

  it("shows pages, runstates, timers, attributes and speed", async () => {
    await open("Attributes");
    await expect.poll(() => page.textContent("tr[data-key=XEN_VERSION] td"), soon).toBe("0x40011");
    await open("Pages");
    await expect
      .poll(async () => (await rows(page, "Page of the VM")).map((cells) => cells[3]), soon)
      .toContain("wc_sec");
    await open("Runstate");
    await expect
      .poll(async () => (await rows(page, "Runstates now")).map(([vcpu]) => vcpu), soon)
      .toEqual(["0", "1"]);
    // The plot follows, and can be stopped, moved and stretched.
    const sight = async () =>
      ((await page.textContent("#runstate-sight")) ?? "").split(" s to ").map(Number.parseFloat);
    const now = async () => (await sight())[1] ?? 0;
    await expect.poll(now, soon).toBeGreaterThan(0);
    const before = await now();
    await expect.poll(now, soon).toBeGreaterThan(before + 1);
    await page.click("text=Earlier");
    expect(await page.isChecked("#runstate-follow")).toBe(false);
    const [from = 0, to = 0] = await sight();
    await page.waitForTimeout(1000);
    expect(await sight()).toEqual([from, to]);
    await page.click("text=Zoom in");
    const [near = 0, far = 0] = await sight();
    expect((far - near) / (to - from)).toBeCloseTo(0.5, 1);
    await page.check("#runstate-follow");
    await expect.poll(now, soon).toBeGreaterThan(before + 1);
    // Dragging chooses what is shown, and it stays.
    const box = await page.locator(".u-over").first().boundingBox();
    const { x, y, width } = box ?? { x: 0, y: 0, width: 0 };
    await page.mouse.move(x + width * 0.25, y + 20);
    await page.mouse.down();
    await page.mouse.move(x + width * 0.5, y + 20, { steps: 4 });
    await page.mouse.up();
    expect(await page.isChecked("#runstate-follow")).toBe(false);
    const dragged = await sight();
    await page.waitForTimeout(1000);
    expect(await sight()).toEqual(dragged);
    await open("Timers");
    await expect
      .poll(async () => (await rows(page, "KVM's timers")).map((cells) => cells[1]), soon)
      .not.toContain("");
    await open("Speed");
    await expect.poll(async () => (await rows(page, "Exits")).length, soon).toBeGreaterThan(1);
    const [speed] = await rows(page, "Instructions");
    expect(Number(speed?.[1]?.replaceAll(",", ""))).toBeGreaterThan(100e6);
    for (const name of ["Xenstore", "Grants"]) {
      await open(name);
      await expect
        .poll(() => page.locator(".empty:visible").allTextContents(), soon)
        .toEqual([expect.stringContaining("kept by the program that runs under exec")]);
    }
  });
});

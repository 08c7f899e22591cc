/** The inspector in a real Chromium, attached to a machine of this process that stands still at a virtual time. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedInfoLayout } from "../../src/abi/xen/shared-info.js";
import { VcpuInfo } from "../../src/abi/xen/vcpu-info.js";
import { every, InspectServer } from "../../src/cli/inspect/inspect-server.js";
import { createMachine } from "../../src/hosts/node/index.js";
import { Inspection, machineTarget } from "../../src/inspect/index.js";
import { asText, eventsOf, runstateName, TraceReader, TraceRing } from "../../src/trace/index.js";
import type { Machine } from "../../src/vmm/machine/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { openBrowser } from "./support.js";

/** A clock that nothing depends on: times of events are the machine's, by what it has executed. */
const clockOf = (machine: () => Machine) => ({ monotonicNs: () => machine().view().kvm.time });

/** A machine that has just armed its timer, and stands still there. */
async function machineAtTimer(): Promise<Machine> {
  const machine = await createMachine({ clock: "virtual" });
  const sink = new TraceRing({ monotonicNs: () => 0 }).source();
  const paused = new Promise<void>((resolve) => {
    const timerArmed: typeof sink.timerArmed = () => {
      machine.pause();
      resolve();
    };
    machine.trace = new Proxy(sink, {
      get: (of, name: keyof typeof sink) =>
        name === "timerArmed" ? timerArmed : (of[name] as () => void).bind(of),
    });
  });
  void machine.run();
  await paused;
  await new Promise((resolve) => setTimeout(resolve, 100));
  machine.trace = undefined;
  return machine;
}

/** All rows of a panel's table: its cells as texts. */
const rows = (page: Page, caption: string): Promise<string[][]> =>
  page.evaluate(
    (name) =>
      [...document.querySelectorAll("table")]
        .filter((table) => table.caption?.textContent?.startsWith(name))
        .flatMap((table) => [...(table.tBodies[0]?.rows ?? [])])
        .map((row) => [...row.cells].map((cell) => cell.textContent ?? "")),
    caption,
  );

async function rowsOnce(page: Page, caption: string): Promise<string[][]> {
  for (let i = 0; ; i++) {
    const found = await rows(page, caption);
    if (found.length > 0 || i > 300) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe.skipIf(!machineHas("Chromium"))("the inspector", () => {
  let machine: Machine;
  let server: InspectServer;
  let browser: Browser;
  let page: Page;
  const errors: string[] = [];

  beforeAll(async () => {
    machine = await machineAtTimer();
    const target = machineTarget(
      machine,
      clockOf(() => machine),
    );
    server = await InspectServer.open(
      { port: 0, allowOrigins: [] },
      {
        ...{ inspected: "machine", name: "a test" },
        connect: (output) => new Inspection(target, output, every),
      },
    );
    browser = await openBrowser();
    page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(server.address);
  });
  afterAll(async () => {
    machine.stop();
    await browser?.close();
    await server?.close();
    expect(errors).toEqual([]);
  });

  it("shows channels as the library answers", async () => {
    const { kvm, domain } = machine.view();
    const shared = kvm.sharedInfo?.bytes ?? new Uint8Array();
    const layout = sharedInfoLayout(kvm.longMode);
    const bit = (base: number, port: number) =>
      String(((shared[base + (port >> 3)] ?? 0) >> (port & 7)) & 1);
    const shown = await rowsOnce(page, "Ports");
    expect(domain.ports.length).toBeGreaterThan(2);
    expect(shown.map((cells) => [cells[0], cells[2], cells[3], cells[4]])).toEqual(
      domain.ports.map(({ port, vcpu }) => [
        ...[String(port), String(vcpu)],
        ...[bit(layout.evtchnPending, port), bit(layout.evtchnMask, port)],
      ]),
    );
    expect(shown.map((cells) => cells[1])).toEqual(
      expect.arrayContaining(["IPI", "VIRQ TIMER", expect.stringContaining("backend")]),
    );
    const info = kvm.vcpus[0]?.vcpuInfo?.bytes;
    expect(await rows(page, "The way of an event")).toEqual([
      [
        ...[
          "0",
          String(info?.[VcpuInfo.EVTCHN_UPCALL_PENDING]),
          String(info?.[VcpuInfo.EVTCHN_UPCALL_MASK]),
        ],
        ...["0x0", String(kvm.upcallVector), ""],
      ],
    ]);
  });

  it("shows runstates, with the plot's library loaded only now", async () => {
    const loaded = () =>
      page.evaluate(
        () =>
          performance.getEntriesByType("resource").filter(({ name }) => /uPlot/.test(name)).length,
      );
    expect(await loaded()).toBe(0);
    await page.click("role=tab[name=Runstate]");
    const { kvm } = machine.view();
    const [vcpu] = kvm.vcpus;
    const times = vcpu?.runstate.times.map((time, state) =>
      state === vcpu.runstate.state ? time + kvm.kvmclock - vcpu.runstate.entryTime : time,
    );
    expect(await rowsOnce(page, "Runstates now")).toEqual([
      [
        ...["0", runstateName(vcpu?.runstate.state ?? -1)],
        ...(times ?? []).map((time) => `${(Number(time) / 1e6).toFixed(3)} ms`),
      ],
    ]);
    await expect.poll(loaded, { timeout: 20_000 }).toBeGreaterThan(0);
  });

  it("logs the hypercalls that come, with a filter, and can be left by the keyboard", async () => {
    await page.click("role=tab[name=Hypercalls]");
    await page.waitForSelector("#hypercall-filter");
    // What the page gets is what a second ring would: the run is the same each time.
    const other = await machineAtTimer();
    const ring = new TraceRing(clockOf(() => other));
    const reader = new TraceReader(ring);
    other.trace = ring.source();
    await page.click("#pause");
    other.resume();
    await expect.poll(() => other.state, { timeout: 20_000 }).toBe("ended");
    const calls = eventsOf(reader.take(true)).filter(({ kind }) => kind === "hypercall");
    const expected = calls.map((event) => /hypercall (.*) = /.exec(asText(event))?.[1]).reverse();
    await expect
      .poll(async () => (await rows(page, "Log")).map((cells) => cells[2]), { timeout: 20_000 })
      .toEqual(expected);
    expect(expected[0]).toMatch(/^sched_op\(shutdown/);
    await page.fill("#hypercall-filter", "sched_op.shutdown");
    expect((await rows(page, "Log")).map((cells) => cells[2])).toEqual(expected.slice(0, 1));
    await page.fill("#hypercall-filter", "nothing");
    expect(await page.textContent(".hypercalls .problem")).toContain("'nothing' is neither");
    await page.focus("role=tab[name=Hypercalls]");
    await page.keyboard.press("ArrowLeft");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Channels");
    await page.setViewportSize({ width: 380, height: 700 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(
      380,
    );
  });
});

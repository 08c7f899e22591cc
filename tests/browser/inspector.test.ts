/** The inspector in a real Chromium, attached to a machine of this process that stands still at a virtual time. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedInfoLayout } from "../../src/abi/xen/shared-info.js";
import { VcpuInfo } from "../../src/abi/xen/vcpu-info.js";
import type { InspectServer } from "../../src/cli/inspect/inspect-server.js";
import { asText, eventsOf, runstateName, TraceReader, TraceRing } from "../../src/trace/index.js";
import type { Machine } from "../../src/vmm/machine/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { clockOf, inspectedMachine, machineAtTimer } from "./inspected.js";
import { openBrowser, rows } from "./support.js";

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
    ({ machine, server } = await inspectedMachine());
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

  /** Opens a panel and waits for its rows. */
  async function openPanel(name: string, caption: string): Promise<string[][]> {
    await page.click(`role=tab[name=${name}]`);
    return rowsOnce(page, caption);
  }

  it("shows shared pages as structures", async () => {
    const shown = new Map(
      (await openPanel("Pages", "Page of the VM")).map((cells) => [cells[3], cells]),
    );
    const { kvm } = machine.view();
    const data = (bytes: Uint8Array | undefined) => new DataView((bytes as Uint8Array).buffer);
    const shared = data(kvm.sharedInfo?.bytes);
    // The user half gives it as an address of the host: the guest may move the page.
    const address = `host 0x${kvm.sharedInfo?.hva.toString(16)}`;
    expect(kvm.longMode).toBe(true);
    const seconds = shared.getUint32(0xc04, true);
    const began = new Date(seconds * 1000).toISOString();
    expect(shown.get("wc_version")).toEqual([
      ...["shared_info", address, "0xc00", "wc_version", String(shared.getUint32(0xc00, true))],
    ]);
    expect(shown.get("wc_sec")?.[4]).toBe(`${seconds} (the guest began at ${began})`);
    const masked = Array.from({ length: 4096 }, (_, port) => port).filter(
      (port) => (((kvm.sharedInfo?.bytes?.[0xa00 + (port >> 3)] ?? 0) >> (port & 7)) & 1) === 1,
    );
    expect(shown.get("evtchn_mask")?.[4]).toBe(masked.join(" ") || "none");

    const [vcpu] = kvm.vcpus;
    const info = data(vcpu?.vcpuInfo?.bytes);
    const own = (await rows(page, "Areas of a vCPU")).map(
      (cells) => `${cells[0]} ${cells[3]} ${cells[4]}`,
    );
    expect(own).toEqual(
      expect.arrayContaining([
        `vcpu_info evtchn_upcall_mask ${info.getUint8(1)}`,
        `vcpu_info time.version ${info.getUint32(32, true)}`,
        `vcpu_info time.system_time ${info.getBigUint64(48, true)} ns`,
        `vcpu_info time.tsc_to_system_mul ${info.getUint32(56, true)}`,
        `vcpu_info time.tsc_shift ${info.getInt8(60)}`,
      ]),
    );
    const area = data(vcpu?.runstateArea?.bytes);
    expect(own).toEqual(
      expect.arrayContaining([
        `runstate time[running] ${area.getBigUint64(16, true)} ns`,
        `runstate time[offline] ${area.getBigUint64(40, true)} ns`,
      ]),
    );
  });

  it("shows timers", async () => {
    const [shown] = await openPanel("Timers", "KVM's timers");
    const { kvm, domain } = machine.view();
    const { port, expires } = kvm.vcpus[0]?.timer ?? { port: 0, expires: 0n };
    expect(expires).toBeGreaterThan(kvm.kvmclock);
    const left = `${(Number(expires - kvm.kvmclock) / 1e6).toFixed(3)} ms`;
    expect(shown?.slice(0, 5)).toEqual(["0", String(port), String(expires), left, "armed"]);
    expect(await rows(page, "Timers of the user half")).toEqual(
      domain.timers.map(({ vcpu, oneShot, periodic, down }) => [
        ...[String(vcpu), oneShot ? "armed" : "off", periodic ? "on" : "off", down ? "yes" : "no"],
      ]),
    );
  });

  it("shows xenstore as a tree, what changes in it, and what guests write as text", async () => {
    await openPanel("Xenstore", "Watches");
    const shown = () =>
      page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>(".tree li")].map((item) => [
          item.dataset["path"],
          item.querySelector(".value")?.textContent,
          item.querySelector(".rights")?.textContent,
        ]),
      );
    const expected = () =>
      machine
        .view({ store: true })
        .domain.nodes?.map(({ path, value, permissions }) => [
          path,
          value.length === 0
            ? ""
            : `"${Buffer.from(value).toString("latin1").replaceAll("\\", "\\x5c")}"`,
          permissions.map(({ access, domid }) => `${access}${domid}`).join(" "),
        ]);
    await expect.poll(shown).toEqual(expected());
    expect((await shown()).length).toBeGreaterThan(10);
    const hostile = "<img src=x onerror=alert(1)>\\";
    machine.setNode("data/<b>", hostile);
    await expect.poll(shown).toEqual(expected());
    expect(
      await page.evaluate(() => document.querySelectorAll("#panels img, #panels b").length),
    ).toBe(0);
    const [change] = await rows(page, "Changes");
    expect(change?.[1]).toMatch(/\/data\/<b>$/);
    expect(change?.[2]).toBe('= "<img src=x onerror=alert(1)>\\x5c"');
    await page.fill("#store-filter", "data/<b>");
    const visible = await page.locator(".tree li:visible").evaluateAll((items) => items.length);
    expect(visible).toBe(change?.[1]?.split("/").length ?? 0);
    const watches = machine.view({ store: true }).domain.watches ?? [];
    expect(await rows(page, "Watches")).toEqual(
      watches.map(({ domid, path, token }) => [String(domid), path, token]),
    );
  });

  it("shows the grant table", async () => {
    const shown = await openPanel("Grants", "Grant table");
    const grants = machine.view({ grants: true }).domain.grants ?? [];
    expect(grants.length).toBeGreaterThan(0);
    expect(shown.map((cells) => [cells[0], ...cells.slice(2)])).toEqual(
      grants.map(({ ref, domid, frame, readers, writers }) => [
        ...[
          String(ref),
          String(domid),
          `0x${frame.toString(16)}`,
          String(readers),
          String(writers),
        ],
      ]),
    );
    expect(shown.map((cells) => cells[1]?.split(" ")[0])).toEqual(
      grants.map(({ flags }) => ((flags & 3) === 1 ? "permit_access" : expect.anything())),
    );
  });

  it("shows attributes, and sets them as an ioctl does", async () => {
    const shown = async () =>
      new Map((await rows(page, "Of the ")).map((cells) => [cells[0], cells[1]]));
    await openPanel("Attributes", "Of the vCPU");
    const { kvm } = machine.view();
    const [vcpu] = kvm.vcpus;
    const texts = await shown();
    expect(texts.get("XEN_VERSION")).toBe(`0x${kvm.xenVersion.toString(16)}`);
    expect(texts.get("SHARED_INFO_HVA")).toBe(`0x${kvm.sharedInfo?.hva.toString(16)}`);
    expect(texts.get("VCPU_INFO")).toBe(`0x${vcpu?.vcpuInfo?.gpa?.toString(16)}`);
    expect(texts.get("TIMER")).toBe(`${vcpu?.timer.port} ${vcpu?.timer.expires}`);
    expect(texts.get("EVTCHN")).toBe("ENOENT");
    const said = (type: string) => page.textContent(`tr[data-key=${type}] .problem`);
    const set = async (type: string, text: string) => {
      await page.fill(`tr[data-key=${type}] input`, text);
      await page.press(`tr[data-key=${type}] input`, "Enter");
    };
    await set("XEN_VERSION", "0x40013");
    await expect.poll(() => machine.view().kvm.xenVersion).toBe(0x40013);
    await expect.poll(async () => (await shown()).get("XEN_VERSION")).toBe("0x40013");
    await set("XEN_VERSION", `0x${kvm.xenVersion.toString(16)}`);
    await set("VCPU_TIME_INFO", "0x1ff8");
    await expect.poll(() => said("VCPU_TIME_INFO")).toMatch(/EINVAL|ENXIO/);
    await set("VCPU_ID", "many");
    await expect.poll(() => said("VCPU_ID")).toBe("'many' is no number of 64 bits");
    expect(machine.view().kvm).toEqual(kvm);
  });

  it("shows speed", async () => {
    const shown = await openPanel("Speed", "Counters");
    expect(Object.fromEntries(shown.map((cells) => [cells[0], cells[1]]))).toEqual(
      Object.fromEntries(
        Object.entries(machine.engineCounters).map(([name, value]) => [
          ...[name.toLowerCase().replaceAll("_", " "), value.toLocaleString("en")],
        ]),
      ),
    );
    const [speed] = await rows(page, "Instructions");
    expect(speed?.[1]).toBe(machine.instructions.toLocaleString("en"));
    expect(speed?.[2]).toBe("0.0");
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

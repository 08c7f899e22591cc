/** `kvm-xen relay`: machines in a page with a network, which does not lead to this host. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askForSocket } from "../../src/hosts/node/websocket.fixture.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { main, openBrowser, plainServer, Served, startWith, waitForText } from "./support.js";

// As it was built: the threads of networks are files of JavaScript.
const { createMachine, TextConsole, writeSnapshotFile } = (await import(
  new URL("../../dist/hosts/node/index.js", import.meta.url).pathname
)) as typeof import("../../src/hosts/node/index.js");
const pageFolder = new URL("../../dist/web", import.meta.url).pathname;
/** An address of this host that is not of its loopback interface. */
const ownAddress = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

describe.skipIf(!machineHas("Chromium"))("kvm-xen relay", () => {
  let served: Served;
  let browser: Browser;
  let page: Page;
  let service: Server;
  let port: number;
  const bytes = randomBytes(3_000_000);
  let asked = 0;
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-relay-"));

  beforeAll(async () => {
    // Fetches Debian's guest unless it is there.
    expect(spawnSync(process.execPath, [main, "guest"]).status).toBe(0);
    // What a guest in a page must not reach: it listens on all addresses of this host.
    service = createServer((_request, response) => {
      asked++;
      response.end(bytes);
    });
    await new Promise<void>((resolve) => service.listen(0, "0.0.0.0", resolve));
    port = (service.address() as AddressInfo).port;
    served = await Served.open(["relay", "--allow-origin", "http://127.0.0.1:9"]);
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    expect(await served?.close()).toBe(143);
    service?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("answers who has its token, from its own page or one that was allowed", async () => {
    const { host, pathname } = new URL(served.address);
    const status = async (headers: Record<string, string>, path = `${pathname}net`) => {
      const { status, socket } = await askForSocket(served.address, path, headers);
      socket.destroy();
      return Number(status.split(" ")[1]);
    };
    expect(await status({ Origin: `http://${host}` })).toBe(101);
    expect(await status({ Origin: "http://127.0.0.1:9" })).toBe(101);
    expect(await status({ Origin: "http://127.0.0.1:8" })).toBe(403);
    expect(await status({ Host: "rebound.example.com:80" })).toBe(403);
    expect(await status({}, "/net")).toBe(403);
    expect(await status({}, `/relay-${"0".repeat(32)}/net`)).toBe(403);
  });

  it("gives a guest an address, and no way to this host", async () => {
    page = await browser.newPage();
    await page.goto(served.address);
    await page.waitForSelector("#debian-label:not([hidden])", { state: "attached" });
    await startWith(page, { guest: "debian" });
    await waitForText(page, /\/root #\s*$/);
    const type = async (command: string, answer: RegExp) => {
      await page.keyboard.type(`clear; ${command}\n`);
      return waitForText(page, answer);
    };
    await page.click("#terminal");
    await type("ip -4 addr show dev eth0", /inet 10\.0\.2\.15\/24/);
    await type("ping -c 2 10.0.2.2", /2 packets received/);
    // The service is there.
    const own = ownAddress ?? "127.0.0.1";
    const seen = await fetch(`http://${own}:${port}/`);
    const sum = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
    expect(sum(new Uint8Array(await seen.arrayBuffer()))).toBe(sum(bytes));
    expect(asked).toBe(1);
    let turn = 0;
    for (const address of new Set(["10.0.2.2", own])) {
      turn++;
      const wget = `timeout 5 wget -q -O - http://${address}:${port}/ | wc -c; echo END''${turn}`;
      expect(await type(wget, new RegExp(`END${turn}`))).not.toContain(String(bytes.length));
    }
    expect(asked).toBe(1);
  });

  it("takes a machine that goes on in a page, from a page and from Node, with its card", async () => {
    const path = join(folder, "machine.snapshot");
    const told = (text: string) =>
      page.waitForFunction(
        (wanted) => document.getElementById("message")?.textContent?.startsWith(wanted),
        text,
        { timeout: 60_000 },
      );
    const goOn = async () => {
      await page.setInputFiles("#snapshot", path);
      await page.evaluate(() =>
        (document.getElementById("form") as HTMLFormElement).requestSubmit(),
      );
      await waitForText(page, /goes on where it was saved/);
      await page.waitForFunction(() => document.getElementById("state")?.textContent === "running");
      await page.click("#terminal");
    };
    const pings = async (turn: number) => {
      const ping = `until ping -c 1 -W 1 10.0.2.2 >/dev/null; do sleep 0.2; done; echo PINGED''${turn}`;
      await page.keyboard.type(`\n${ping}; cat /sys/class/net/eth0/address\n`);
      const text = await waitForText(page, new RegExp(`PINGED${turn}\\n[0-9a-f:]{17}`), 60);
      return new RegExp(`PINGED${turn}\\n([0-9a-f:]{17})`).exec(text)?.[1];
    };
    const address = await pings(1);
    await page.click("#save");
    await told("saved (");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.click("#message button"),
    ]);
    await download.saveAs(path);
    const console = new TextConsole();
    const network = { kind: "user", forwards: [], hostLoopback: false } as const;
    const description = { restore: path, networks: [network], console };
    const machine = await createMachine(description);
    const ended = machine.run();
    console.type("\n");
    await console.waitFor(/\/root # /);
    console.type(
      "until ping -c 1 -W 1 10.0.2.2 >/dev/null; do sleep 0.2; done; echo IN''NODE; cat /sys/class/net/eth0/address\n",
    );
    await console.waitFor(new RegExp(`INNODE\\r?\\n${address}`));
    await writeSnapshotFile(path, await machine.save());
    machine.stop();
    await ended;
    await goOn();
    expect(await pings(2)).toBe(address);
    await page.evaluate(() => {
      (document.getElementById("network") as HTMLInputElement).value = "";
    });
    await goOn();
    await waitForText(page, /network card has no cable here/);
    await page.keyboard.type("\nping -c 1 -W 1 10.0.2.2 >/dev/null || echo NO''CABLE\n");
    await waitForText(page, /NOCABLE/, 60);
  });

  it("is for pages elsewhere, too, when it was told of them", async () => {
    const files = await plainServer(pageFolder, "/below/");
    const elsewhere = await browser.newPage();
    await elsewhere.goto(files.address);
    const networkOf = ({ address }: Served) => new URL("net", address.replace("http", "ws")).href;
    await startWith(elsewhere, { guest: "embedded", network: networkOf(served) });
    await elsewhere.waitForSelector("text=does not answer, or not to this page");
    const allowed = await Served.open(["relay", "--allow-origin", new URL(files.address).origin]);
    await startWith(elsewhere, { guest: "embedded", network: networkOf(allowed) });
    await waitForText(elsewhere, /the guest has powered itself off/);
    expect(await allowed.close()).toBe(143);
    await elsewhere.close();
    await files.close();
  });
});

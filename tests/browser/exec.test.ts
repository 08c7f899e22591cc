/** `kvm-xen exec --inspect` in a real Chromium: what KVM knows of a program's VM. */
import { spawn } from "node:child_process";
import { request } from "node:http";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { compileFile, until } from "../exec/support.js";
import { openBrowser, rows } from "./support.js";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const source = fileURLToPath(new URL("programs/xen.c", import.meta.url));

/** The status of a handshake of a WebSocket at an address. */
function handshake(address: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(address, {
      headers: {
        ...{ Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13" },
        "Sec-WebSocket-Key": Buffer.alloc(16).toString("base64"),
        ...headers,
      },
    });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe.skipIf(!machineHas("Chromium") || !machineHas("a C compiler"))("exec --inspect", () => {
  let browser: Browser;
  let page: Page;
  let address: string;
  let stdout = "";
  let ended: Promise<number | null>;
  let answer: () => void;
  const errors: string[] = [];

  beforeAll(async () => {
    const program = compileFile(source, "inspected");
    const words = ["exec", "--inspect", "--allow-origin", "http://127.0.0.1:1", "--", program];
    const child = spawn(process.execPath, [main, ...words], { stdio: "pipe" });
    ended = new Promise((resolve) => child.once("close", resolve));
    answer = () => child.stdin.write("\n");
    let stderr = "";
    child.stderr.on("data", (bytes: Buffer) => {
      stderr += bytes;
    });
    child.stdout.on("data", (bytes: Buffer) => {
      stdout += bytes;
    });
    expect(await until(() => stdout === "ready\n"), stderr).toBe(true);
    address = /inspector: (http:\S+)/.exec(stderr)?.[1] ?? "";
    browser = await openBrowser();
    page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(address);
  });
  afterAll(async () => {
    await browser?.close();
    expect(errors).toEqual([]);
  });

  const cells = (caption: string) => rows(page, caption);
  const open = (name: string) => page.click(`role=tab[name=${name}]`);
  const soon = { timeout: 20_000 };

  it("shows what the program has set, and sets what an ioctl of it reads", async () => {
    await expect
      .poll(() => cells("The way of an event"), soon)
      .toEqual([["5", "0", "1", "0x0", "51", ""]]);
    await open("Timers");
    await expect
      .poll(async () => (await cells("KVM's timers"))[0]?.slice(0, 3), soon)
      .toEqual(["5", "7", String(1n << 60n)]);
    await open("Pages");
    await expect
      .poll(() => cells("Page of the VM"), soon)
      .toContainEqual(["shared_info", "0x4000", "0x800", "evtchn_pending", "9"]);
    expect(await cells("Areas of a vCPU")).toContainEqual([
      ...["vcpu_info", "0x5000", "0x1", "evtchn_upcall_mask", "1"],
    ]);
    await open("Attributes");
    await expect.poll(() => page.textContent("tr[data-key=SHARED_INFO] td"), soon).toBe("0x4");
    await page.fill("tr[data-key=XEN_VERSION] input", "0x40013");
    await page.press("tr[data-key=XEN_VERSION] input", "Enter");
    await expect.poll(() => page.textContent("tr[data-key=XEN_VERSION] td"), soon).toBe("0x40013");
  });

  it("says of the monitor's half why it is empty", async () => {
    for (const [tab, what] of [
      ["Xenstore", "Xenstore"],
      ["Grants", "The grant table"],
      ["Timers", "Timers of the user half"],
    ] as const) {
      await open(tab);
      const why = page.locator(".empty:visible");
      await expect
        .poll(() => why.allTextContents(), soon)
        .toEqual([expect.stringContaining(`${what}: that is kept by the program`)]);
    }
    expect(await page.locator("#pause:visible, #reset:visible").count()).toBe(0);
  });

  it("is for those with the token, by a loopback name, from its own page or one that is named", async () => {
    const socket = `${address}inspect`;
    const { origin, port } = new URL(address);
    expect(await handshake(socket, { Origin: origin })).toBe(101);
    expect(await handshake(socket, { Origin: "http://127.0.0.1:1" })).toBe(101);
    expect(await handshake(socket, { Origin: "http://127.0.0.1:2" })).toBe(403);
    expect(await handshake(socket, { Host: `attacker.example:${port}` })).toBe(403);
    const other = socket.replace(/[0-9a-f]{32}/, "0".repeat(32));
    expect(await handshake(other, { Origin: origin })).toBe(403);
  });

  it("ends with the program", async () => {
    answer();
    expect(await ended).toBe(0);
    expect(stdout).toBe("ready\nXEN_VERSION is 0x40013\n");
    await page.waitForFunction(() =>
      document.getElementById("message")?.textContent?.includes("the machine has ended"),
    );
  });
});

// @ts-check
/**
 * Pictures of the page for the documentation: `node tools/build/screenshots.mjs [FOLDER]`, by default docs/images.
 * Boots the guest of `npm start` in Chromium and looks at it with every panel; needs chromium and that guest's files.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = process.argv[2] ?? join(root, "docs/images");

/** Small, and readable at the width of a page of documentation. */
const SIZE = { width: 1000, height: 660 };
const QUALITY = 45;

/** @returns {Promise<{ address: string, child: import("node:child_process").ChildProcess }>} */
function serve() {
  const child = spawn(process.execPath, [join(root, "dist/cli/main.js"), "web"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    child.stdout.once("data", (text) => resolve({ address: String(text).trim(), child }));
    child.once("exit", (status) => reject(new Error(`kvm-xen web ended with ${status}`)));
  });
}

const { address, child } = await serve();
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
  env: { ...process.env, HOME: "/tmp" },
});
try {
  const context = await browser.newContext({ viewport: SIZE, colorScheme: "dark" });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  mkdirSync(folder, { recursive: true });
  const shoot = async (/** @type {string} */ name) => {
    const { data } = await session.send("Page.captureScreenshot", {
      format: "webp",
      quality: QUALITY,
    });
    const bytes = Buffer.from(data, "base64");
    writeFileSync(join(folder, `${name}.webp`), bytes);
    console.log(`${name}.webp ${bytes.length} bytes`);
  };
  const wait = (/** @type {RegExp} */ pattern) =>
    page.waitForFunction(
      (text) =>
        new RegExp(text).test(
          /** @type {{ kvmXen?: { text(): string } }} */ (globalThis).kvmXen?.text() ?? "",
        ),
      pattern.source,
      { timeout: 180_000 },
    );
  const type = async (/** @type {string} */ text) => {
    await page.click("#terminal");
    await page.keyboard.type(`${text}\n`);
  };
  await page.goto(address);
  await page.waitForSelector("#debian-label:not([hidden])", { state: "attached" });
  await page.click("#settings summary");
  await page.check("input[value=debian]");
  await page.fill("#cpus", "2");
  await page.click("#start");
  await wait(/\/root # *$/);
  await page.click("#inspect");
  await page.waitForSelector(".channels table");
  await type("clear; uname -sr; cat /sys/hypervisor/type; grep xen-percpu /proc/interrupts");
  await wait(/xen-percpu.*\n\/root # *$/);
  await type("while sleep 0.1; do :; done");
  await page.waitForTimeout(2000);
  await shoot("page");
  // The panel alone, as under --inspect.
  await page.evaluate(`document.body.classList.add("attached");
    for (const id of ["terminal", "settings", "keys"]) document.getElementById(id).hidden = true;`);
  for (const tab of await page.locator("[role=tab]").all()) {
    const name = (await tab.textContent()) ?? "";
    if ((await tab.getAttribute("aria-selected")) !== "true") await tab.click();
    await page.waitForTimeout(name === "Runstate" ? 8000 : 1500);
    await shoot(name.toLowerCase());
  }
} finally {
  await browser.close();
  child.kill("SIGTERM");
}

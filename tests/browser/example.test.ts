/** examples/browser, built by vite, in a real Chromium. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { openBrowser, plainServer } from "./support.js";

const root = new URL("../../", import.meta.url).pathname;

/** The package's entries, as an installed package has them. */
function packageEntries(): { find: RegExp; replacement: string }[] {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, string | { default: string }>;
  };
  return Object.entries(exports).map(([name, entry]) => ({
    find: new RegExp(`^kvm-xen${name.slice(1).replaceAll(".", "\\.")}(?=\\?|$)`),
    replacement: join(root, typeof entry === "string" ? entry : entry.default),
  }));
}

describe.skipIf(!machineHas("Chromium"))("examples/browser", () => {
  it("runs a guest in a page", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvm-xen-example-"));
    await build({
      configFile: false,
      root: join(root, "examples/browser"),
      base: "./",
      logLevel: "warn",
      resolve: { alias: packageEntries() },
      worker: { format: "es" },
      build: { outDir: folder, emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 1000 },
    });
    const server = await plainServer(folder, "/");
    const browser = await openBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(server.address);
      const ended = () => document.body.textContent?.includes("has ended");
      await page.waitForFunction(ended, null, { timeout: 60_000 });
      const text = await page.textContent("pre");
      expect(text).toMatch(/a tour of the machine[\s\S]*the machine has ended: poweroff\n$/);
    } finally {
      await browser.close();
      await server.close();
      rmSync(folder, { recursive: true });
    }
  });
});

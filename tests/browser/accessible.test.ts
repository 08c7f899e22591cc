/** The page and the inspector for people who see little, use no mouse, want no motion, or have a narrow window. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InspectServer } from "../../src/cli/inspect/inspect-server.js";
import type { Machine } from "../../src/vmm/machine/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { contrastFaults } from "./contrast.js";
import { inspectedMachine } from "./inspected.js";
import { openBrowser, Served, terminalText, waitForText } from "./support.js";

describe.skipIf(!machineHas("Chromium"))("accessible", () => {
  let browser: Browser;
  let served: Served;
  let machine: Machine;
  let server: InspectServer;

  beforeAll(async () => {
    browser = await openBrowser();
    served = await Served.open(["web"]);
    ({ machine, server } = await inspectedMachine());
  });
  afterAll(async () => {
    machine?.stop();
    await browser?.close();
    await server?.close();
    await served?.close();
  });

  const open = async (
    address: string,
    options: Parameters<Browser["newPage"]>[0] = {},
  ): Promise<Page> => {
    const page = await browser.newPage({ viewport: { width: 1000, height: 800 }, ...options });
    await page.goto(address);
    return page;
  };
  /** Looks at every panel of the attached inspector. */
  async function eachPanel(page: Page, look: (name: string) => Promise<void>): Promise<void> {
    for (const tab of await page.locator("[role=tab]").all()) {
      const name = (await tab.textContent()) ?? "";
      if ((await tab.getAttribute("aria-selected")) !== "true") await tab.click();
      await page.waitForSelector(`section.${name.toLowerCase()}:visible`);
      if (name === "Runstate") await page.waitForSelector(".u-legend");
      await look(name);
    }
  }

  it.each(["light", "dark"] as const)("has the contrast of WCAG AA, %s", async (colorScheme) => {
    const page = await open(served.address, { colorScheme });
    await waitForText(page, /powered itself off/);
    await page.click("#settings summary");
    await page.evaluate(() => {
      for (const hidden of document.querySelectorAll<HTMLElement>("form [hidden], #message")) {
        hidden.hidden = false;
      }
      for (const button of document.querySelectorAll("button")) button.disabled = false;
    });
    expect(await page.evaluate(contrastFaults)).toEqual([]);
    await page.close();
    const inspector = await open(server.address, { colorScheme });
    await eachPanel(inspector, async (name) => {
      expect(await inspector.evaluate(contrastFaults), name).toEqual([]);
      await inspector.evaluate(() => {
        for (const cell of document.querySelectorAll("td:not(:has(form)), .value"))
          cell.classList.add("changed");
      });
      expect(await inspector.evaluate(contrastFaults), `${name}, changed`).toEqual([]);
    });
    await inspector.close();
  });

  /** What has the focus, and whether one sees that. */
  const focused = (page: Page) =>
    page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const isSeen = outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2;
      const inTerminal = element.closest(".xterm") !== null;
      const name = inTerminal ? "terminal" : element.id || element.textContent || element.tagName;
      return { name, isSeen: isSeen || inTerminal };
    });

  it("is used by the keyboard alone, and the terminal is no trap", async () => {
    const page = await open(served.address);
    await waitForText(page, /powered itself off/);
    await page.click("#settings summary");
    await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await page.focus("#inspect");
    const walked: string[] = ["inspect"];
    while (walked.at(-1) !== "terminal" && walked.length < 60) {
      await page.keyboard.press("Tab");
      const { name, isSeen } = await focused(page);
      expect(isSeen, name).toBe(true);
      walked.push(name);
    }
    const missed = await page.evaluate((names) => {
      const all = document.querySelectorAll<HTMLElement>("button:enabled, input, select, summary");
      return [...all]
        .filter((element) => element.checkVisibility() && element.getAttribute("type") !== "radio")
        .map((element) => element.id || element.textContent || element.tagName)
        .filter((name) => !names.includes(name));
    }, walked);
    expect(missed).toEqual([]);
    // The guest has Tab and Shift-Tab.
    for (const key of ["Tab", "Shift+Tab"]) {
      await page.keyboard.press(key);
      expect((await focused(page)).name).toBe("terminal");
    }
    await page.keyboard.press("Control+]");
    await page.keyboard.press("?");
    expect(await terminalText(page)).toContain("Ctrl-] then Tab goes on to the buttons");
    await page.keyboard.press("Control+]");
    await page.keyboard.press("Tab");
    expect((await focused(page)).name).toBe("inspect");
    await page.keyboard.press("Enter");
    await page.waitForSelector("section.channels");
    await page.keyboard.press("Enter");
    await page.waitForSelector("section.channels", { state: "hidden" });
    await page.close();
  });

  it("lets a port's history be opened by the keyboard", async () => {
    const page = await open(server.address);
    await page.focus("role=tab[name=Channels]");
    await page.waitForSelector("section.channels td button");
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement?.matches("td button"))) break;
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector("h3 >> text=/^Port \\d+: what happened last/");
    await page.close();
  });

  it("moves nothing for who wants that", async () => {
    const page = await open(served.address, { reducedMotion: "reduce" });
    await waitForText(page, /powered itself off/);
    await page.click("#terminal");
    const moving = () =>
      page.evaluate(() => ({
        animations: document.getAnimations().length,
        blinks: document.querySelectorAll(".xterm-cursor-blink").length,
      }));
    await page.click("#inspect");
    await page.waitForSelector("section.channels");
    await page.click("#terminal");
    expect(await moving()).toEqual({ animations: 0, blinks: 0 });
    await page.emulateMedia({ reducedMotion: "no-preference" });
    await expect.poll(async () => (await moving()).blinks, { timeout: 10_000 }).toBe(1);
    await page.close();
  });

  it("fits a window of 320 pixels", async () => {
    const viewport = { width: 320, height: 640 };
    /** The page's width, and what is wider than its window. */
    const tooWide = (page: Page) =>
      page.evaluate(() => [
        ...(document.documentElement.scrollWidth > 320 ? ["the page"] : []),
        ...[...document.querySelectorAll("#form *")]
          .filter((element) => element.getBoundingClientRect().right > 320)
          .map((element) => element.outerHTML.slice(0, 80)),
      ]);
    const page = await open(served.address, { viewport });
    await waitForText(page, /powered itself off/);
    await page.click("#settings summary");
    expect(await tooWide(page)).toEqual([]);
    await page.close();
    const inspector = await open(server.address, { viewport });
    await eachPanel(inspector, async (name) => {
      expect(await tooWide(inspector), name).toEqual([]);
    });
    await inspector.close();
  });
});

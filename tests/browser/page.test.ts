/** The page of `kvm-xen web` in a real Chromium. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import {
  openBrowser,
  plainServer,
  Served,
  startWith,
  terminalText,
  waitForText,
} from "./support.js";

const root = new URL("../../", import.meta.url).pathname;
const main = join(root, "dist/cli/main.js");
const image = join(root, "guest/embedded/image.elf");

/** Transferred before the guest, as the issue of the page allows it. */
const LARGEST_PAGE = 300_000;

/** An event of Chromium's own trace. */
interface BrowserEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds of the thread's processor time: whatever else this machine does is not in them. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** Processor time of the longest task of a page's own thread, in milliseconds. */
function longestTask(trace: Buffer): number {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: BrowserEvent[] };
  const threadOf = ({ pid, tid }: BrowserEvent) => `${pid} ${tid}`;
  const pages = new Set(
    traceEvents
      .filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(threadOf),
  );
  const tasks = traceEvents.filter(
    (event) => event.name === "ThreadControllerImpl::RunTask" && pages.has(threadOf(event)),
  );
  return Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000;
}

describe.skipIf(!machineHas("Chromium"))("the page of kvm-xen web", () => {
  let served: Served;
  let browser: Browser;
  let folder: string;
  let page: Page;
  const errors: string[] = [];
  const open = async (address = served.address, width = 1100): Promise<Page> => {
    page = await browser.newPage({ viewport: { width, height: 760 } });
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(address);
    return page;
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "kvm-xen-web-"));
    // Fetches Debian's guest unless it is there.
    expect(spawnSync(process.execPath, [main, "guest"]).status).toBe(0);
    served = await Served.open(["web"]);
    browser = await openBrowser();
  });
  afterEach(async () => {
    await page?.close();
    expect(errors.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    // 128 + SIGTERM.
    expect(await served?.close()).toBe(143);
    rmSync(folder, { recursive: true, force: true });
  });

  it("starts the embedded guest by itself, which says under the virtual clock what it says in Node", async () => {
    await open();
    await waitForText(page, /the guest has powered itself off/);
    await startWith(page, { guest: "embedded", clock: "virtual" });
    const inNode = spawnSync(
      process.execPath,
      [main, "run", "--kernel", image, "--clock", "virtual"],
      { encoding: "utf8" },
    );
    const lines = (text: string) =>
      text
        .split("\n")
        .map((line) => line.trimEnd())
        .filter((line) => line !== "");
    await waitForText(page, /runstate[\s\S]*powered itself off/);
    const [own, ...said] = lines(await terminalText(page)).reverse();
    expect(own).toBe("kvm-xen: the guest has powered itself off");
    expect(said.reverse()).toEqual(lines(inNode.stdout));
  });

  it("boots the Debian guest, takes what is typed, and can be paused, stepped and reset", async () => {
    await open();
    await page.waitForSelector("#debian-label:not([hidden])", { state: "attached" });
    // Its line above the terminal goes while the next machine is made: the guest has to be told of the rows.
    await waitForText(page, /the guest has powered itself off/);
    const compiler = page.waitForRequest(/assets\/compiler/);
    await browser.startTracing(page, { categories: ["toplevel"] });
    await startWith(page, { guest: "debian" });
    await waitForText(page, /\/root #\s*$/);
    await compiler;
    const longest = longestTask(await browser.stopTracing());
    console.log(`longest task of the page's thread while Debian booted: ${longest.toFixed(1)} ms`);
    expect(longest).toBeGreaterThan(1);
    expect(longest).toBeLessThanOrEqual(50);
    await page.click("#terminal");
    await page.keyboard.type("cat /sys/hypervisor/type; stty size\n");
    const shown = await waitForText(page, /\nxen\n\d+ \d+\n\/root #\s*$/);
    const size = await page.evaluate(() => {
      const { terminal } = globalThis.kvmXen as unknown as {
        terminal: { rows: number; columns: number };
      };
      return `${terminal.rows} ${terminal.columns}`;
    });
    expect(shown).toContain(`\nxen\n${size}\n`);

    const executed = async () => {
      const text = (await page.textContent("#figures")) ?? "";
      return Number(/^[\d,]+/.exec(text)?.[0].replaceAll(",", ""));
    };
    const state = (wanted: string) =>
      page.waitForFunction(
        (text) => document.getElementById("state")?.textContent === text,
        wanted,
      );
    await page.click("#pause");
    await state("paused");
    await page.waitForTimeout(600);
    const before = await executed();
    await page.keyboard.type("x");
    await page.waitForTimeout(600);
    expect(await executed()).toBe(before);
    await page.click("#step");
    await page.waitForFunction(
      (old) => !document.getElementById("figures")?.textContent?.startsWith(old),
      before.toLocaleString("en"),
    );
    await page.waitForTimeout(600);
    const stepped = (await executed()) - before;
    // One slice is 200,000 units of work.
    expect(stepped).toBeGreaterThan(0);
    expect(stepped).toBeLessThan(1_000_000);
    await state("paused");
    await page.click("#pause");
    await state("running");
    await page.click("#reset");
    await waitForText(
      page,
      /\/root #[\s\S]*Linux version[\s\S]*Linux version|\/root #[\s\S]*Run \/init/,
      120,
    );
  });

  it("refuses what run refuses, with the same words", async () => {
    const wrong = join(folder, "wrong");
    const files: Record<string, Uint8Array> = {
      text: Buffer.from("This is no kernel, however long it is. ".repeat(40)),
      cut: readFileSync(image).subarray(0, 700),
      "gzip-of-nothing": Buffer.from("1f8b08000000000002ff0000", "hex"),
    };
    await open();
    await waitForText(page, /powered itself off/);
    const refusals: [string, Uint8Array, string[], Record<string, string>][] = [
      ...Object.entries(files).map(
        ([name, bytes]): [string, Uint8Array, string[], Record<string, string>] => [
          name,
          bytes,
          [],
          {},
        ],
      ),
      ["memory", readFileSync(image), ["--memory", "1M"], { memory: "1" }],
      ["much memory", readFileSync(image), ["--memory", "4G"], { memory: "4096" }],
      ["CPUs", readFileSync(image), ["--cpus", "65"], { cpus: "65" }],
      ["words", readFileSync(image), ["--append", "x".repeat(5000)], { append: "x".repeat(5000) }],
    ];
    for (const [name, bytes, args, values] of refusals) {
      writeFileSync(wrong, bytes);
      const run = spawnSync(process.execPath, [main, "run", "--kernel", wrong, ...args], {
        encoding: "utf8",
      });
      expect(run.status, name).not.toBe(0);
      const said = run.stderr
        .trim()
        .replace(/^kvm-xen: /, "")
        .replace(/ \(--[a-z]+\)$/, "");
      await page.setInputFiles("#kernel", wrong);
      await startWith(page, { guest: "files", memory: "256", cpus: "1", append: "", ...values });
      await page
        .waitForFunction(
          (text) => document.getElementById("message")?.textContent?.includes(text),
          said,
          { timeout: 20_000 },
        )
        .catch(async () => {
          expect(await page.textContent("#message"), name).toContain(said);
        });
    }
  });

  it("takes a kernel that is dropped on it", async () => {
    await open();
    await waitForText(page, /powered itself off/);
    const base64 = readFileSync(image).toString("base64");
    await page.evaluate((text) => {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], "something"));
      dataTransfer.items.add(new File(["no kernel"], "initrd.img"));
      const disk = new Uint8Array(4096);
      disk.set([0x55, 0xaa], 510);
      dataTransfer.items.add(new File([disk], "any"));
      dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    }, base64);
    await page.waitForFunction(() =>
      document
        .getElementById("message")
        ?.textContent?.startsWith("dropped: something, initrd.img, any"),
    );
    await page.click("#message button");
    await waitForText(page, /a tour of the machine[\s\S]*powered itself off/);
  });

  it("has a disk whose file stays as it is, and says in one line that the worker is gone", async () => {
    await open();
    await waitForText(page, /powered itself off/);
    const { stdout } = spawnSync(process.execPath, [main, "guest"], { encoding: "utf8" });
    const disk = join(folder, "disk.img");
    const content = Buffer.alloc(1 << 20, "Only read. ");
    writeFileSync(disk, content);
    for (const [name, pattern] of Object.entries({
      kernel: /-kernel (\S+)/,
      initrd: /-initrd (\S+)/,
    })) {
      await page.setInputFiles(`#${name}`, pattern.exec(stdout)?.[1] ?? "");
    }
    await page.setInputFiles("#disk", disk);
    await page.evaluate(() => {
      (document.getElementById("keep-changes") as HTMLInputElement).checked = false;
    });
    await startWith(page, { guest: "files", append: "cryptomgr.notests TERM=xterm" });
    await waitForText(page, /\/root # *$/);
    await page.click("#terminal");
    // Five bytes beyond the first 64 KiB, and across their end.
    const commands = [
      "printf 12345 | dd of=/dev/xvda bs=1 seek=65533 conv=notrunc 2>/dev/null; sync",
      "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/xvda bs=1 skip=65530 count=11 2>/dev/null; echo",
      "wc -c < /dev/xvda",
    ];
    await page.keyboard.type(`${commands.join("; ")}\n`);
    const around = content.subarray(65530, 65541).toString();
    await waitForText(page, new RegExp(`${around.slice(0, 3)}12345${around.slice(8)}\\n1048576`));
    expect(readFileSync(disk).equals(content)).toBe(true);
    await page.click("#save");
    await page.waitForFunction(() =>
      document.getElementById("message")?.textContent?.startsWith("not saved: xvda cannot be"),
    );
    await Promise.all(page.workers().map((worker) => worker.evaluate(() => self.close())));
    await page.waitForFunction(() =>
      document.getElementById("message")?.textContent?.startsWith("the machine is gone"),
    );
    await page.click("#message button");
    await waitForText(page, /Linux version/);
  });

  it("works from any web server, below any path, without special headers", async () => {
    const plain = await plainServer(join(root, "dist/web"), "/deep/below/");
    try {
      // So narrow that a phone is wider.
      await open(plain.address, 320);
      await waitForText(page, /powered itself off/);
      const [wide, room] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ]);
      expect(wide).toBeLessThanOrEqual(room as number);
    } finally {
      await plain.close();
    }
  });

  it("says what its server has to allow where nothing may be compiled", async () => {
    const rules = { "Content-Security-Policy": "script-src 'self'" };
    const strict = await plainServer(join(root, "dist/web"), "/", rules);
    try {
      await open(strict.address);
      const said = page.locator("#message >> text=the engine cannot be compiled here");
      await said.waitFor({ timeout: 20_000 });
      expect(await said.textContent()).toContain("'wasm-unsafe-eval'");
      expect(await page.isEnabled("#start")).toBe(true);
    } finally {
      await strict.close();
    }
  });

  it("says that what was dropped cannot be read, such as a folder", async () => {
    await open();
    await waitForText(page, /powered itself off/);
    await page.evaluate(() => {
      const folder = {
        slice: () => ({
          text: () => Promise.reject(new DOMException("a folder", "NotFoundError")),
        }),
      };
      const event = new DragEvent("drop", { cancelable: true });
      Object.defineProperty(event, "dataTransfer", { value: { files: [folder] } });
      dispatchEvent(event);
    });
    await page.waitForSelector("#message >> text=what was dropped cannot be read: a folder");
  });

  it("is small: what is transferred before the guest", async () => {
    const asked = new Set<string>();
    page = await browser.newPage();
    page.on("request", (request) => asked.add(request.url().slice(served.address.length)));
    await page.goto(served.address);
    await waitForText(page, /powered itself off/);
    const parts = [/^assets\/worker.*\.js$/, /^assets\/core.*\.wasm$/, /^assets\/index.*\.js$/];
    for (const part of parts) {
      expect([...asked].filter((name) => part.test(name))).toHaveLength(1);
    }
    // It is loaded when a guest has something to compile.
    expect([...asked].filter((name) => name.includes("compiler"))).toEqual([]);
    const files = [...asked].filter((name) => !/\.elf$|^guest\//.test(name));
    // As the browser asks, and as those do for whom a server has no brotli.
    const [sum = 0, zipped = 0] = await Promise.all(
      ["gzip, deflate, br, zstd", "gzip"].map(async (accepted) => {
        let bytes = 0;
        for (const name of files) {
          const headers = { "Accept-Encoding": accepted };
          const answer = await fetch(served.address + name, { headers });
          bytes += Number(answer.headers.get("content-length"));
        }
        return bytes;
      }),
    );
    console.log(`transferred before the guest: ${sum} bytes, with gzip ${zipped}`);
    // The page of the documentation has them.
    const text = readFileSync(join(root, "docs/browser.md"), "utf8");
    const [, ...said] = /(\d+) kB with brotli, (\d+) kB with gzip/.exec(text) ?? [];
    expect(Math.abs(sum / Number(said[0]) / 1000 - 1), `brotli: ${sum}`).toBeLessThan(0.03);
    expect(Math.abs(zipped / Number(said[1]) / 1000 - 1), `gzip: ${zipped}`).toBeLessThan(0.03);
    expect(sum).toBeLessThanOrEqual(LARGEST_PAGE);
  });
});

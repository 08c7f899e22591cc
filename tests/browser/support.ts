import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { expect } from "vitest";

import { openBrowser } from "./open-browser.js";

export { openBrowser };
export const main = new URL("../../dist/cli/main.js", import.meta.url).pathname;

/** The real command, serving a page, with its address. */
export class Served {
  readonly address: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.address = address;
  }

  /** Starts `kvm-xen` with these arguments and waits until it has printed an address. */
  static open(args: readonly string[]): Promise<Served> {
    const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    return new Promise((resolve, reject) => {
      let text = "";
      const hear = (bytes: Buffer) => {
        text += bytes;
        const [address] = /http:\/\/\S+(?=\s)/.exec(text) ?? [];
        if (address !== undefined) resolve(new Served(child, address));
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.once("exit", (status) => reject(new Error(`ended with status ${status}: ${text}`)));
    });
  }

  /** Asks it to end. @returns its exit status. */
  close(): Promise<number | null> {
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null) return resolve(this.#child.exitCode);
      this.#child.once("exit", (status) => resolve(status));
      this.#child.kill("SIGTERM");
    });
  }
}

/** Fetches Debian's guest unless it is there. @returns options of QEMU with its files. */
export function guestOptions(): string[] {
  const { stdout, status } = spawnSync(process.execPath, [main, "guest"], { encoding: "utf8" });
  expect(status).toBe(0);
  return stdout.trim().split(" ");
}

/** `kvm-xen web`, and one browser whose private files all tabs share. */
export class Web {
  /** For files of the test. */
  readonly folder = mkdtempSync(join(tmpdir(), "kvm-xen-page-"));
  /** What `kvm-xen guest` printed: options of QEMU with the guest's files. */
  guest = "";
  #served: Served | undefined;
  #browser: Browser | undefined;
  #context: BrowserContext | undefined;
  readonly #errors: string[] = [];

  async start(): Promise<void> {
    // Fetches Debian's guest unless it is there.
    const { stdout, status } = spawnSync(process.execPath, [main, "guest"], { encoding: "utf8" });
    expect(status).toBe(0);
    this.guest = stdout;
    this.#served = await Served.open(["web"]);
    this.#browser = await openBrowser();
    this.#context = await this.#browser.newContext({ acceptDownloads: true });
  }

  /** The page in another tab; what goes wrong in it fails the test when this ends. */
  async open(): Promise<Page> {
    if (this.#context === undefined || this.#served === undefined) throw new Error("not started");
    const page = await this.#context.newPage();
    page.on("pageerror", (error) => this.#errors.push(String(error)));
    await page.goto(this.#served.address);
    return page;
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    await this.#served?.close();
    rmSync(this.folder, { recursive: true, force: true });
    expect(this.#errors).toEqual([]);
  }
}

/** What the page lets tests see. */
declare global {
  var kvmXen: { text(): string } | undefined;
}

/** Waits until the terminal's text matches. @throws with the text when it does not in time. */
export async function waitForText(page: Page, pattern: RegExp, seconds = 120): Promise<string> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const text = await terminalText(page);
    if (pattern.test(text)) return text;
    if (Date.now() > deadline) throw new Error(`no ${pattern} in:\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What is on the terminal, and above it. */
export const terminalText = (page: Page): Promise<string> =>
  page.evaluate(() => globalThis.kvmXen?.text() ?? "");

/** All rows of a panel's table: its cells as texts. */
export const rows = (page: Page, caption: string): Promise<string[][]> =>
  page.evaluate(
    (name) =>
      [...document.querySelectorAll("table")]
        .filter((table) => table.caption?.textContent?.startsWith(name))
        .flatMap((table) => [...(table.tBodies[0]?.rows ?? [])])
        .map((row) => [...row.cells].map((cell) => cell.textContent ?? "")),
    caption,
  );

/** Sets what the form says, and starts. */
export async function startWith(
  page: Page,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  await page.evaluate((wanted) => {
    for (const [name, value] of Object.entries(wanted)) {
      const radio = document.querySelector<HTMLInputElement>(
        `input[name="${name}"][value="${value}"]`,
      );
      if (radio !== null) radio.checked = true;
      else (document.getElementById(name) as HTMLInputElement).value = value;
    }
    (document.getElementById("form") as HTMLFormElement).requestSubmit();
  }, values);
}

const types: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
};

/** A web server as plain as they come, with the files of a folder below a path. */
export async function plainServer(
  folder: string,
  below: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ address: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    const name = path.slice(below.length) || "index.html";
    const type = types[name.replace(/.*\./, "")];
    try {
      if (!path.startsWith(below)) throw new Error(path);
      const bytes = readFileSync(join(folder, name));
      for (const [header, value] of Object.entries(headers)) response.setHeader(header, value);
      if (type !== undefined) response.setHeader("Content-Type", type);
      response.end(bytes);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}${below}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

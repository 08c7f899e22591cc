import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { cacheRoot } from "../../hosts/node/cache.js";
import { debianGuestInCache } from "../../hosts/node/debian-guest.js";
import { guestInitramfs } from "../../hosts/node/guest-initramfs.js";
import { type PageRoute, PageServer } from "../../hosts/node/page-server.js";
import type { ProgramHost } from "../program.js";

/** The options of `kvm-xen web`. */
export interface WebOptions {
  readonly port: number;
  /** Open the page in the browser of this system. */
  readonly open?: boolean;
}

/** Where a build puts the page. */
export const PAGE_FOLDER = fileURLToPath(new URL("../../../dist/web", import.meta.url));

/** What the kernel of the Debian guest is told: see wordsFor() of `kvm-xen start`. Where there is a card, it asks for an address. */
const DEBIAN_WORDS = "console=hvc0 cryptomgr.notests TERM=xterm-256color KX_DHCP=1";
/** The module of network cards. */
const DRIVERS = ["xen-netfront"];

/** Who runs the commands that serve a page. */
export type WebHost = Pick<ProgramHost, "output" | "error" | "listenForSignals" | "exit">;

/**
 * `kvm-xen web`: serves the page until a signal comes.
 * @returns the exit status.
 * @throws HostError NOT_BUILT or PORT_UNUSABLE.
 */
export async function serveWeb(
  options: WebOptions,
  host: WebHost,
  cache: string = cacheRoot(),
): Promise<number> {
  const routes = await debianRoutes(cache);
  const server = await PageServer.open({ folder: PAGE_FOLDER, port: options.port, routes });
  host.output.write(Buffer.from(`${server.address}\n`));
  if (options.open) openBrowser(server.address, host.error);
  const status = await untilSignal(host);
  await server.close();
  return status;
}

/** Waits for a signal that ends the command. @returns its exit status. */
export function untilSignal(host: WebHost): Promise<number> {
  return new Promise<number>((resolve) => {
    const stop = host.listenForSignals({
      onTerminate: (_signal, number) => {
        stop();
        resolve(number);
      },
      onImpatient: (number) => host.exit(number),
      onContinue: () => undefined,
    });
  });
}

/** The guest of `npm start`, when it has been fetched before. */
export async function debianRoutes(cache: string): Promise<Map<string, PageRoute>> {
  const routes = new Map<string, PageRoute>();
  const guest = await debianGuestInCache(cache);
  if (guest === undefined) return routes;
  const described = {
    description: `Debian: ${guest.description}`,
    kernel: "guest/debian-kernel",
    initrd: "guest/debian-initrd",
    append: DEBIAN_WORDS,
  };
  routes.set("guest/debian.json", (_request, response) => {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(described));
  });
  routes.set("guest/debian-kernel", (_request, response) => {
    answerWith(response, async () => {
      response.setHeader("Content-Length", (await stat(guest.kernelPath)).size);
      // A page that is loaded again in the middle leaves no open file behind.
      await pipeline(createReadStream(guest.kernelPath), response);
    });
  });
  routes.set("guest/debian-initrd", (_request, response) => {
    answerWith(response, async () => {
      response.end(await guestInitramfs(guest, DRIVERS));
    });
  });
  return routes;
}

function answerWith(response: ServerResponse, work: () => Promise<void>): void {
  response.setHeader("Content-Type", "application/octet-stream");
  work().catch((cause: unknown) => {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    response.statusCode = 500;
    response.end(`${cause instanceof Error ? cause.message : String(cause)}\n`);
  });
}

/** Opens an address in the browser of this system. */
export function openBrowser(address: string, error: { write(text: string): unknown }): void {
  const program = process.platform === "darwin" ? "open" : "xdg-open";
  const child = spawn(program, [address], { stdio: "ignore", detached: true });
  child.on("error", () => error.write(`kvm-xen: there is no ${program}: open ${address}\n`));
  child.unref();
}

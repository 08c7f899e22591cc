import { createHash, randomBytes } from "node:crypto";
import { truncateSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { expect } from "vitest";
import { workFolder } from "../../boot/support/guests.js";
import { type Content, initramfs, type Kernel } from "./guest.js";
import { type Ended, Monitor, said } from "./monitor.js";

/** What the tests of one file share: a folder, and a file that guests fetch from this process. */
export class Bench {
  readonly #folder = workFolder();
  readonly #file = randomBytes(300_000);
  readonly #server: Server;
  #disks = 0;

  private constructor() {
    this.#server = createServer((_, answer) => answer.end(this.#file));
  }

  static async open(): Promise<Bench> {
    const bench = new Bench();
    await new Promise<void>((resolve) => bench.#server.listen(0, "127.0.0.1", resolve));
    return bench;
  }

  close(): void {
    this.#server.close();
    this.#folder.remove();
  }

  /** A folder for files of these tests. */
  get folder(): string {
    return this.#folder.path;
  }

  /** The checksum of the file that guests fetch. */
  get checksum(): string {
    return createHash("sha256").update(this.#file).digest("hex");
  }

  /** What a guest that has to fetch the file gets on its kernel's command line. */
  get port(): string {
    const address = this.#server.address();
    return `port=${typeof address === "object" ? address?.port : ""}`;
  }

  /** A raw disk of zeros. */
  disk(megabytes = 64): string {
    const path = join(this.folder, `disk-${this.#disks++}.raw`);
    writeFileSync(path, "");
    truncateSync(path, megabytes << 20);
    return path;
  }

  /** The options of a guest that says on its serial port what it finds. */
  async guest(kernel: Kernel, content: Content, append = ""): Promise<string[]> {
    const initrd = await initramfs(this.folder, kernel, content);
    // What the kernel says at its start is in dmesg too; on the console it would be more than half of all exits of a boot.
    const line = `console=ttyS0 quiet panic=-1 cryptomgr.notests ${this.port} ${append}`;
    const files = ["-kernel", kernel.image, "-initrd", initrd, "-append", line];
    return [...files, "-display", "none", "-serial", "stdio", "-no-reboot", "-m", "256"];
  }
}

/**
 * Runs QEMU under exec to its end. QEMU that cannot use KVM may emulate quietly instead: that it ran KVM is
 * checked here, whatever else is.
 */
export async function runs(
  words: readonly string[],
  options: readonly string[] = [],
): Promise<Ended> {
  const ended = await new Monitor(words, options).ended;
  checkKvm(ended);
  return ended;
}

/** Whether the program used KVM of this exec. */
export function checkKvm({ runs: count, stderr, console }: Ended): void {
  expect(count, `KVM_RUN was never called\n${stderr}\n${console.slice(-2000)}`).toBeGreaterThan(10);
}

/** What every guest has to say, and how its monitor may end. */
export function checkGuest(
  ended: Ended,
  wanted: Readonly<Record<string, string | RegExp>>,
  statuses: readonly number[] = [0],
): void {
  const found = said(ended.console);
  const context = `${ended.console.slice(-6000)}\n${ended.stderr}`;
  expect(found["failed"], context).toBeUndefined();
  expect(found, context).toHaveProperty("done");
  for (const [name, value] of Object.entries(wanted)) {
    if (typeof value === "string") expect(found[name], context).toBe(value);
    else expect(found[name], context).toMatch(value);
  }
  expect(statuses, context).toContain(ended.status);
}

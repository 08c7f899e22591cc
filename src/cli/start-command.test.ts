import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HostError } from "../base/index.js";
import type { DebianGuest } from "../hosts/node/debian-guest.js";
import { closeDisks, openDisks } from "./disk-option.js";
import { type ObtainGuest, requestForStart } from "./start-command.js";

const options = { memory: 256 << 20, cpus: 2 };
let folder: string;
let guest: DebianGuest;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-start-"));
  guest = {
    kernelPath: join(folder, "vmlinuz"),
    busyboxPath: join(folder, "busybox"),
    modulePaths: [],
    description: "linux-image-1 1.0",
  };
  writeFileSync(guest.kernelPath, "kernel");
  writeFileSync(guest.busyboxPath, "busybox");
});
afterAll(() => rmSync(folder, { recursive: true }));

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, rows: 24, columns: 80, written, write: (text: string) => written.push(text) };
}

describe("requestForStart", () => {
  it("boots Debian's kernel with busybox and our first process", async () => {
    const error = terminal(false);
    const request = await requestForStart(options, terminal(true), error, async () => guest, true);
    const { config } = request;
    expect(Buffer.from(config.kernel).toString()).toBe("kernel");
    expect(Buffer.from(config.initrd ?? []).toString("latin1")).toContain("setsid cttyhack");
    expect(config.commandLine).toMatch(/^console=hvc0 .*KX_PROMPT=1$/);
    expect(config).toMatchObject({ memoryBytes: 256 << 20, cpus: 2 });
    expect(error.written).toEqual([]);
  });

  it("gives it disks, and their drivers, unpacked", async () => {
    const image = join(folder, "data.img");
    writeFileSync(image, new Uint8Array(4096));
    const module = join(folder, "xen-blkfront.ko");
    writeFileSync(module, "a module");
    const asked: boolean[] = [];
    // A guest that was fetched before its modules were kept is fetched anew.
    const obtain: ObtainGuest = async (_progress, update) => {
      asked.push(update);
      const netfront = join(folder, "xen-netfront.ko");
      return { ...guest, modulePaths: update ? [module, netfront] : undefined };
    };
    const more = { ...options, disk: [image] };
    const request = await requestForStart(more, terminal(true), terminal(false), obtain, true);
    expect(asked).toEqual([false, true]);
    expect(request.disks?.map(({ name, disk }) => [name, disk.size])).toEqual([["xvda", 4096]]);
    const initrd = Buffer.from(request.config.initrd ?? []).toString("latin1");
    expect(initrd).toContain("lib/modules/xen-blkfront.ko");
    expect(initrd).toContain("a module");
    await closeDisks(request.disks ?? []);
    const failing: ObtainGuest = () => Promise.reject(new HostError("GUEST_UNAVAILABLE", "no"));
    await expect(
      requestForStart(more, terminal(true), terminal(false), failing, true),
    ).rejects.toThrow("no;");
    // It has let go of the disk.
    await closeDisks(await openDisks([image]));
  });

  it("shows progress on a terminal", async () => {
    const error = terminal(true);
    const obtain = async (progress: { step(text: string): void; end(): void }) => {
      progress.step("downloading");
      progress.end();
      return guest;
    };
    await requestForStart(options, terminal(true), error, obtain, true);
    expect(error.written.join("")).toContain("downloading");
    expect(error.written.at(-1)).toBe("kvm-xen: booting linux-image-1 1.0\n");
  });

  it.each([
    ["there is no apt", false, async () => guest],
    [
      "apt has no Debian kernels",
      true,
      async () => Promise.reject(new HostError("NO_PACKAGE", "apt knows no package x")),
    ],
  ])("boots the embedded guest and says so when %s", async (_name, hasApt, obtain) => {
    const error = terminal(false);
    const request = await requestForStart(options, terminal(false), error, obtain, hasApt);
    expect([...request.config.kernel.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect(request.config.initrd).toBeUndefined();
    expect(error.written.join("")).toMatch(/^kvm-xen: [^\n]*embedded guest[^\n]*\n$/);
  });

  it("boots the embedded guest when asked, silently", async () => {
    const error = terminal(false);
    const asked = { ...options, embedded: true };
    const request = await requestForStart(asked, terminal(false), error, async () => guest, true);
    expect(request.config.commandLine).toBe("");
    expect(error.written).toEqual([]);
  });

  it("refuses a command for the embedded guest, which has no shell, at once", async () => {
    const wanted = { ...options, embedded: true, exec: "true" };
    const request = requestForStart(wanted, terminal(true), terminal(false), async () => guest);
    await expect(request).rejects.toMatchObject({ code: "USAGE" });
  });

  it("says why a newer kernel was not fetched, and boots the one that is there", async () => {
    const error = terminal(false);
    const obtain = async () => ({ ...guest, notUpdated: "no network" });
    const request = await requestForStart(options, terminal(false), error, obtain, true);
    expect(Buffer.from(request.config.kernel).toString()).toBe("kernel");
    expect(error.written.join("")).toMatch(/^kvm-xen: no network: booting linux-image-1[^\n]*\n$/);
  });

  it("refuses when the download fails, and names the way out", async () => {
    const obtain = async () => Promise.reject(new HostError("GUEST_UNAVAILABLE", "no network"));
    const refused = requestForStart(options, terminal(false), terminal(false), obtain, true);
    await expect(refused).rejects.toMatchObject({
      code: "GUEST_UNAVAILABLE",
      message: expect.stringMatching(/^no network; .*--embedded/),
    });
  });
});

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DebianGuest } from "../hosts/node/debian-guest.js";
import { guestFiles } from "./guest-command.js";

let folder: string;
let guest: DebianGuest;
let written: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-guest-"));
  guest = guestIn(folder);
  written = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

function guestIn(path: string): DebianGuest {
  for (const name of ["vmlinuz", "busybox", "xen-blkfront.ko"])
    writeFileSync(join(path, name), `content of ${name}`);
  return {
    kernelPath: join(path, "vmlinuz"),
    busyboxPath: join(path, "busybox"),
    modulePaths: [join(path, "xen-blkfront.ko")],
    description: "linux-image-1 1.0",
  };
}
const error = { write: (text: string) => written.push(text) };
const initrd = () => readFileSync(join(folder, "initrd.img"), "latin1");

describe("guestFiles", () => {
  it("prints options of QEMU, and makes the initial RAM disk with modules", async () => {
    const printed = await guestFiles({}, error, async () => guest, true);
    expect(printed).toBe(`-kernel ${folder}/vmlinuz -initrd ${folder}/initrd.img`);
    for (const text of ["setsid cttyhack", "content of busybox", "lib/modules/xen-blkfront.ko"])
      expect(initrd()).toContain(text);
    expect(readdirSync(folder).sort()).toEqual([
      ...["busybox", "initrd.img", "vmlinuz", "xen-blkfront.ko"],
    ]);
    expect(written).toEqual([]);
  });

  it("fetches a guest again that is there without modules", async () => {
    const asked: boolean[] = [];
    const obtain = async (_progress: unknown, update: boolean) => {
      asked.push(update);
      return update ? guest : { ...guest, modulePaths: undefined };
    };
    await guestFiles({}, error, obtain, true);
    expect(asked).toEqual([false, true]);
    expect(initrd()).toContain("content of xen-blkfront.ko");
  });

  it("takes what is there when that cannot be fetched, and says so", async () => {
    const old = { ...guest, modulePaths: undefined, notUpdated: "no network" };
    await guestFiles({}, error, async () => old, true);
    expect(written.join("")).toMatch(/^kvm-xen: no network: linux-image-1 1.0 [^\n]*\n$/);
    expect(initrd()).toContain("content of busybox");
  });

  it("refuses what a shell would take apart, a cache that cannot be written, and no apt", async () => {
    const spaced = join(folder, "a b");
    mkdirSync(spaced);
    const code = (value: string) => ({ code: value, message: expect.stringMatching(/^[^\n]*$/) });
    const odd = guestFiles({}, error, async () => guestIn(spaced), true);
    await expect(odd).rejects.toMatchObject(code("CACHE_UNUSABLE"));
    mkdirSync(join(folder, "initrd.img"));
    const taken = guestFiles({}, error, async () => guest, true);
    await expect(taken).rejects.toMatchObject(code("CACHE_UNUSABLE"));
    const without = guestFiles({}, error, async () => guest, false);
    await expect(without).rejects.toMatchObject(code("NO_PACKAGE"));
  });
});

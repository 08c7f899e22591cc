import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../../base/index.js";
import { obtainDebianGuest } from "./debian-guest.js";
import type { RunProgram } from "./subprocess.js";

/** A machine with apt, played: which kernel its lists name, and which one its mirror has. */
class FakeApt {
  listed: string | undefined = "6.1.0-1";
  mirror = "6.1.0-1";
  fresh: string | undefined = "6.1.0-2";
  commands: string[] = [];
  failUnpacking = false;

  readonly run: RunProgram = async (_program, args, options) => {
    const command = args.find((arg) => /^(depends|show|download|update|-x)$/.test(arg)) ?? "";
    this.commands.push(command);
    const own = args.some((arg) => arg.startsWith("Dir::State::lists="));
    const kernel = own ? this.fresh : this.listed;
    const subject = args.at(-1) ?? "";
    switch (command) {
      case "update":
        return "";
      case "show":
        if (kernel === undefined) throw new HostError("PROGRAM_FAILED", "no such package");
        return `Package: ${subject}\nVersion: 1:${kernel}\nSize: 4\n`;
      case "depends":
        return `linux-image-cloud-amd64\n  Depends: linux-image-${kernel}-cloud-amd64\n`;
      case "download":
        if (subject.startsWith("linux-") && kernel !== this.mirror) {
          throw new HostError("PROGRAM_FAILED", "apt-get: 404 Not Found");
        }
        writeFileSync(join(options?.cwd ?? "", `${subject.replace("=", "_")}_amd64.deb`), "deb!");
        return "";
      default:
        return this.#unpack(subject);
    }
  };

  #unpack(tree: string): string {
    if (this.failUnpacking) throw new HostError("PROGRAM_FAILED", "dpkg-deb: disk full");
    for (const folder of ["boot", "bin"]) mkdirSync(join(tree, folder), { recursive: true });
    writeFileSync(join(tree, "boot/vmlinuz-6"), "kernel");
    writeFileSync(join(tree, "bin/busybox"), "busybox");
    return "";
  }
}

let cacheRoot: string;
let apt: FakeApt;
beforeEach(() => {
  cacheRoot = mkdtempSync(join(tmpdir(), "kvm-xen-debian-"));
  apt = new FakeApt();
});
afterEach(() => rmSync(cacheRoot, { recursive: true }));

const progress = { step: () => undefined, fraction: () => undefined, end: () => undefined };
const obtain = (update = false) => obtainDebianGuest({ cacheRoot, progress, update, run: apt.run });

describe("obtainDebianGuest", () => {
  it("fetches the kernel that the meta package names, and keeps only what is needed", async () => {
    const guest = await obtain();
    expect(guest.description).toBe("linux-image-6.1.0-1-cloud-amd64 1:6.1.0-1");
    const files = readdirSync(join(cacheRoot, "debian-amd64"));
    expect(files.sort()).toEqual(["busybox", "guest.json", "vmlinuz"]);
    expect(readdirSync(cacheRoot)).toEqual(["debian-amd64"]);
    expect(apt.commands).not.toContain("update");
  });

  it("asks nothing the second time, unless told to update", async () => {
    const first = await obtain();
    apt.commands = [];
    expect(await obtain()).toEqual(first);
    expect(apt.commands).toEqual([]);
    await obtain(true);
    expect(apt.commands).toContain("download");
  });

  it("fetches lists of its own when the machine has none", async () => {
    apt.listed = undefined;
    apt.mirror = "6.1.0-2";
    expect((await obtain()).description).toContain("6.1.0-2");
    expect(readdirSync(cacheRoot)).toEqual(["debian-amd64"]);
  });

  it("fetches lists of its own when the machine's name a version that is gone", async () => {
    apt.mirror = "6.1.0-2";
    expect((await obtain()).description).toContain("6.1.0-2");
    expect(apt.commands).toContain("update");
  });

  it("says that there is no Debian kernel when fresh lists have none either", async () => {
    apt.listed = undefined;
    apt.fresh = undefined;
    await expect(obtain()).rejects.toMatchObject({ code: "NO_PACKAGE" });
  });

  it("says why a download failed, and leaves nothing", async () => {
    apt.mirror = "none";
    await expect(obtain()).rejects.toMatchObject({
      code: "GUEST_UNAVAILABLE",
      message: expect.stringContaining("404 Not Found"),
    });
    apt = new FakeApt();
    apt.failUnpacking = true;
    await expect(obtain()).rejects.toMatchObject({ code: "GUEST_UNAVAILABLE" });
    expect(existsSync(join(cacheRoot, "debian-amd64"))).toBe(false);
    expect(readdirSync(cacheRoot)).toEqual([]);
  });
});

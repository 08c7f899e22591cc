import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
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
  downloads: string[] = [];
  failUnpacking: string | undefined;
  /** As Debian 14 has it: the image package is empty, and depends on another with the kernel. */
  isSplit = false;
  /** The name of a module, as its package has it. */
  module: string | undefined;
  /** How the next fetches of package lists fail. */
  updates: string[] = [];
  pauses: number[] = [];

  readonly run: RunProgram = async (_program, args, options) => {
    const command = args.find((arg) => /^(depends|show|download|update|-x)$/.test(arg)) ?? "";
    this.commands.push(command);
    if (command !== "-x") expect(args).toContain("Dir::State::status=/dev/null");
    const own = args.some((arg) => arg.startsWith("Dir::State::lists="));
    const kernel = own ? this.fresh : this.listed;
    const subject = args.at(-1) ?? "";
    switch (command) {
      case "update": {
        const failure = this.updates.shift();
        if (failure !== undefined) throw new HostError("PROGRAM_FAILED", `apt-get: E: ${failure}`);
        return "";
      }
      case "show":
        if (kernel === undefined) throw new HostError("PROGRAM_FAILED", "no such package");
        return `Package: ${subject}\nVersion: 1:${kernel}\nSize: 4\n`;
      case "depends":
        if (subject === "linux-image-cloud-amd64") {
          return `${subject}\n  Depends: linux-image-${kernel}-cloud-amd64\n`;
        }
        return this.isSplit
          ? `${subject}\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    dracut\n  Depends: linux-base-${kernel}-cloud-amd64\n  Depends: linux-binary-${kernel}-cloud-amd64\n  Depends: linux-modules-${kernel}-cloud-amd64\n`
          : `${subject}\n  Depends: kmod\n`;
      case "download":
        this.downloads.push(subject.replace(/=.*/, ""));
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
    if (this.failUnpacking) throw new HostError("PROGRAM_FAILED", this.failUnpacking);
    const place = this.isSplit ? "usr/lib/modules/7.2-cloud-amd64" : "boot";
    for (const folder of [place, "bin"]) mkdirSync(join(tree, folder), { recursive: true });
    writeFileSync(join(tree, place, this.isSplit ? "vmlinuz" : "vmlinuz-6"), "kernel");
    writeFileSync(join(tree, "bin/busybox"), "busybox");
    if (this.module !== undefined) {
      const drivers = join(tree, "lib/modules/6.1.0-1/kernel/drivers/net");
      mkdirSync(drivers, { recursive: true });
      const packed = Buffer.from(XZ_MODULE, "base64");
      const data = this.module.endsWith(".xz") ? packed : "module";
      writeFileSync(join(drivers, this.module), data);
    }
    return "";
  }
}

/** "module", as `xz --check=crc32` packs it. */
const XZ_MODULE =
  "/Td6WFoAAAFpIt42AgAhARYAAAB0L+WjAQAFbW9kdWxlAAAAKCYkDAABGgbF6sh5kEKZDQEAAAAAAVla";

let cacheRoot: string;
let apt: FakeApt;
beforeEach(() => {
  cacheRoot = mkdtempSync(join(tmpdir(), "kvm-xen-debian-"));
  apt = new FakeApt();
});
afterEach(() => rmSync(cacheRoot, { recursive: true }));

const parts = ["busybox", "guest.json", "vmlinuz"];
const progress = { step: () => undefined, fraction: () => undefined, end: () => undefined };
const pause = async (milliseconds: number) => apt.pauses.push(milliseconds);
const obtain = (update = false) =>
  obtainDebianGuest({ cacheRoot, progress, update, run: apt.run, pause });

describe("obtainDebianGuest", () => {
  it("fetches the kernel that the meta package names, and keeps only what is needed", async () => {
    const guest = await obtain();
    expect(guest.description).toBe("linux-image-6.1.0-1-cloud-amd64 1:6.1.0-1");
    const files = readdirSync(join(cacheRoot, "debian-amd64"));
    expect(files.sort()).toEqual(["busybox", "guest.json", "vmlinuz"]);
    expect(readdirSync(cacheRoot)).toEqual(["debian-amd64"]);
    expect(apt.commands).not.toContain("update");
  });

  it.each([
    "xen-netfront.ko",
    "xen-netfront.ko.xz",
  ])("keeps the module %s, unpacked", async (name) => {
    apt.module = name;
    const { modulePaths } = await obtain();
    expect(modulePaths).toEqual([join(cacheRoot, "debian-amd64/xen-netfront.ko")]);
    expect(readFileSync(modulePaths?.[0] ?? "", "utf8")).toBe("module");
    // The guest as it was fetched before modules were kept.
    const told = { name: "linux-image-1", version: "1" };
    writeFileSync(join(cacheRoot, "debian-amd64/guest.json"), JSON.stringify(told));
    expect((await obtain()).modulePaths).toBeUndefined();
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

  it("finds the kernel of Debian 14, which has a package of its own", async () => {
    apt.isSplit = true;
    const guest = await obtain();
    expect(guest.description).toBe("linux-image-6.1.0-1-cloud-amd64 1:6.1.0-1");
    expect(readFileSync(guest.kernelPath, "utf8")).toBe("kernel");
    expect(apt.downloads).toEqual(["linux-binary-6.1.0-1-cloud-amd64", "busybox-static"]);
    expect(readdirSync(join(cacheRoot, "debian-amd64")).sort()).toEqual(parts);
  });

  it("asks a mirror again that is just being brought up to date", async () => {
    apt.listed = undefined;
    apt.mirror = "6.1.0-2";
    apt.updates = ["File has unexpected size (1 != 2). Mirror sync in progress?", "the same"];
    expect((await obtain()).description).toContain("6.1.0-2");
    expect(apt.commands.filter((command) => command === "update")).toHaveLength(3);
    expect(apt.pauses).toHaveLength(2);
  });

  it("goes on with the lists that could be fetched, when some could not", async () => {
    apt.listed = undefined;
    apt.mirror = "6.1.0-2";
    apt.updates = new Array(9).fill("Failed to fetch contrib");
    expect((await obtain()).description).toContain("6.1.0-2");
  });

  it("says what to do when the mirror stays in that state", async () => {
    apt.listed = undefined;
    apt.fresh = undefined;
    apt.updates = new Array(9).fill("Failed to fetch main: Mirror sync in progress?");
    await expect(obtain()).rejects.toMatchObject({
      code: "GUEST_UNAVAILABLE",
      message: expect.stringMatching(/^[^\n]*Mirror sync[^\n]*try again in some minutes$/),
    });
  });

  it("keeps the guest that is there when a newer one cannot be fetched", async () => {
    const first = await obtain();
    apt.mirror = "none";
    expect(await obtain(true)).toEqual({
      ...first,
      notUpdated: expect.stringMatching(/404 Not Found.*try again/),
    });
    expect(await obtain()).toEqual(first);
  });

  it.each([
    ["dpkg-deb: error: tar: ./boot: No space left on device"],
    ["apt-get: E: You don't have enough free space in /x."],
    ["ENOSPC: no space left on device, write"],
  ])("names a full disk: %s", async (complaint) => {
    apt.failUnpacking = complaint;
    await expect(obtain()).rejects.toMatchObject({
      code: "CACHE_FULL",
      message: expect.stringMatching(/^[^\n]*is full[^\n]*XDG_CACHE_HOME[^\n]*$/),
    });
  });

  it.each(["guest.json", "vmlinuz"])("fetches again when %s was damaged", async (name) => {
    const first = await obtain();
    if (name === "vmlinuz") rmSync(join(cacheRoot, "debian-amd64", name));
    else writeFileSync(join(cacheRoot, "debian-amd64", name), "{");
    expect(await obtain()).toEqual(first);
    expect(readdirSync(join(cacheRoot, "debian-amd64")).sort()).toEqual(parts);
  });

  it("says that the cache cannot be written before anything is fetched", async () => {
    writeFileSync(join(cacheRoot, "file"), "");
    const refused = obtainDebianGuest({
      cacheRoot: join(cacheRoot, "file/in"),
      progress,
      run: apt.run,
    });
    await expect(refused).rejects.toMatchObject({ code: "CACHE_UNUSABLE" });
    expect(apt.commands).toEqual([]);
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
    apt.failUnpacking = "dpkg-deb: broken";
    await expect(obtain()).rejects.toMatchObject({ code: "GUEST_UNAVAILABLE" });
    expect(existsSync(join(cacheRoot, "debian-amd64"))).toBe(false);
    expect(readdirSync(cacheRoot)).toEqual([]);
  });
});

// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { coverWords } from "./cover.mjs";
import { root } from "./files.mjs";
import { nodeFolder } from "./nodes.mjs";

/**
 * What some tests need and not every machine has, and how it is found. The tests that need it ask
 * here (or as here), and skips.mjs lists them.
 * @typedef {keyof typeof finders} Need
 */

/**
 * Whether a program can be started.
 * @param {string} name
 * @param {string[]} args some that make it end at once, with status 0; `--version` when there are none
 */
const has = (name, ...args) =>
  spawnSync(name, args.length > 0 ? args : ["--version"], { stdio: "ignore" }).status === 0;

const finders = {
  QEMU: () => ["qemu-system-x86_64", "qemu-img"].every((name) => has(name)),
  "a covered /dev/kvm": () => coverWords() !== undefined,
  Chromium: () => has("chromium"),
  "a C compiler": () => has("gcc"),
  "an assembler": () => has("as"),
  "the headers of Linux and Xen": () =>
    ["linux/kvm.h", "xen/xen.h"].every((name) => existsSync(join("/usr/include", name))),
  // tests/headers fetches them when it can; what it could not fetch is not there afterwards.
  "the headers of Debian's next release": () =>
    ["linux-libc-dev", "libxen-dev"].every((name) =>
      existsSync(join(root, "build/cache/headers-trixie", name)),
    ),
  "the newest Node": () => nodeFolder("latest") !== undefined,
  "the program cargo": () => has("cargo"),
  "the program cpio": () => has("cpio"),
  "the tools of ext4": () =>
    ["mke2fs", "e2fsck", "debugfs"].every((name) => has(`/usr/sbin/${name}`, "-V")),
  "the program depmod": () => has("/usr/sbin/depmod"),
  "a user who makes a Debian": () =>
    has("mmdebstrap") &&
    ["/usr/sbin/sfdisk", "setpriv", "unshare"].every((name) => has(name)) &&
    // It has no option that ends with 0.
    spawnSync("newuidmap", { stdio: "ignore" }).error === undefined &&
    process.getuid?.() === 0 &&
    has("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"),
  "the program gdb": () => has("gdb"),
  "the program libguestfs-test-tool": () => has("libguestfs-test-tool", "--help"),
  // Users have no /usr/sbin in their PATH.
  "the program libvirtd": () => has("/usr/sbin/libvirtd") && has("virsh"),
  "the program lz4": () => has("lz4"),
  "the program sqlite3": () => has("sqlite3", "-version"),
  "the program passt": () => has("passt"),
  "the program script": () => has("script"),
  "the program stress-ng": () => has("stress-ng"),
  "the program xz": () => has("xz"),
  "the program zstd": () => has("zstd"),
  // openssh's programs have no --version: these arguments make them end with 0.
  "the programs that make and reach a Debian": () =>
    has("mmdebstrap") && has("/usr/sbin/sfdisk") && has("ssh", "-V"),
  libslirp: () =>
    ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"].some((folder) =>
      existsSync(join(folder, "libslirp.so.0")),
    ),
  "Linux on x86-64": () => process.platform === "linux" && process.arch === "x64",
  "interfaces of its own (/dev/net/tun)": () =>
    has("unshare", "-n", "/usr/sbin/ip", "tuntap", "add", "vm0", "mode", "tap"),
  "a network of its own": () =>
    has("unshare", "-n", "/usr/sbin/ip", "link", "add", "out", "type", "veth"),
  "mounts of its own": () => has("unshare", "-m", "true"),
  "to be root": () => process.getuid?.() === 0,
};

/** @type {Map<Need, boolean>} */
const known = new Map();

/**
 * Whether this machine has what a test needs.
 * @param {Need} need
 */
export function machineHas(need) {
  const found = known.get(need) ?? finders[need]();
  known.set(need, found);
  return found;
}

/** Whether this is continuous integration, where nothing may be missing; .ci/run says so. */
export const inCi = process.env["CI"] !== undefined;

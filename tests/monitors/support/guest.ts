import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CpioEntry } from "../../../src/hosts/node/cpio.js";
import { busyboxInitramfs } from "../../../src/hosts/node/initramfs.js";
import { debianGuest } from "../../boot/support/guests.js";

/** A kernel with its modules. */
export interface Kernel {
  /** Path of the bzImage. */
  readonly image: string;
  /** The folder of its modules, such as `lib/modules/6.1.0-1-cloud-amd64`. */
  readonly modules: string;
}

/** The kernel of an unpacked package. */
export async function kernelIn(tree: string): Promise<Kernel> {
  const [name = ""] = (await readdir(join(tree, "boot"))).filter((file) =>
    file.startsWith("vmlinuz-"),
  );
  const version = name.replace("vmlinuz-", "");
  // depmod looks there only.
  if (!existsSync(join(tree, "lib"))) symlinkSync("usr/lib", join(tree, "lib"));
  const modules = join(tree, "lib/modules", version);
  // The package has no modules.dep: depmod writes one when it is installed.
  if (!existsSync(join(modules, "modules.dep"))) {
    // Users have no /usr/sbin in their PATH.
    const result = spawnSync("/usr/sbin/depmod", ["-b", tree, version], { encoding: "utf8" });
    if (result.status !== 0) throw new Error(`depmod: ${result.error ?? result.stderr}`);
  }
  return { image: join(tree, "boot", name), modules };
}

/** Names of modules as the kernel says them. */
const plain = (path: string): string =>
  (path.split("/").at(-1) ?? "").replace(/\.ko(\.xz|\.zst)?$/, "").replaceAll("-", "_");

/** Modules and what they need, as files of an initramfs, with a modules.dep of their own. */
function moduleEntries(kernel: Kernel, names: readonly string[]): CpioEntry[] {
  const lines = readFileSync(join(kernel.modules, "modules.dep"), "utf8")
    .split("\n")
    .filter(Boolean);
  const needs = new Map(
    lines.map((line) => {
      const [path = "", rest = ""] = line.split(":");
      return [path, rest.trim().split(" ").filter(Boolean)] as const;
    }),
  );
  const byName = new Map([...needs.keys()].map((path) => [plain(path), path]));
  const wanted = new Set<string>();
  for (const name of names) {
    const path = byName.get(name.replaceAll("-", "_"));
    // Built into one kernel, a module of the other.
    if (path === undefined) continue;
    for (const one of [path, ...(needs.get(path) ?? [])]) wanted.add(one);
  }
  const root = `lib/modules/${kernel.modules.split("/").at(-1)}`;
  const unpacked = (path: string) => path.replace(/\.(xz|zst)$/, "");
  const folders = new Set<string>();
  for (const path of wanted) {
    for (let at = dirname(join(root, path)); at !== "."; at = dirname(at)) folders.add(at);
  }
  const builtin = readFileSync(join(kernel.modules, "modules.builtin"));
  const table = [...wanted].map(
    (path) => `${unpacked(path)}: ${(needs.get(path) ?? []).map(unpacked).join(" ")}\n`,
  );
  return [
    ...[...folders].sort().map((path): CpioEntry => ({ kind: "folder", path })),
    ...[...wanted].map((path): CpioEntry => {
      const data = contentOf(join(kernel.modules, path));
      return { kind: "file", path: join(root, unpacked(path)), mode: 0o644, data };
    }),
    { kind: "file", path: `${root}/modules.dep`, mode: 0o644, data: Buffer.from(table.join("")) },
    { kind: "file", path: `${root}/modules.builtin`, mode: 0o644, data: builtin },
  ];
}

function contentOf(path: string): Uint8Array {
  if (!path.endsWith(".xz")) return readFileSync(path);
  return spawnSync("xz", ["-dc", path], { maxBuffer: 1 << 28 }).stdout;
}

/** What an initramfs holds besides busybox. */
export interface Content {
  /** Shell commands; `guests/init.sh` has functions for them. */
  readonly script: string;
  readonly modules: readonly string[];
  readonly more?: readonly CpioEntry[];
}

const init = new URL("../guests/init.sh", import.meta.url);

/** Writes an initramfs into a folder and returns its path; the same content gives the same path. */
export async function initramfs(folder: string, kernel: Kernel, content: Content): Promise<string> {
  const busybox = readFileSync((await debianGuest()).busyboxPath);
  const bytes = busyboxInitramfs(busybox, readFileSync(init), [
    { kind: "file", path: "script", mode: 0o644, data: Buffer.from(content.script) },
    { kind: "folder", path: "lib" },
    ...moduleEntries(kernel, content.modules).filter(({ path }) => path !== "lib"),
    ...(content.more ?? []),
  ]);
  mkdirSync(folder, { recursive: true });
  const name = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  const path = join(folder, `initrd-${name}`);
  writeFileSync(path, bytes);
  return path;
}

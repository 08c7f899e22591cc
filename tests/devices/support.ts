import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ended, runCli } from "../boot/support/cli.js";
import type { KernelName } from "../boot/support/guests.js";
import { initramfs } from "../monitors/support/guest.js";
import { kernel } from "../monitors/support/packages.js";

/** Runs a program of the host to its end. */
export function host(program: string, ...args: string[]): { status: number | null; text: string } {
  const env = { ...process.env, LC_ALL: "C.UTF-8", PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
  const { status, stdout, stderr, error } = spawnSync(program, args, { env, encoding: "utf8" });
  if (error) throw new Error(`${program}: ${error.message}: install it`);
  return { status, text: stdout + stderr };
}

/** Makes an ext4 image; what is in it depends on nothing of this moment. */
export function makeImage(folder: string, name: string, size = "32M"): string {
  const path = join(folder, name);
  host("truncate", "-s", size, path);
  const uuid = "6b766d2d-7865-6e00-0000-000000000001";
  const made = host(
    "mke2fs",
    "-q",
    "-F",
    "-t",
    "ext4",
    "-U",
    uuid,
    "-E",
    `hash_seed=${uuid}`,
    path,
  );
  if (made.status !== 0) throw new Error(made.text);
  return path;
}

/** What `e2fsck` finds wrong with an image; empty for a clean one. */
export function fsck(path: string): string {
  const { status, text } = host("e2fsck", "-fn", path);
  return status === 0 ? "" : text;
}

/** The checksum of a file inside of an ext4 image. */
export function sumInside(folder: string, image: string, file: string): string {
  const out = join(folder, "dumped");
  host("debugfs", "-R", `dump ${file} ${out}`, image);
  return sumOf(out);
}

export const sumOf = (path: string): string =>
  createHash("sha256").update(readFileSync(path)).digest("hex");

/** The words of a command that runs Debian's kernel with the drivers of disks and network cards and a script. */
export async function guestArguments(
  folder: string,
  name: KernelName,
  script: string,
  clock: "real" | "virtual",
): Promise<string[]> {
  const tree = await kernel(name);
  const initrd = await initramfs(folder, tree, {
    script,
    modules: ["xen-blkfront", "xen-netfront"],
  });
  return [
    ...["run", "--kernel", tree.image, "--initrd", initrd, "--clock", clock],
    ...["--append", "panic=-1 cryptomgr.notests", "--timeout", "560"],
  ];
}

/** Runs Debian's kernel with the drivers of disks and network cards and a script, under the virtual clock, to its end. */
export async function run(
  folder: string,
  name: KernelName,
  script: string,
  disks: readonly string[],
  more: readonly string[] = [],
  wrapper: readonly string[] = [],
): Promise<Ended & { said: Record<string, string> }> {
  const args = [
    ...(await guestArguments(folder, name, script, "virtual")),
    ...disks.flatMap((disk) => ["--disk", disk]),
    ...more,
  ];
  const ended = await runCli(args, (command) => [...wrapper, ...command]);
  return { ...ended, said: said(ended) };
}

/** What the guest said, by what it is about. */
export function said(ended: Ended): Record<string, string> {
  const words: Record<string, string> = {};
  for (const { text } of ended.lines) {
    const [, about, value] = /^E (\S+) ?(.*)$/.exec(text) ?? [];
    if (about !== undefined) words[about] = value ?? "";
  }
  return words;
}

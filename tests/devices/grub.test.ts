/** Debian's GRUB for Xen guests boots a disk by the configuration that is on it. */
import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import { initramfs } from "../monitors/support/guest.js";
import { kernel } from "../monitors/support/packages.js";
import { fsck, host } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);

it("run without --kernel: GRUB's menu, the kernel that it names, and another one after a reboot", async () => {
  const [first, next] = [await kernel("6.12"), await kernel("6.1")];
  const script = `
say booted $(uname -r) $(sed -n 's/.*\\(BOOT_IMAGE=[^ ]*\\).*/\\1/p' /proc/cmdline)
load xen-blkfront
wait_for /dev/xvda1
mount -t ext4 /dev/xvda1 /mnt && sed -i 's/default=0/default=1/' /mnt/boot/grub/grub.cfg && umount /mnt
reboot -f`;
  const then = "say then $(uname -r)\npoweroff -f";
  mkdirSync(at("root/boot/grub"), { recursive: true });
  const files = [
    ["vmlinuz-6.12", first.image],
    ["vmlinuz-6.1", next.image],
    ["initrd-6.12", await initramfs(folder.path, first, { script, modules: ["xen-blkfront"] })],
    ["initrd-6.1", await initramfs(folder.path, next, { script: then, modules: [] })],
  ] as const;
  for (const [name, from] of files) copyFileSync(from, at(`root/boot/${name}`));
  const entry = (name: string): string => `menuentry 'Linux ${name}' {
  linux /boot/vmlinuz-${name} console=hvc0 panic=-1 cryptomgr.notests
  initrd /boot/initrd-${name}
}
`;
  const config = `set default=0\nset timeout=1\n${entry("6.12")}${entry("6.1")}`;
  writeFileSync(at("root/boot/grub/grub.cfg"), config);
  const image = at("disk.img");
  writeFileSync(image, "");
  truncateSync(image, 96 << 20);
  writeFileSync(at("table"), "label: gpt\nstart=2048\n");
  expect(host("sh", "-c", `sfdisk -q ${image} < ${at("table")}`).status).toBe(0);
  const words = ["-q", "-F", "-t", "ext4", "-d", at("root"), "-E", `offset=${1 << 20}`];
  expect(host("mke2fs", ...words, image, "94M")).toEqual({ status: 0, text: "" });

  const cli = new Cli(["run", "--disk", image, "--memory", "256M", "--timeout", "560"]);
  cli.endInput();
  const ended = await cli.ended();
  expect(ended.stdout).toMatch(/GNU GRUB +version 2[\s\S]*Linux 6\.12[\s\S]*Linux version 6\.12/);
  expect(ended.stdout).toMatch(/E booted 6\.12\.\S+ BOOT_IMAGE=\/boot\/vmlinuz-6\.12/);
  expect(ended.stdout).toMatch(/E then 6\.1\./);
  expect([ended.status, ended.stderr]).toEqual([0, ""]);
  expect(fsck(`${image}?offset=${1 << 20}`)).toBe("");
}, 600_000);

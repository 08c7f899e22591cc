import { copyFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { runCli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import { initramfs } from "../monitors/support/guest.js";
import { kernel } from "../monitors/support/packages.js";
import { fsck, host } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);

it("--direct boots the kernel that is installed in a partition of the disk, with its root, and another one that is installed then", async () => {
  const tree = await kernel("6.12");
  const next = await kernel("6.1");
  const script = `
load xen-blkfront
wait_for /dev/xvda1
root=$(sed -n 's/.*root=UUID=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
own=$(dd if=/dev/xvda1 bs=8 skip=141 count=2 2>/dev/null | od -An -v -tx1 | tr -d ' \\n')
say same $([ "$own" = "$(echo $root | tr -d -)" ] && echo yes)
mount -t ext4 /dev/xvda1 /mnt && cp /proc/cmdline /mnt/cmdline
ln -sf boot/vmlinuz-6.1 /mnt/vmlinuz && ln -sf boot/initrd.img-6.1 /mnt/initrd.img
umount /mnt && say words $(cat /proc/cmdline)
reboot -f`;
  const initrd = await initramfs(folder.path, tree, { script, modules: ["xen-blkfront"] });
  mkdirSync(at("root/boot"), { recursive: true });
  const then = { script: "say then $(uname -r)\npoweroff -f", modules: [] };
  mkdirSync(at("then"));
  copyFileSync(next.image, at("root/boot/vmlinuz-6.1"));
  copyFileSync(await initramfs(at("then"), next, then), at("root/boot/initrd.img-6.1"));
  copyFileSync(tree.image, at("root/boot/vmlinuz-6.12"));
  copyFileSync(initrd, at("root/boot/initrd.img-6.12"));
  symlinkSync("boot/vmlinuz-6.12", at("root/vmlinuz"));
  symlinkSync("boot/initrd.img-6.12", at("root/initrd.img"));
  const image = at("disk.img");
  writeFileSync(image, "");
  truncateSync(image, 96 << 20);
  writeFileSync(at("table"), "label: gpt\nstart=2048\n");
  expect(host("sh", "-c", `sfdisk -q ${image} < ${at("table")}`).status).toBe(0);
  const offset = ["-E", `offset=${1 << 20}`];
  const args = ["-q", "-F", "-t", "ext4", "-d", at("root"), ...offset, image, "94M"];
  expect(host("mke2fs", ...args)).toEqual({ status: 0, text: "" });
  const words = ["--clock", "virtual", "--append", "cryptomgr.notests panic=-1"];
  const ended = await runCli(["run", "--direct", "--disk", image, ...words, "--timeout", "560"]);
  expect([ended.status, ended.stderr]).toEqual([0, ""]);
  expect(ended.stdout).toContain("E same yes");
  expect(ended.stdout).toMatch(/E words console=hvc0 root=UUID=[-0-9a-f]{36} ro cryptomgr.notests/);
  expect(ended.stdout).toMatch(/E then 6\.1\./);
  expect(fsck(`${image}?offset=${1 << 20}`)).toBe("");
});

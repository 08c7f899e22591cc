/** The image that boots here, in QEMU 10's emulation of Xen under exec: the same disk, by QEMU's own PV devices. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { openDisk } from "../../src/hosts/node/open-disk.js";
import { readBootFiles } from "../../src/vmm/machine/index.js";
import { copyImage, debianFiles, fileSystemOf } from "../devices/debian-support.js";
import { fsck } from "../devices/support.js";
import { Bench, checkGuest, runs } from "./support/machine.js";
import { qemu10 } from "./support/packages.js";
import { itInFull } from "./support/rows.js";
import { pvCard, pvDisk, WITH_CARD, XEN } from "./support/xen.js";

let bench: Bench | undefined;
afterAll(() => bench?.close());

/** The first process: Debian's shell, with its root on the PV disk. */
const script = (port: string) => `
say() { echo "E $*"; }
mount -o remount,rw / && mount -t proc proc /proc && mount -t sysfs sys /sys
say xen $(cat /sys/hypervisor/type) $(findmnt -n -o SOURCE /)
modprobe xen-netfront
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0
exec 3<>/dev/tcp/10.0.2.2/${port}
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
say file $(sed '1,/^\\r$/d' <&3 | sha256sum)
echo 'int main(void) { return 42; }' >/srv/a.c
gcc -o /srv/a /srv/a.c && /srv/a
say compiled $?
say sqlite $(sqlite3 /srv/db 'PRAGMA synchronous=extra; CREATE TABLE t (n); INSERT INTO t VALUES (6 * 7); SELECT n FROM t; PRAGMA integrity_check;')
cp -a /usr/lib/x86_64-linux-gnu/perl-base /srv/copy && sync && echo 3 >/proc/sys/vm/drop_caches
diff -r /usr/lib/x86_64-linux-gnu/perl-base /srv/copy && say copied
umount -a -r 2>/dev/null
mount -o remount,ro / && say done
echo o >/proc/sysrq-trigger
sleep 100
`;

itInFull(
  "Debian on its PV disk: network, compiler, a database, and a clean file system",
  async () => {
    bench = await Bench.open();
    const { image } = await debianFiles();
    const at = (name: string): string => join(bench?.folder ?? "", name);
    const disk = copyImage(image, at("debian.img"));
    const opened = await openDisk(image, { readonly: true });
    const { kernel, initrd } = await readBootFiles(opened, "xvda");
    await opened.close();
    writeFileSync(at("kernel"), kernel);
    writeFileSync(at("initrd"), initrd ?? "");
    const second = bench.disk(1);
    writeFileSync(second, script(bench.port.slice("port=".length)).padEnd(1 << 16, "\n"));
    const append =
      'console=ttyS0 quiet panic=-1 cryptomgr.notests no_timer_check root=/dev/xvda1 ro init=/bin/bash -- -c "source /dev/xvdb"';
    const ended = await runs([
      ...[...(await qemu10()).words, "-accel", XEN, "-M", "pc", "-m", "512"],
      ...[...pvDisk(disk), ...pvDisk(second), ...pvCard],
      ...["-kernel", at("kernel"), "-initrd", at("initrd"), "-append", append],
      ...["-display", "none", "-serial", "stdio", "-no-reboot"],
    ]);
    checkGuest(
      ended,
      {
        ...{ xen: "xen /dev/xvda1", file: `${bench.checksum} -`, compiled: "42" },
        ...{ sqlite: "42 ok", copied: "" },
      },
      WITH_CARD,
    );
    expect(fsck(fileSystemOf(disk))).toBe("");
  },
  ["the programs that make and reach a Debian"],
  2,
);

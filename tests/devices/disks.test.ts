import { spawn } from "node:child_process";
import { copyFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openDisk } from "../../src/hosts/node/open-disk.js";
import { kernels, workFolder } from "../boot/support/guests.js";
import { fsck, host, makeImage, run, sumInside, sumOf } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);

/** First boot: writes; then reboots. Second boot: finds it; then powers off. */
const script = `
load xen-blkfront
for disk in xvda xvdb xvdc; do wait_for /dev/$disk; done
say parts $(sed -n 's/.* \\(xvd.*\\)/\\1/p' /proc/partitions)
mount -t ext4 /dev/xvda /mnt || say failed mount
if [ ! -e /mnt/first ]; then
  dd if=/dev/urandom of=/mnt/first bs=65536 count=64 2>/dev/null
  umount /mnt
  reboot -f
fi
say first $(sha256sum < /mnt/first)
cp /mnt/first /mnt/second && rm /mnt/first
umount /mnt
say ro $(cat /sys/block/xvdb/ro)
dd if=/dev/zero of=/dev/xvdb bs=4096 count=1 2>/dev/null && say failed "wrote to xvdb"
say read $(dd if=/dev/xvdb bs=65536 iflag=direct 2>/dev/null | sha256sum)
mount -t ext4 /dev/xvdc /mnt && echo changed > /mnt/changed && umount /mnt
mount -t ext4 /dev/xvdc /mnt && say snapshot $(cat /mnt/changed) && umount /mnt
say uptime $(cut -d ' ' -f 1 /proc/uptime)
echo o > /proc/sysrq-trigger
sleep 30
`;

describe.each(kernels)("disks of Debian's kernel %s", (name) => {
  it("are written as the host's tools see them, through a reboot", async () => {
    const image = makeImage(folder.path, `${name}-data.img`);
    const other = makeImage(folder.path, `${name}-other.img`, "8M");
    const kept = makeImage(folder.path, `${name}-kept.img`, "8M");
    const before = [other, kept].map(sumOf);
    const disks = [image, `${other},ro`, `${kept},snapshot`];
    const ended = await run(folder.path, name, script, disks, ["--verbose"]);
    expect(ended.said["failed"]).toBeUndefined();
    expect([ended.status, ended.stderr.match(/the guest reboots/g)?.length]).toEqual([0, 1]);
    expect(ended.said["parts"]).toBe("xvda xvdb xvdc");
    // What Linux understood of the features.
    expect(ended.stdout).toMatch(
      /blkfront: xvda: flush diskcache: enabled; persistent grants: disabled; indirect descriptors: enabled/,
    );
    expect(ended.said["ro"]).toBe("1");
    expect(ended.said["snapshot"]).toBe("changed");
    expect(ended.said["read"]).toBe(`${before[0]} -`);
    expect([other, kept].map(sumOf)).toEqual(before);
    expect(fsck(image)).toBe("");
    expect(`${sumInside(folder.path, image, "/second")} -`).toBe(ended.said["first"]);
    // A disk that does not follow the guest's states costs 5 s of its time at power-off.
    const down = /\[ *([\d.]+)\] .*reboot: Power down/.exec(
      ended.stdout.split("E uptime")[1] ?? "",
    );
    expect(Number(down?.[1]) - Number(ended.said["uptime"])).toBeLessThan(4);
  });
});

it("a run with a disk repeats, to the last instruction", async () => {
  const first = makeImage(folder.path, "once.img", "8M");
  const again = at("again.img");
  copyFileSync(first, again);
  const short = `
load xen-blkfront
wait_for /dev/xvda && mount -t ext4 /dev/xvda /mnt
dd if=/dev/zero of=/mnt/zeros bs=65536 count=16 2>/dev/null
umount /mnt && say done && poweroff -f`;
  const runs: { text: string; instructions: string | undefined; image: string }[] = [];
  for (const image of [first, again]) {
    const ended = await run(folder.path, "6.12", short, [image], ["--stats"]);
    const instructions = /(\d+) instructions/.exec(ended.stderr)?.[1];
    runs.push({ text: ended.stdout, instructions, image: sumOf(image) });
  }
  expect(runs[0]?.text).toContain("E done");
  expect(runs[1]).toEqual(runs[0]);
});

it("a full disk of the host is an I/O error, and the guest goes on", async () => {
  const image = at("large.img");
  writeFileSync(image, "");
  truncateSync(image, 64 << 20);
  const fill = `
load xen-blkfront
wait_for /dev/xvda
dd if=/dev/zero of=/dev/xvda bs=1M count=32 oflag=direct 2>/tmp/error && say failed "all was written"
say error $(sed -n 's/.*: \\(.*error\\).*/\\1/p' /tmp/error)
dd if=/dev/xvda of=/dev/null bs=1M count=32 iflag=direct 2>/dev/null && say read ok
say alive yes
poweroff -f`;
  // Files may have 8 MiB: the host's answer to more is EFBIG.
  const limited = ["prlimit", "--fsize=8388608", "--"];
  const ended = await run(folder.path, "6.12", fill, [image], [], limited);
  expect(ended.said).toMatchObject({ error: "Input/output error", read: "ok", alive: "yes" });
  expect(ended.said["failed"]).toBeUndefined();
  expect(ended.stderr).toMatch(/xvda: .*large\.img cannot be written: it would be larger than/);
  expect(ended.status).toBe(0);
});

/** Comes back when the NBD server at `socket` greets: it listens before it opens and locks its image. */
async function greeted(socket: string): Promise<void> {
  for (;;) {
    const greeting = await new Promise<string>((resolve) => {
      const connection = connect(socket);
      connection.on("error", () => resolve(""));
      connection.once("data", (bytes) => {
        connection.destroy();
        resolve(bytes.toString("latin1", 0, 8));
      });
    });
    if (greeting === "NBDMAGIC") return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("locks", () => {
  it("keep qemu-img and qemu-io out of an image that is written, and let readers in", async () => {
    const image = makeImage(folder.path, "locked.img", "8M");
    const qemuWrite = () => host("qemu-io", "-f", "raw", "-c", "write 0 512", image);
    const qemuRead = () => host("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", image);
    const writer = await openDisk(image);
    expect(qemuWrite()).toMatchObject({
      status: 1,
      text: expect.stringMatching(/Failed to get "write" lock/),
    });
    expect(host("qemu-img", "resize", "-f", "raw", image, "8M").text).toMatch(
      /Failed to get "write" lock/,
    );
    // Whoever only looks bears others that write.
    expect(qemuRead().status).toBe(0);
    await writer.close();
    for (const options of [{ readonly: true }, { snapshot: true }]) {
      const reader = await openDisk(image, options);
      expect(qemuRead().status).toBe(0);
      expect(qemuWrite().text).toMatch(/Failed to get "write" lock/);
      await reader.close();
    }
    expect(qemuWrite().status).toBe(0);
  });

  it.each([
    ["that qemu-nbd writes, for writing", [], false, "DISK_IN_USE"],
    ["that qemu-nbd writes, for reading", [], true, "DISK_IN_USE"],
    // It bears others that write.
    ["that qemu-nbd reads, for writing", ["-r"], false, undefined],
    ["that qemu-nbd reads, for reading", ["-r"], true, undefined],
  ])("of an image %s", async (_, flags, readonly, code) => {
    const image = makeImage(folder.path, "served.img", "8M");
    const socket = at("nbd.sock");
    const args = ["-t", "-f", "raw", "-k", socket, ...flags, image];
    const server = spawn("qemu-nbd", args, { stdio: "ignore" });
    const ended = new Promise((resolve) => server.on("exit", resolve));
    await greeted(socket);
    try {
      const opening = openDisk(image, { readonly });
      if (code !== undefined) await expect(opening).rejects.toMatchObject({ code });
      else await (await opening).close();
    } finally {
      server.kill();
      await ended;
      rmSync(socket, { force: true });
    }
  });
});

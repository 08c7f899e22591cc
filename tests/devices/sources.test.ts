import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { seed } from "../../src/base/seed.fixture.js";
import { openDisk } from "../../src/hosts/node/open-disk.js";
import type { Disk, DiskFailure } from "../../src/ports/index.js";
import { workFolder } from "../boot/support/guests.js";
import { fsck, host, makeImage, run, sumInside, sumOf } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);

/** Runs a program of the host that has to succeed. */
function must(program: string, ...args: string[]): string {
  const { status, text } = host(program, ...args);
  if (status !== 0) throw new Error(`${program}: ${text}`);
  return text;
}

/** Servers and folders of qemu-nbd that this process has started. */
const leftovers = (): string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith("kvm-xen-nbd-"));

describe("a folder, and an archive that comes back", () => {
  it("a guest reads the folder as it is, and its tar is what it wrote", async () => {
    mkdirSync(at("given/deep/er"), { recursive: true });
    const names = ["a", "deep/b", "deep/er/c", `deep/${"long".repeat(50)}`];
    for (const [i, name] of names.entries()) {
      writeFileSync(at(`given/${name}`), Buffer.alloc(100_000 * i, `${i} ${name}`));
    }
    const script = `
load xen-blkfront
wait_for /dev/xvdb
mount -t ext4 -o ro /dev/xvda /mnt && cd /mnt && tar -cf /dev/xvdb a deep && say packed $(cat /sys/block/xvda/ro)
poweroff -f`;
    const ended = await run(folder.path, "6.1", script, [at("given"), at("out.tar")]);
    expect([ended.said, ended.status]).toEqual([{ packed: "1" }, 0]);
    expect(ended.stderr).toBe("");
    mkdirSync(at("got"));
    must("tar", "-C", at("got"), "-xf", at("out.tar"));
    expect(spawnSync("diff", ["-r", at("given"), at("got")]).stdout.toString()).toBe("");
  });
});

describe("images of other formats", () => {
  it("a guest writes a qcow2 through qemu-nbd, which ends with it", async () => {
    const raw = makeImage(folder.path, "a.img", "16M");
    const image = at("a.qcow2");
    must("qemu-img", "convert", "-O", "qcow2", raw, image);
    must("qemu-img", "convert", "-O", "vmdk", raw, at("a.vmdk"));
    const before = [leftovers(), sumOf(at("a.vmdk"))];
    const script = `
load xen-blkfront
wait_for /dev/xvdb
mount -t ext4 /dev/xvda /mnt && dd if=/dev/urandom of=/mnt/first bs=65536 count=64 2>/dev/null
umount /mnt && mount -t ext4 -o discard /dev/xvda /mnt
say first $(sha256sum < /mnt/first)
rm /mnt/first; cp /proc/version /mnt/second; sync; umount /mnt
mount -t ext4 /dev/xvdb /mnt && echo changed > /mnt/changed && say snapshot $(cat /mnt/changed)
umount /mnt
poweroff -f`;
    const disks = [image, `${at("a.vmdk")},snapshot`];
    const ended = await run(folder.path, "6.12", script, disks);
    expect(ended.said["failed"]).toBeUndefined();
    expect([ended.said["snapshot"], ended.status, ended.stderr]).toEqual(["changed", 0, ""]);
    expect([leftovers(), sumOf(at("a.vmdk"))]).toEqual(before);
    must("qemu-img", "check", image);
    must("qemu-img", "convert", "-O", "raw", image, at("b.img"));
    expect(fsck(at("b.img"))).toBe("");
    expect(sumInside(folder.path, at("b.img"), "/second")).toBe(
      // What the guest's /proc/version says, as it is in its own start.
      sumOfText(`${/Linux version .*/.exec(ended.stdout)?.[0]}\n`),
    );
  });

  it("one that qemu-nbd refuses is refused with its words", async () => {
    writeFileSync(at("none.qcow2"), "no image".repeat(100));
    const before = leftovers();
    await expect(openDisk(at("none.qcow2"))).rejects.toThrow(/not in qcow2 format/);
    must("qemu-img", "create", "-q", "-f", "qcow2", at("held.qcow2"), "1M");
    const first = await openDisk(at("held.qcow2"));
    await expect(openDisk(at("held.qcow2"))).rejects.toThrow(/lock/);
    await first.close();
    expect(leftovers()).toEqual(before);
  });
});

const ended = (start: (done: (failure?: DiskFailure) => void) => void) =>
  new Promise<DiskFailure | undefined>((resolve) => start(resolve));

describe("an NBD server", () => {
  it("has what was written, in any order and size, and by name", async () => {
    const image = at("plain.img");
    writeFileSync(image, Buffer.alloc(4 << 20, 1));
    const socket = at("served.sock");
    const args = ["-t", "-f", "raw", "-x", "ex port", "-k", socket, "--discard=unmap", image];
    const server = spawn("qemu-nbd", args, { stdio: "ignore" });
    const over = new Promise((resolve) => server.on("exit", resolve));
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 20));
    try {
      const wrong = openDisk(`nbd+unix:///other?socket=${socket}`);
      await expect(wrong).rejects.toThrow("no such export");
      const disk = await openDisk(`nbd+unix:///ex%20port?socket=${socket}`);
      expect([disk.size, disk.readonly, disk.canDiscard]).toEqual([4 << 20, false, true]);
      await anyOrder(disk, readFileSync(image));
      expect(await ended((done) => disk.flush(done))).toBeUndefined();
      expect(await ended((done) => disk.discard(0, 4 << 20, done))).toBeUndefined();
      expect(await ended((done) => disk.read(4 << 20, new Uint8Array(512), done))).toMatchObject({
        code: "EINVAL",
      });
      await expect(disk.resize(8 << 20)).rejects.toMatchObject({ code: "DISK_SIZE" });
      await disk.close();
    } finally {
      server.kill();
      await over;
    }
  });
});

/** Writes and reads that are under way side by side, in places that do not meet. */
async function anyOrder(disk: Disk, expected: Buffer): Promise<void> {
  let state = seed || 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let round = 0; round < 8; round++) {
    const operations = Array.from({ length: 32 }, async (_, i) => {
      const offset = i * (128 << 10) + random(128) * 512;
      const length = (1 + random(128)) * 512;
      if (random(2) === 0) {
        const bytes = new Uint8Array(length).fill(random(256));
        expected.set(bytes, offset);
        expect(await ended((done) => disk.write(offset, bytes, done))).toBeUndefined();
        return;
      }
      const into = new Uint8Array(length);
      expect(await ended((done) => disk.read(offset, into, done))).toBeUndefined();
      expect(Buffer.from(into).equals(expected.subarray(offset, offset + length))).toBe(true);
    });
    await Promise.all(operations);
  }
}

const sumOfText = (text: string): string => {
  writeFileSync(at("text"), text);
  return sumOf(at("text"));
};

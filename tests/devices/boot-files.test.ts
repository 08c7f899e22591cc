import { randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HostError } from "../../src/base/index.js";
import { seed } from "../../src/base/seed.fixture.js";
import { openDisk } from "../../src/hosts/node/open-disk.js";
import type { Disk } from "../../src/ports/index.js";
import { readBootFiles } from "../../src/vmm/machine/index.js";
import { workFolder } from "../boot/support/guests.js";
import { host } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);
const uuid = "6b766d2d-7865-6e00-0000-000000000002";

const kernel = randomBytes(3_000_001);
const initrd = Buffer.alloc(9 << 20);

/** A root file system as Debian's, whose kernel is behind links. */
beforeAll(() => {
  mkdirSync(at("root/boot"), { recursive: true });
  mkdirSync(at("root/a"), { recursive: true });
  // So many names that the folder has an index when e2fsck -D has been there.
  for (let i = 0; i < 200; i++) writeFileSync(at(`root/boot/${"name".repeat(20)}${i}`), "");
  writeFileSync(at("root/boot/vmlinuz-6"), kernel);
  // With holes.
  for (const place of [0, 5 << 20, initrd.length - 7]) initrd.write("content", place);
  const file = openSync(at("root/boot/initrd.img-6"), "w");
  for (const place of [0, 5 << 20, initrd.length - 7]) writeSync(file, "content", place);
  closeSync(file);
  symlinkSync("boot/vmlinuz-6", at("root/vmlinuz"));
  symlinkSync(`/a/../boot/./${"../".repeat(30)}boot/initrd.img-6`, at("root/initrd.img"));
});

/** Makes an image with mke2fs's options, in a partition or not. */
function image(name: string, table: string | undefined, ...options: string[]): string {
  const path = at(name);
  rmSync(path, { force: true });
  writeFileSync(path, "");
  truncateSync(path, 48 << 20);
  if (table !== undefined) {
    const script = at("table");
    writeFileSync(script, table);
    const { status, text } = host("sh", "-c", `sfdisk -q ${path} < ${script}`);
    if (status !== 0) throw new Error(text);
  }
  const offset = table === undefined ? [] : ["-E", `offset=${4 << 20}`];
  const args = ["-q", "-F", "-U", uuid, "-d", at("root"), ...offset, ...options, path, "40M"];
  const made = host("mke2fs", ...args);
  if (made.status !== 0) throw new Error(made.text);
  return path;
}

async function boot(path: string) {
  const disk = await openDisk(path, { readonly: true });
  try {
    return await readBootFiles(disk, path);
  } finally {
    await disk.close();
  }
}

const gpt = "label: gpt\nstart=2048, size=2048, type=swap\nstart=8192, type=linux\n";
const mbr = "label: dos\nstart=2048, size=2048, type=82\nstart=8192, type=83\n";

describe("the kernel of a disk", () => {
  it.each<[string, string | undefined, string[]]>([
    ["a GPT", gpt, ["-t", "ext4"]],
    ["an MBR", mbr, ["-t", "ext4"]],
    ["no table", undefined, ["-t", "ext4"]],
    ["blocks of 1 KiB", undefined, ["-t", "ext4", "-b", "1024"]],
    ["64-bit block numbers", undefined, ["-t", "ext4", "-O", "64bit,^flex_bg"]],
    [
      "32-bit block numbers and small inodes",
      undefined,
      ["-t", "ext4", "-O", "^64bit", "-I", "128"],
    ],
    ["no journal", gpt, ["-t", "ext4", "-O", "^has_journal,metadata_csum_seed"]],
  ])("is found with %s", async (_, table, options) => {
    const found = await boot(image("a.img", table, ...options));
    expect(found.uuid).toBe(uuid);
    expect(Buffer.from(found.kernel).equals(kernel)).toBe(true);
    expect(found.initrd && Buffer.from(found.initrd).equals(initrd)).toBe(true);
  });

  it("is found in a folder with an index", async () => {
    const path = image("index.img", undefined, "-t", "ext4");
    host("e2fsck", "-fyD", path);
    expect(host("debugfs", "-R", "stat /boot", path).text).toContain("Flags: 0x81000");
    expect(Buffer.from((await boot(path)).kernel).equals(kernel)).toBe(true);
  });

  it.each<[string, string[], string]>([
    ["ext3", ["-t", "ext3"], "not by extents"],
    ["encryption", ["-t", "ext4", "-O", "encrypt"], "features 0x10000"],
    ["meta block groups", ["-t", "ext4", "-O", "meta_bg,^resize_inode"], "features 0x10"],
  ])("is not found, and that is said, with %s", async (_, options, why) => {
    const refusal = boot(image("b.img", undefined, ...options));
    await expect(refusal).rejects.toMatchObject({ code: "DISK_NOT_BOOTABLE" });
    await expect(refusal).rejects.toThrow(why);
  });

  it("is refused where nothing is, and where links go in a circle", async () => {
    writeFileSync(at("zero.img"), Buffer.alloc(1 << 20));
    await expect(boot(at("zero.img"))).rejects.toThrow("no ext4 on it has /vmlinuz");
    writeFileSync(at("small.img"), Buffer.alloc(512));
    await expect(boot(at("small.img"))).rejects.toMatchObject({ code: "DISK_NOT_BOOTABLE" });
    const links = image("links.img", undefined, "-t", "ext4");
    const script = "rm /vmlinuz\nsymlink /vmlinuz /x\nsymlink /x vmlinuz\n";
    writeFileSync(at("commands"), script);
    host("debugfs", "-w", "-f", at("commands"), links);
    await expect(boot(links)).rejects.toThrow("too many symbolic links");
  });
});

/** A disk of bytes in memory. */
function memoryDisk(bytes: Uint8Array): Disk {
  const refuse = (): never => {
    throw new Error("a disk that is only read");
  };
  return {
    ...{ size: bytes.length, readonly: true, blockSize: 4096, canDiscard: false },
    read: (offset, into, done) => {
      into.set(bytes.subarray(offset, offset + into.length));
      queueMicrotask(() => done());
    },
    ...{ write: refuse, flush: refuse, discard: refuse, resize: refuse },
    idle: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

it("a damaged file system ends in a refusal, whatever is damaged", async () => {
  const bytes = readFileSync(image("c.img", undefined, "-t", "ext4", "-b", "1024"));
  const disk = memoryDisk(bytes);
  let state = seed || 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  // The superblock, the descriptor of the first group, and its first inodes: of the root, folders and files.
  const inodes = view.getUint32(2048 + 8, true) * 1024;
  const areas: [number, number][] = [
    [1024, 1024],
    [2048, 64],
    [inodes, 20 * 256],
  ];
  let refused = 0;
  for (let round = 0; round < 60; round++) {
    const before = Buffer.from(bytes.subarray(0, inodes + 20 * 256));
    for (let i = 0; i < 12; i++) {
      const [start, length] = areas[i % 3] ?? [0, 0];
      const place = start + random(length);
      bytes[place] = [0, 0xff, random(256), (bytes[place] ?? 0) + 1][random(4)] ?? 0;
    }
    try {
      await readBootFiles(disk, "x");
    } catch (refusal) {
      if (!(refusal instanceof HostError)) throw refusal;
      expect(refusal.code).toBe("DISK_NOT_BOOTABLE");
      refused += 1;
    }
    before.copy(bytes);
  }
  expect(refused).toBeGreaterThan(5);
});

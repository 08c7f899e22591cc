/** Several suspended machines from one file, each with random numbers and an overlay of its own. */
import { spawnSync } from "node:child_process";
import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { guestInitramfs, readGuestKernel } from "../../src/hosts/node/guest-initramfs.js";
import { createMachine, type MachineDescription } from "../../src/hosts/node/index.js";
import { debianGuest, kernelPath, workFolder } from "../boot/support/guests.js";
import { sectionsOf } from "./hostile.js";
import { ShellMachine } from "./shell-machine.js";

const folder = workFolder();
afterAll(() => folder.remove());

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

const RANDOM = "head -c 16 /dev/urandom | od -An -tx1";
const GEDS = "sed -n 's/^ *[0-9]*: *\\([0-9]*\\) .*ACPI:Ged.*/\\1/p' /proc/interrupts";
const generationOf = (file: string): unknown =>
  (sectionsOf(readFileSync(file)) as { machine: { generation: unknown } }).machine.generation;

it("restores of one file are new machines: another generation ID, of which the kernel hears, and other random numbers", async () => {
  const guest = await debianGuest();
  const first = await ShellMachine.start({
    kernel: await kernelPath("6.12"),
    initrd: await guestInitramfs(guest, []),
    commandLine: "cryptomgr.notests",
    // With another console there is no I/O APIC, and so nobody who tells the kernel.
    consoleDevice: "ttyS0",
  });
  await first.waitFor(/ # /);
  expect(await first.run("ls -d /sys/bus/platform/drivers/vmgenid/XEN0000:00")).toBe(
    "/sys/bus/platform/drivers/vmgenid/XEN0000:00",
  );
  expect(await first.run(GEDS)).toBe("0");
  const file = join(folder.path, "one");
  await first.saveAs(file);
  await first.stop();

  const randoms: string[] = [];
  const generations = [generationOf(file)];
  for (const name of ["two", "three"]) {
    const machine = await ShellMachine.start({ restore: file });
    await machine.waitFor(/random: crng reseeded due to virtual machine fork/);
    // Before, the driver of the serial port empties its buffer.
    await machine.waitFor(/Restarting tasks ... done/);
    randoms.push(await machine.run(RANDOM));
    // Told once.
    expect(await machine.run(GEDS)).toBe("1");
    await machine.saveAs(join(folder.path, name));
    await machine.stop();
    generations.push(generationOf(join(folder.path, name)));
  }
  expect(randoms[0]).toMatch(/^[0-9a-f ]{48}$/);
  expect(new Set(randoms).size).toBe(2);
  expect(new Set(generations).size).toBe(3);
});

describe("a machine with an overlay", () => {
  const image = join(folder.path, "image");
  const file = join(folder.path, "with-disk");
  const disks = [{ path: image, snapshot: true }];
  const read = "head -c 5 /dev/xvda; echo; tail -c 5 /dev/xvda; echo";
  const write = (text: string): string =>
    `printf ${text} | dd of=/dev/xvda conv=notrunc,fsync 2>/dev/null; echo`;

  beforeAll(async () => {
    const bytes = new Uint8Array(1 << 20).fill(0x2e);
    writeFileSync(image, bytes);
    const guest = await debianGuest();
    const machine = await ShellMachine.start({
      kernel: await readGuestKernel(guest),
      initrd: await guestInitramfs(guest, ["xen-blkfront"]),
      commandLine: "cryptomgr.notests",
      disks,
      clock: "virtual",
    });
    await machine.waitFor(/ # /);
    await machine.run(write("first"));
    await machine.saveAs(file);
    await machine.stop();
    expect(Buffer.from(bytes).equals(readFileSync(image))).toBe(true);
  });

  it("goes on from one base, any number of times at once", async () => {
    const before = readFileSync(image);
    const names = ["alpha", "betas", "gamma"];
    const clones: ShellMachine[] = [];
    for (const _ of names) {
      clones.push(await ShellMachine.start({ restore: file, disks, clock: "virtual" }));
    }
    const answers = await Promise.all(
      clones.map(async (clone, i) => {
        const found = await clone.run(read);
        await clone.run(write(names[i] ?? ""));
        // What the guest remembers is not what is asked for.
        await clone.run("echo 3 > /proc/sys/vm/drop_caches; echo");
        return [found, await clone.run(read)];
      }),
    );
    const lines = (text: string) => `${text}\r\n.....`;
    expect(answers).toEqual(names.map((name) => [lines("first"), lines(name)]));
    await clones[0]?.saveAs(join(folder.path, "of-clone"));
    await Promise.all(clones.map((clone) => clone.stop()));
    const again = await ShellMachine.start({
      ...{ restore: join(folder.path, "of-clone"), disks, clock: "virtual" },
    });
    expect(await again.run(read)).toBe(lines("alpha"));
    await again.stop();
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  /** What the command and the library say to a restore that cannot be. */
  async function refusalsOf(words: readonly string[], description: MachineDescription) {
    const args = [command, "run", "--restore", file, ...words];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: "utf8",
      input: "",
      timeout: 60_000,
    });
    expect(stdout).toBe("");
    const refusal = createMachine({ restore: file, ...description });
    const { code, message } = await refusal.then(
      () => ({ code: "none", message: "" }),
      (error: { code: string; message: string }) => error,
    );
    expect(stderr).toBe(`kvm-xen: ${message}\n`);
    return { status, code, message };
  }

  it("is refused over a disk that is missing, that is another, or that was changed, in one line", async () => {
    const other = join(folder.path, "other");
    writeFileSync(other, new Uint8Array(2 << 20));
    expect(await refusalsOf([], {})).toEqual({
      status: 1,
      code: "SNAPSHOT_DEVICES",
      message: "the machine has a disk xvda of 1048576 bytes: give it with --disk",
    });
    const changed =
      "disk xvda is not as it was when the machine was saved: what the guest remembers of it is wrong";
    const larger = await refusalsOf(["--disk", `${other},snapshot`], {
      disks: [{ path: other, snapshot: true }],
    });
    expect(larger.message).toBe(changed);
    const plain = await refusalsOf(["--disk", image], { disks: [{ path: image }] });
    expect(plain.message).toBe(
      "disk xvda was saved with what the guest had written: give it with ,snapshot",
    );
    const more = await refusalsOf(["--disk", `${image},snapshot`, "--disk", other], {
      disks: [...disks, { path: other }],
    });
    expect(more.message).toMatch(/^the machine had no xvdb when it was saved: /);
    // The same size, but written to since.
    const later = new Date(Date.now() + 5000);
    utimesSync(image, later, later);
    const written = await refusalsOf(["--disk", `${image},snapshot`], { disks });
    expect(written).toEqual({ status: 1, code: "SNAPSHOT_DEVICES", message: changed });
  });
});

import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { type Ended, Monitor } from "./support/monitor.js";
import { installedQemu, kernel } from "./support/packages.js";
import { itInFull, rowsOf } from "./support/rows.js";

let bench: Bench;
let linux: Kernel;
const qemu = installedQemu().words;

const VIRTIO = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net"];
const VIRTIO_SCRIPT = `load virtio_pci virtio_mmio virtio_blk virtio_net
facts
disk vda
network $(option port)
say done
poweroff -f
`;
const virtio = { script: VIRTIO_SCRIPT, modules: VIRTIO };
const facts = { script: "facts\nsay done\npoweroff -f\n", modules: [] };

const driveFor = (disk: string, kind: "pci" | "device") => [
  ...["-drive", `file=${disk},id=d,if=none,format=raw`, "-device", `virtio-blk-${kind},drive=d`],
  ...["-netdev", "user,id=n", "-device", `virtio-net-${kind},netdev=n`],
];

beforeAll(async () => {
  bench = await Bench.open();
  linux = await kernel("6.1");
});
afterAll(() => bench.close());

describe("QEMU with KVM under exec", () => {
  const whole = () => ({
    hypervisor: "KVM",
    clocksource: "kvm-clock",
    "disk-vda": "ok",
    ping: "ok",
    driver: "virtio_net",
    file: bench.checksum,
  });

  it("microvm: a disk and a network on virtio-mmio", async () => {
    const guest = await bench.guest(linux, virtio);
    const devices = driveFor(bench.disk(), "device");
    const ended = await runs([...qemu, "-accel", "kvm", "-M", "microvm", ...devices, ...guest]);
    checkGuest(ended, { ...whole(), cpus: "1" });
  });

  it("q35 with two CPUs: a disk and a network on virtio-pci", async () => {
    const guest = await bench.guest(linux, virtio);
    const machine = ["-accel", "kvm", "-M", "q35", "-smp", "2", ...driveFor(bench.disk(), "pci")];
    checkGuest(await runs([...qemu, ...machine, ...guest]), { ...whole(), cpus: "2" });
  });

  it("pc with an IDE disk", async () => {
    const script = "load ata_piix sd_mod\nfacts\ndisk sda\nsay done\npoweroff -f\n";
    const guest = await bench.guest(linux, { script, modules: ["ata_piix", "sd_mod"] });
    const drive = ["-drive", `file=${bench.disk()},if=ide,format=raw`];
    const ended = await runs([...qemu, "-accel", "kvm", "-M", "pc", ...drive, ...guest]);
    checkGuest(ended, { hypervisor: "KVM", "disk-sda": "ok" });
  });

  it.each(
    rowsOf([
      // Two CPUs hang in QEMU 7.2's BIOS, on Linux as well (a STARTUP for a CPU that runs stays pending), and "host" has
      // KVM_FEATURE_ASYNC_PF_INT, whose MSR needs a local APIC in the kernel.
      { machine: "pc", irqchip: "off", cpu: "qemu64", cpus: "1" },
      { machine: "q35", irqchip: "split", cpu: "max", cpus: "2" },
      { machine: "q35", irqchip: "on", cpu: "host,vendor=GenuineIntel", cpus: "1" },
      { machine: "q35", irqchip: "on", cpu: "host,host-phys-bits=off,phys-bits=52", cpus: "1" },
      { machine: "q35", irqchip: "on", cpu: "host", cpus: "1", full: true },
      { machine: "q35", irqchip: "on", cpu: "max", cpus: "2", full: true },
      { machine: "q35", irqchip: "split", cpu: "host", cpus: "2", full: true },
      {
        machine: "q35",
        irqchip: "on",
        cpu: "host,host-phys-bits=off,phys-bits=46",
        cpus: "1",
        full: true,
      },
    ]),
  )("$machine, kernel-irqchip=$irqchip, -cpu $cpu, $cpus CPUs", async (row) => {
    const { machine, irqchip, cpu, cpus } = row;
    const guest = await bench.guest(linux, facts);
    const accel = ["-accel", `kvm,kernel-irqchip=${irqchip}`, "-M", machine];
    const ended = await runs([...qemu, ...accel, "-cpu", cpu, "-smp", cpus, ...guest]);
    checkGuest(ended, { hypervisor: "KVM", cpus });
    // What QEMU finds by itself, asking the host's processor or its own command line, it would find on Linux too.
    const own = /warning: (Host physical bits|Userspace local APIC|Do not use kernel-irqchip)/;
    const words = ended.stderr.split("\n").filter((line) => /qemu|warning/i.test(line));
    expect(words.filter((line) => !own.test(line))).toEqual([]);
  });
});

describe("a QEMU that quietly emulates is found out", () => {
  const either = ["-accel", "kvm", "-accel", "tcg", "-M", "q35"];
  const isFoundOut = (ended: Ended) => {
    // The guest did all that is asked of it, under another hypervisor's name at most.
    expect(ended.console).toMatch(/^E done/m);
    expect(() => checkKvm(ended)).toThrow("KVM_RUN was never called");
    expect(() => checkGuest(ended, { hypervisor: "KVM" })).toThrow();
  };

  it("when the server was killed before", async () => {
    const guest = await bench.guest(linux, facts);
    const begun = join(bench.folder, "begun");
    const wait = `touch ${begun}; while [ -e ${begun} ]; do sleep 0.1; done; exec "$@"`;
    const monitor = new Monitor(["sh", "-c", wait, "sh", ...qemu, ...either, ...guest]);
    while (!existsSync(begun)) await new Promise((resolve) => setTimeout(resolve, 100));
    monitor.child.kill("SIGKILL");
    rmSync(begun);
    const ended = await monitor.ended;
    expect(ended.stderr).toMatch(/Could not access KVM kernel module/);
    isFoundOut(ended);
  });

  itInFull("when it does not load the library", async () => {
    const guest = await bench.guest(linux, facts);
    isFoundOut(await new Monitor(["env", "LD_PRELOAD=", ...qemu, ...either, ...guest]).ended);
  });

  it("when the server is killed while the guest runs: it does not get to its end", async () => {
    const script = "facts\nsay ready\nsleep 5\nsay done\npoweroff -f\n";
    const guest = await bench.guest(linux, { script, modules: [] });
    const monitor = new Monitor([...qemu, ...either, ...guest]);
    await monitor.shows(/^E ready/m);
    monitor.child.kill("SIGKILL");
    const ended = await monitor.ended;
    expect(() => checkGuest(ended, {})).toThrow();
  });
});

it("more memory than fits is explained in one line, beside QEMU's own error", async () => {
  const words = [...qemu, "-accel", "kvm", "-m", "4G", "-display", "none", "-S"];
  const { status, stderr } = await new Monitor(words).ended;
  // QEMU calls abort().
  expect(status).toBe(128 + 6);
  expect(stderr).toMatch(/^qemu-system-x86_64: .*size=0x40000000: Cannot allocate memory$/m);
  const lines = stderr.match(/^kvm-xen: .*$/gm) ?? [];
  expect(lines).toEqual([
    expect.stringMatching(/no room for 1024 MiB .* less than 4 GiB .* -m 3G$/),
  ]);
});

it.runIf(process.env["KVM_XEN_COVERED"])("the host's /dev/kvm is out of reach", () => {
  const device = statSync("/dev/kvm", { throwIfNoEntry: false });
  if (device !== undefined) expect(device.rdev).toBe(statSync("/dev/null").rdev);
});

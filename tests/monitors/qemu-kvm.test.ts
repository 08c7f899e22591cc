import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { Monitor } from "./support/monitor.js";
import { installedQemu, kernel } from "./support/packages.js";

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
    disk: "vda ok",
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
    checkGuest(ended, { hypervisor: "KVM", disk: "sda ok" });
  });

  it.each([
    // With two, QEMU 7.2 hangs in its BIOS on Linux's KVM as well: a STARTUP for a CPU that runs stays pending.
    ["pc", "kernel-irqchip=off", "1"],
    ["q35", "kernel-irqchip=split", "2"],
  ])("%s with %s, %s CPUs", async (machine, irqchip, cpus) => {
    const guest = await bench.guest(linux, facts);
    const accel = ["-accel", `kvm,${irqchip}`, "-M", machine, "-smp", cpus];
    checkGuest(await runs([...qemu, ...accel, ...guest]), { hypervisor: "KVM", cpus });
  });

  it.each([
    ["host", []],
    ["max", []],
    ["host,vendor=GenuineIntel", []],
    ["host,host-phys-bits=off,phys-bits=46", []],
    ["host,host-phys-bits=off,phys-bits=52", []],
  ])("-cpu %s, whatever the host has", async (cpu) => {
    const guest = await bench.guest(linux, facts);
    const ended = await runs([...qemu, "-accel", "kvm", "-M", "q35", "-cpu", cpu, ...guest]);
    checkGuest(ended, { hypervisor: "KVM" });
    // What QEMU finds by itself, asking the host's processor, it would find on Linux too.
    const words = ended.stderr.split("\n").filter((line) => /qemu|warning/i.test(line));
    expect(words.filter((line) => !line.includes("warning: Host physical bits"))).toEqual([]);
  });
});

it("a QEMU that quietly emulates is found out", async () => {
  const guest = await bench.guest(linux, facts);
  // Without the preload library there is no KVM for it.
  const words = ["env", "LD_PRELOAD=", ...qemu, "-accel", "kvm", "-accel", "tcg", "-M", "q35"];
  const ended = await new Monitor([...words, ...guest]).ended;
  expect(ended.console).toMatch(/^E done/m);
  expect(() => checkKvm(ended)).toThrow("KVM_RUN was never called");
  expect(() => checkGuest(ended, { hypervisor: "KVM" })).toThrow();
});

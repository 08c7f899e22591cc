import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, runs } from "./support/machine.js";
import { kernel, type Qemu, qemu10 } from "./support/packages.js";
import { noCard, pvDisk, XEN } from "./support/xen.js";

let bench: Bench;
let qemu: Qemu;
let linux: Kernel;

beforeAll(async () => {
  bench = await Bench.open();
  qemu = await qemu10();
  linux = await kernel("6.12");
});
afterAll(() => bench.close());

/**
 * The variants of QEMU's own functional test of Xen guests, and what that looks for in /proc/interrupts, of the device
 * where that can be said: an NVMe disk has MSI-X with every kernel. Its request queue counts, so that a line without
 * an interrupt is none.
 */
const variants = [
  { append: "", shows: [/xen-pirq +-msi-x +nvme0q1$/, /xen-pirq.*-ioapic-edge +ttyS0$/] },
  { append: "pci=nomsi", shows: [/xen-pirq.*-ioapic-level +nvme0q0, nvme0q1$/] },
  {
    append: "noapic pci=nomsi",
    shows: [/xen-pirq +-ioapic-level +nvme0q0, nvme0q1$/, /XT-PIC +timer$/],
  },
  {
    append: "",
    cpu: "host,+xen-vapic",
    shows: [/xen-pirq.*-ioapic-edge +ttyS0$/, /PCI-MSIX.*nvme0q1$/],
  },
  {
    append: "xen_no_vector_callback",
    shows: [/IO-APIC.*-fasteoi +xen-platform-pci$/, /PCI-MSIX.*nvme0q1$/],
  },
  {
    append: "xen_no_vector_callback pci=nomsi",
    shows: [/IO-APIC.*-fasteoi +xen-platform-pci$/, /IO-APIC.*-fasteoi +nvme0q0, nvme0q1$/],
  },
  {
    append: "xen_no_vector_callback noapic",
    shows: [/XT-PIC +xen-platform-pci$/, /PCI-MSIX.*nvme0q1$/],
  },
].map(({ cpu = "host", ...row }) => ({ cpu, ...row }));

const script = `load xen-blkfront nvme
facts
disk xvda
disk nvme0n1
interrupts
say done
poweroff -f
`;

describe("interrupts of a Xen guest in QEMU 10", () => {
  it.each(variants)("$append, -cpu $cpu", async ({ append, cpu, shows }) => {
    const content = { script, modules: ["xen-blkfront", "nvme"] };
    const guest = await bench.guest(linux, content, `xen_emul_unplug=ide-disks ${append}`);
    const drive = `file=${bench.disk()},if=none,id=n,format=raw`;
    const nvme = ["-drive", drive, "-device", "nvme,drive=n,serial=n", ...noCard];
    const machine = ["-accel", XEN, "-M", "pc", "-cpu", cpu, ...pvDisk(bench.disk()), ...nvme];
    const ended = await runs([...qemu.words, ...machine, ...guest]);
    checkGuest(ended, { hypervisor: "Xen HVM", "disk-xvda": "ok", "disk-nvme0n1": "ok" });
    const counted = ended.console.match(/^I \d+: +[1-9].*$/gm) ?? [];
    for (const pattern of shows) expect(counted).toContainEqual(expect.stringMatching(pattern));
  });
});

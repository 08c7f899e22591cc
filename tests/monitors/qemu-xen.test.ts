import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CpioEntry } from "../../src/hosts/node/cpio.js";
import type { KernelName } from "../boot/support/guests.js";
import { kexecEntries } from "../boot/support/kexec.js";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { said, withQmp } from "./support/monitor.js";
import { kernel, newestQemu, type Qemu, qemu10, xenShim } from "./support/packages.js";
import { itInFull, rowsOf } from "./support/rows.js";
import { noCard, pvCard, pvDisk, WITH_CARD, XEN } from "./support/xen.js";

let bench: Bench;
let qemu: Qemu;
const linux: Partial<Record<KernelName, Kernel>> = {};

beforeAll(async () => {
  bench = await Bench.open();
  qemu = await qemu10();
  for (const series of ["6.1", "6.12"] as const) linux[series] = await kernel(series);
});
afterAll(() => bench.close());

const MODULES = ["xen-blkfront", "xen-netfront"];
const guestOf = (series: KernelName): Kernel => {
  const found = linux[series];
  if (found === undefined) throw new Error(`no kernel ${series}`);
  return found;
};
const WHOLE = `load xen-blkfront xen-netfront
facts
disk xvda
network $(option port)
interrupts
say done
poweroff -f
`;

/** What a guest of QEMU's Xen says of itself. */
const xenGuest = () => ({
  hypervisor: "Xen HVM",
  clocksource: "xen",
  xen: /^xen HVM/,
  "disk-xvda": "ok",
  ping: "ok",
  driver: "vif",
  file: bench.checksum,
});

describe("a Xen guest in stock QEMU 10 under exec", () => {
  it.each(
    rowsOf<{ machine: string; cpus: string; series: KernelName }>([
      { machine: "pc", cpus: "2", series: "6.1" },
      { machine: "q35", cpus: "1", series: "6.12" },
      { machine: "pc", cpus: "1", series: "6.12", full: true },
      { machine: "q35", cpus: "2", series: "6.1", full: true },
    ]),
  )("$machine, $cpus CPUs, Linux $series: PV disk, PV card", async (row) => {
    const { machine, cpus, series } = row;
    const guest = await bench.guest(guestOf(series), { script: WHOLE, modules: MODULES });
    const accel = ["-accel", XEN, "-M", machine, "-smp", cpus];
    const trace = `${bench.folder}/trace-${machine}-${cpus}-${series}`;
    const filter = ["--trace", trace, "--trace-filter", "KVM_XEN_VCPU_SET_ATTR"];
    const devices = [...pvDisk(bench.disk()), ...pvCard];
    const ended = await runs([...qemu.words, ...accel, ...devices, ...guest], filter);
    checkGuest(ended, { ...xenGuest(), cpus }, WITH_CARD);
    expect(ended.console).toMatch(/^I \d+:.*xen-percpu.*-virq +timer0$/m);
    // HVMOP_set_evtchn_upcall_vector of each vCPU.
    const vectors = readFileSync(trace, "utf8").match(
      /kvm-vcpu:\d+>, KVM_XEN_VCPU_SET_ATTR, \{type=KVM_XEN_VCPU_ATTR_TYPE_UPCALL_VECTOR, vector=0x[0-9a-f]{2}\}\) = 0/g,
    );
    const vcpus = vectors?.map((line) => line.split(">")[0]);
    expect(new Set(vcpus).size).toBe(Number(cpus));
  });

  itInFull("the newest QEMU: q35, two CPUs, Linux 6.12, PV disk, PV card", async () => {
    const { words } = await newestQemu();
    const guest = await bench.guest(guestOf("6.12"), { script: WHOLE, modules: MODULES });
    const machine = ["-accel", XEN, "-M", "q35", "-smp", "2"];
    const devices = [...pvDisk(bench.disk()), ...pvCard];
    const ended = await runs([...words, ...machine, ...devices, ...guest]);
    // When it clears the card away, where QEMU 10 ends with SIGSEGV, libc finds a double free.
    checkGuest(ended, { ...xenGuest(), cpus: "2" }, [...WITH_CARD, 128 + 6]);
  });

  it("a console on hvc0, answered at its keyboard", async () => {
    const script =
      "facts\nsay ready\nread line </dev/hvc0\nsay typed $line\nsay done\npoweroff -f\n";
    const words = await bench.guest(guestOf("6.12"), { script, modules: [] }, "console=hvc0");
    const console = ["-chardev", "stdio,id=c", "-device", "xen-console,chardev=c"];
    const options = words.map((word) => (word === "stdio" ? "null" : word));
    const { monitor, qmp } = await withQmp(bench.folder, [
      ...[...qemu.words, "-accel", XEN, "-M", "pc", ...noCard, ...console, ...options],
    ]);
    try {
      await monitor.shows(/^E ready/m);
      monitor.type("hello, console\n");
      await monitor.shows(/^E typed/m);
    } finally {
      qmp.close();
    }
    const ended = await monitor.ended;
    checkKvm(ended);
    checkGuest(ended, { typed: "hello, console", console: /hvc0/, hypervisor: "Xen HVM" });
  });

  it("a disk that is plugged in while it runs, and taken away", async () => {
    const script = `load xen-blkfront
say ready
disk xvdb
say gone
while [ -e /dev/xvdb ]; do sleep 0.1; done
say done
poweroff -f
`;
    const guest = await bench.guest(guestOf("6.1"), { script, modules: MODULES });
    const machine = ["-accel", XEN, "-M", "pc", ...noCard, ...guest];
    const { monitor, qmp } = await withQmp(bench.folder, [...qemu.words, ...machine]);
    try {
      await monitor.shows(/^E ready/m);
      const file = { driver: "file", filename: bench.disk() };
      await qmp.call("blockdev-add", { driver: "raw", "node-name": "d", file });
      await qmp.call("device_add", { driver: "xen-disk", vdev: "xvdb", drive: "d", id: "x" });
      await monitor.shows(/^E gone/m);
      await qmp.call("device_del", { id: "x" });
      await monitor.shows(/^E done/m);
    } finally {
      qmp.close();
    }
    const ended = await monitor.ended;
    checkKvm(ended);
    checkGuest(ended, { "disk-xvdb": "ok" });
  });

  it("restarts", async () => {
    const script = `say boot $(dmesg | sed -n 's/.*Hypervisor detected: //p')
load xen-blkfront
wait_for /dev/xvda
[ "$(dd if=/dev/xvda bs=5 count=1 2>/dev/null)" = again ] && say done && poweroff -f
echo again | dd of=/dev/xvda conv=fsync 2>/dev/null
reboot -f
`;
    const guest = await bench.guest(guestOf("6.12"), { script, modules: MODULES });
    const disk = pvDisk(bench.disk());
    const options = [...noCard, ...guest.filter((word) => word !== "-no-reboot")];
    const ended = await runs([...qemu.words, "-accel", XEN, "-M", "pc", ...disk, ...options]);
    checkGuest(ended, {});
    expect(ended.console.match(/^E boot Xen HVM$/gm)).toHaveLength(2);
  });

  it("starts another kernel by kexec, which finds its PV disk and card", async () => {
    const script = `load xen-blkfront xen-netfront
left=$(option kexecs)
say "kernel-$left" "$(uname -r) $(dmesg | sed -n 's/.*Hypervisor detected: //p')"
facts
disk xvda
network $(option port)
interrupts
[ "$left" = 0 ] && say done && poweroff -f
# Files of this initramfs would be gone in the next one, which is to have them too.
(cd / && { echo lib; find bin lib/modules init script dev/console; } | cpio -o -H newc) > /tmp/initrd
next=$(sed "s/kexecs=$left/kexecs=$((left - 1))/" /proc/cmdline)
# Check sums of what is loaded would take longer than all the rest: kexec_load does not need them.
kexec -c --no-checks -l /boot/vmlinuz --initrd=/tmp/initrd --command-line="$next" || say failed kexec
kexec -e
`;
    const vmlinuz = readFileSync(guestOf("6.12").image);
    const more: CpioEntry[] = [
      ...(await kexecEntries()).filter(({ path }) => path !== "lib"),
      { kind: "folder", path: "boot" },
      { kind: "file", path: "boot/vmlinuz", mode: 0o644, data: vmlinuz },
    ];
    const content = { script, modules: MODULES, more };
    const guest = await bench.guest(guestOf("6.12"), content, "kexecs=1");
    // Some more memory: two kernels, and two initial RAM disks.
    const devices = [...pvDisk(bench.disk()), ...pvCard, "-smp", "2", ...guest, "-m", "512"];
    const ended = await runs([...qemu.words, "-accel", XEN, "-M", "q35", ...devices]);
    checkGuest(ended, { ...xenGuest(), cpus: "2" }, WITH_CARD);
    for (const left of ["1", "0"])
      expect(said(ended.console)[`kernel-${left}`]).toMatch(/^6\.12.* Xen HVM$/);
    for (const line of [/^E disk-xvda ok$/gm, /^E ping ok$/gm, /^I \d+:.*-virq +timer1$/gm])
      expect(ended.console.match(line)).toHaveLength(2);
  });

  it("keeps QEMU's own devices with xen_emul_unplug=never", async () => {
    const script = "load ata_piix sd_mod\nfacts\ndisk sda\nsay done\npoweroff -f\n";
    const content = { script, modules: ["ata_piix", "sd_mod"] };
    const guest = await bench.guest(guestOf("6.12"), content, "xen_emul_unplug=never");
    const disk = ["-drive", `file=${bench.disk()},if=ide,format=raw`, ...noCard];
    const ended = await runs([...qemu.words, "-accel", XEN, "-M", "pc", ...disk, ...guest]);
    checkGuest(ended, { hypervisor: "Xen HVM", "disk-sda": "ok" });
  });
});

describe("Xen itself in QEMU 10", () => {
  it.each(
    rowsOf<{ series: KernelName }>([{ series: "6.1" }, { series: "6.12" }]),
  )("xen-shim with a PV Linux $series", async (row) => {
    const shim = await xenShim(row.series);
    const words = await bench.guest(guestOf(row.series), { script: WHOLE, modules: MODULES });
    const value = (option: string) => words[words.indexOf(option) + 1] ?? "";
    const line = value("-append").replace("console=ttyS0", "console=hvc0");
    const initrd = `${value("-kernel")} ${line},${value("-initrd")}`;
    const serial = ["-display", "none", "-no-reboot", "-serial", "stdio", "-m", "512"];
    const boot = ["-kernel", shim, "-append", "pv-shim console=xen,pv xen=pv", "-initrd", initrd];
    const console = ["-chardev", "stdio,id=c", "-device", "xen-console,chardev=c"];
    const machine = ["-accel", XEN, "-M", "pc", ...pvDisk(bench.disk()), ...pvCard, ...console];
    const options = [...boot, ...serial].map((word) => (word === "stdio" ? "null" : word));
    const ended = await runs([...qemu.words, ...machine, ...options]);
    const wanted = { xen: "xen PV", "disk-xvda": "ok", ping: "ok", driver: "vif" };
    checkGuest(ended, { ...wanted, file: bench.checksum }, WITH_CARD);
  });
});

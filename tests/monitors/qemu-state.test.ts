import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { withQmp } from "./support/monitor.js";
import { installedQemu, kernel, qemu10 } from "./support/packages.js";

let bench: Bench;
let linux: Kernel;
const qemu = installedQemu().words;
const KVM = ["-accel", "kvm", "-M", "q35", "-smp", "2"];

/** Counts until it is told to go on. */
const COUNTING = `load virtio_pci virtio_blk
facts
say ready
i=0
while ! [ "$(dd if=/dev/vda bs=4 count=1 iflag=direct 2>/dev/null)" = stop ]; do
  i=$((i + 1))
  echo "C $i"
  sleep 0.2
done
say count $i
say done
poweroff -f
`;
const content = { script: COUNTING, modules: ["virtio_pci", "virtio_blk"] };

beforeAll(async () => {
  bench = await Bench.open();
  linux = await kernel("6.1");
});
afterAll(() => bench.close());

/** Numbers that the guest counted, from a place of its console on. */
const counted = (console: string) => [...console.matchAll(/^C (\d+)$/gm)].map((m) => Number(m[1]));

describe("QEMU's own states under exec", () => {
  it("savevm and loadvm: the guest counts on from there", async () => {
    const disk = join(bench.folder, "vm.qcow2");
    const { execFileSync } = await import("node:child_process");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", disk, "64M"]);
    const guest = await bench.guest(linux, content);
    const drive = ["-drive", `file=${disk},if=virtio,format=qcow2`];
    const { monitor, qmp } = await withQmp(bench.folder, [...qemu, ...KVM, ...drive, ...guest]);
    try {
      await monitor.shows(/^C 5$/m);
      expect(await qmp.human("savevm here")).toBe("");
      const before = Math.max(...counted(monitor.console));
      await monitor.shows(`C ${before + 10}\n`);
      const length = monitor.console.length;
      expect(await qmp.human("loadvm here")).toBe("");
      await monitor.shows(new RegExp(`^C ${before + 3}$`, "m"), length);
      const after = counted(monitor.console.slice(length));
      expect(after[0]).toBeGreaterThanOrEqual(before);
      expect(after[0]).toBeLessThanOrEqual(before + 2);
      await qmp.call("quit");
    } finally {
      qmp.close();
    }
    checkKvm(await monitor.ended);
  });

  it("migration to a file and back: two CPUs go on in another QEMU", async () => {
    const file = join(bench.folder, "state");
    const guest = await bench.guest(linux, content);
    const drive = ["-drive", `file=${bench.disk()},if=virtio,format=raw`];
    const first = await withQmp(bench.folder, [...qemu, ...KVM, ...drive, ...guest]);
    await first.monitor.shows(/^C 5$/m);
    const paused = first.qmp.event("STOP");
    await first.qmp.call("migrate", { uri: `exec:cat > ${file}` });
    await paused;
    for (;;) {
      const { status } = (await first.qmp.call("query-migrate")) as { status: string };
      if (status === "completed") break;
      expect(["active", "device", "setup", "pre-switchover"]).toContain(status);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const last = Math.max(...counted(first.monitor.console));
    await first.qmp.call("quit");
    first.qmp.close();
    checkKvm(await first.monitor.ended);
    const incoming = ["-incoming", `exec:cat ${file}`];
    const words = [...qemu, ...KVM, ...drive, ...guest, ...incoming];
    const second = await withQmp(bench.folder, words);
    try {
      await second.monitor.shows(new RegExp(`^C ${last + 5}$`, "m"));
      expect(counted(second.monitor.console)[0]).toBeLessThanOrEqual(last + 1);
      const cpus = (await second.qmp.call("query-cpus-fast")) as unknown[];
      expect(cpus).toHaveLength(2);
      await second.qmp.call("quit");
    } finally {
      second.qmp.close();
    }
    checkKvm(await second.monitor.ended);
  });

  it("system_reset: the guest boots again", async () => {
    const guest = await bench.guest(linux, content);
    const options = guest.filter((word) => word !== "-no-reboot");
    const drive = ["-drive", `file=${bench.disk()},if=virtio,format=raw`];
    const { monitor, qmp } = await withQmp(bench.folder, [...qemu, ...KVM, ...drive, ...options]);
    try {
      await monitor.shows(/^E ready/m);
      const length = monitor.console.length;
      await qmp.call("system_reset");
      await monitor.shows(/^E ready/m, length);
      await qmp.call("quit");
    } finally {
      qmp.close();
    }
    checkKvm(await monitor.ended);
  });

  it("OVMF starts the kernel", async () => {
    const { root } = await qemu10();
    const code = join(root, "usr/share/OVMF/OVMF_CODE_4M.fd");
    const variables = join(bench.folder, "vars.fd");
    const { copyFileSync } = await import("node:fs");
    copyFileSync(join(root, "usr/share/OVMF/OVMF_VARS_4M.fd"), variables);
    const script = "facts\nsay efi $(ls /sys/firmware/efi | wc -l)\nsay done\npoweroff -f\n";
    const guest = await bench.guest(linux, { script, modules: [] });
    const flash = [
      ...["-drive", `if=pflash,format=raw,readonly=on,file=${code}`],
      ...["-drive", `if=pflash,format=raw,file=${variables}`],
    ];
    const ended = await runs([...qemu, "-accel", "kvm", "-M", "q35", ...flash, ...guest]);
    checkGuest(ended, { hypervisor: "KVM", efi: /^[1-9]/ });
  });

  it("a screendump has the pixels that QEMU's own processor gives the same text", async () => {
    // The screen is cleared, its cursor hidden, and nothing else writes to it.
    const script = `printf '\\033c\\033[?25l' > /dev/tty0
echo "$(option text)" > /dev/tty0
say ready
while :; do sleep 1; done
`;
    const screen = async (accel: string, text: string): Promise<Buffer> => {
      const guest = await bench.guest(linux, { script, modules: [] }, `text=${text}`);
      const vga = ["-accel", accel, "-M", "q35", "-vga", "std"];
      const { monitor, qmp } = await withQmp(bench.folder, [...qemu, ...vga, ...guest]);
      const picture = join(bench.folder, `${accel}-${text}.ppm`);
      try {
        await monitor.shows(/^E ready/m);
        await qmp.call("screendump", { filename: picture });
        await qmp.call("quit");
      } finally {
        qmp.close();
      }
      const ended = await monitor.ended;
      if (accel === "kvm") checkKvm(ended);
      else expect(() => checkKvm(ended)).toThrow();
      return readFileSync(picture);
    };
    const [here, reference] = [await screen("kvm", "KVM_XEN"), await screen("tcg", "KVM_XEN")];
    expect(here.subarray(0, 2).toString()).toBe("P6");
    expect(here.equals(reference)).toBe(true);
    expect(here.equals(await screen("kvm", "KVM_YEN"))).toBe(false);
  });
});

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import type { Kernel } from "./support/guest.js";
import { initramfs } from "./support/guest.js";
import { Bench, checkKvm } from "./support/machine.js";
import { type Ended, Monitor, said } from "./support/monitor.js";
import { kernel } from "./support/packages.js";
import { itInFull } from "./support/rows.js";

/**
 * Debian's libvirt: its daemon, virsh and the QEMU that it starts as another user, without exec's variables
 * and with a parent that has ended.
 */

let bench: Bench;
let linux: Kernel;
const isRoot = machineHas("to be root");
const hasLibvirt = machineHas("the program libvirtd");
const programs = fileURLToPath(new URL("programs", import.meta.url));
const session = join(programs, "libvirt.sh");
/** Seconds that all of a row may take. */
const SECONDS = 280;

/** Answers each line with its number: a guest that was restored goes on counting. */
const ANSWERS = `load virtio_pci virtio_blk
facts
disk vda
say ready
i=0
while read -r line; do
  i=$((i + 1))
  say answer "$i $line"
done
`;

/** A domain as virsh gets it, with the console also written to a file. */
const domain = (folder: string, machine: string, cpus: number): string => `<domain type='kvm'>
  <name>small</name>
  <memory unit='MiB'>192</memory>
  <vcpu>${cpus}</vcpu>
  <os>
    <type arch='x86_64' machine='${machine}'>hvm</type>
    <kernel>${folder}/vmlinuz</kernel>
    <initrd>${folder}/initrd</initrd>
    <cmdline>console=ttyS0 quiet cryptomgr.notests</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='host-passthrough'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='${folder}/disk.raw'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'><log file='${folder}/console.log' append='on'/></serial>
  </devices>
</domain>
`;

/** A folder that QEMU's user may read, with what the domain needs. */
async function domainFolder(name: string, machine: string, cpus: number): Promise<string> {
  const folder = join(bench.folder, name);
  mkdirSync(folder, { recursive: true });
  copyFileSync(linux.image, join(folder, "vmlinuz"));
  const modules = ["virtio_pci", "virtio_blk"];
  copyFileSync(
    await initramfs(folder, linux, { script: ANSWERS, modules }),
    join(folder, "initrd"),
  );
  copyFileSync(bench.disk(8), join(folder, "disk.raw"));
  writeFileSync(join(folder, "domain.xml"), domain(folder, machine, cpus));
  for (const path of [bench.folder, folder]) chmodSync(path, 0o755);
  return folder;
}

beforeAll(async () => {
  bench = await Bench.open();
  linux = await kernel("6.1");
});
afterAll(() => bench.close());

function checkDomain(folder: string, ended: Ended, cpus: number): void {
  const log = join(folder, "console.log");
  const console = existsSync(log) ? readFileSync(log, "latin1").replaceAll("\r", "") : "";
  const found = said(ended.console);
  const context = `${ended.console}\n${ended.stderr}\n${console.slice(-3000)}`;
  expect(found, context).toMatchObject({
    capabilities: "kvm qemu",
    domcapabilities: "kvm",
    define: "ok",
    start: "ok",
    started: "running",
    suspended: "paused",
    saved: "shut off",
    restore: "ok",
    restored: "running",
    destroyed: "shut off",
  });
  expect(found["failed"], context).toBeUndefined();
  // The restored guest is the one that was saved, which counts the lines on.
  const [first, second] = [Number(found["first"]), Number(found["second"])];
  expect(first, context).toBeGreaterThan(0);
  expect(second, context).toBeGreaterThan(first);
  expect(found, context).toHaveProperty("done");
  expect(said(console), context).toMatchObject({
    hypervisor: "KVM",
    cpus: `${cpus}`,
    "disk-vda": "ok",
  });
  // The restored QEMU is a second one.
  expect(Number(/^KVM_CREATE_VM +(\d+)/m.exec(ended.stderr)?.[1]), context).toBeGreaterThan(1);
  checkKvm(ended);
}

/** The words that run a script of virsh with the system's libvirt, in a folder. */
function inSystem(what: string, folder: string): string[] {
  const own = ["unshare", "-m", join(programs, "libvirt-system.sh"), folder];
  const daemon = ["--config", "/etc/libvirt/libvirtd.conf"];
  return [...own, "timeout", `${SECONDS}`, session, what, "qemu:///system", folder, ...daemon];
}

describe("libvirt under exec", () => {
  it.runIf(isRoot && hasLibvirt)("virsh capabilities and domcapabilities name kvm", async () => {
    const folder = join(bench.folder, "capabilities");
    mkdirSync(folder);
    for (const path of [bench.folder, folder]) chmodSync(path, 0o755);
    const ended = await new Monitor(inSystem("capabilities", folder)).ended;
    const context = `${ended.console}\n${ended.stderr}`;
    const wanted = { daemon: "ok", capabilities: "kvm qemu", domcapabilities: "kvm", done: "" };
    expect(said(ended.console), context).toMatchObject(wanted);
    // libvirt believes what its QEMU finds, as another user.
    expect(ended.stderr, context).toMatch(/^KVM_IOEVENTFD +\d+/m);
  });

  const inSystems = async () => {
    const folder = await domainFolder("system", "q35", 2);
    checkDomain(folder, await new Monitor(inSystem("domain", folder)).ended, 2);
  };
  const needs = ["the program libvirtd", "to be root"] as const;
  itInFull("qemu:///system: QEMU is another user's", inSystems, needs);

  const inSession = async () => {
    const folder = await domainFolder("session", "pc", 1);
    const home = join(bench.folder, "home");
    mkdirSync(join(home, "run"), { recursive: true });
    if (isRoot) spawnSync("chown", ["-R", "65534:65534", home, folder]);
    const user = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];
    const environment = ["env", "-u", "XDG_CACHE_HOME", "-u", "XDG_CONFIG_HOME", `HOME=${home}`];
    const words = [...user, ...environment, `XDG_RUNTIME_DIR=${home}/run`];
    const run = ["timeout", `${SECONDS}`, session, "domain", "qemu:///session", folder];
    checkDomain(folder, await new Monitor([...words, ...run]).ended, 1);
  };
  const name = "qemu:///session: a user without rights, virsh starts the daemon";
  itInFull(name, inSession, ["the program libvirtd"]);
});

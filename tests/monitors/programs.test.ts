import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { kvmIoctlsTests } from "./support/crates.js";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { Monitor } from "./support/monitor.js";
import { installedQemu, kernel } from "./support/packages.js";
import { itInFull } from "./support/rows.js";
import { virtiofsd } from "./support/virtiofsd.js";
import { virtmeNg } from "./support/virtme.js";

/** Programs of Debian that use /dev/kvm, or share a guest's memory, and are not QEMU alone. */

let bench: Bench;
let linux: Kernel;
const programs = fileURLToPath(new URL("programs", import.meta.url));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

beforeAll(async () => {
  bench = await Bench.open();
  linux = await kernel("6.1");
});
afterAll(() => bench.close());

describe("stress-ng", () => {
  it.runIf(machineHas("the program stress-ng"))("--kvm, twice at once", async () => {
    const words = ["--kvm", "2", "--kvm-ops", "20", "--verify", "--timeout", "120"];
    const ended = await runs(["stress-ng", "--temp-path", bench.folder, ...words]);
    const text = ended.console + ended.stderr;
    expect(ended.status, text).toBe(0);
    expect(text).toContain("successful run completed");
    // It says so too when it has skipped everything: each of its operations is a VM that runs.
    const count = (name: string) => Number(new RegExp(`^${name} +(\\d+)`, "m").exec(text)?.[1]);
    // How many there are in two minutes is the machine's affair.
    expect(count("KVM_CREATE_VM"), text).toBeGreaterThan(0);
    expect(ended.runs, text).toBeGreaterThan(250);
  });
});

/** What the guest does with the folder that it shares with the host. */
const SHARED = `load virtio_pci virtiofs
facts
mount -t virtiofs shared /mnt && say mounted ok
say file "$(sha256sum < /mnt/from-host | cut -d ' ' -f 1)"
dd if=/dev/urandom of=/mnt/from-guest bs=65536 count=16 2>/dev/null
say written "$(sha256sum < /mnt/from-guest | cut -d ' ' -f 1)"
umount /mnt && say done
poweroff -f
`;

const inGuest = async (backend: string): Promise<void> => {
  const shared = join(bench.folder, backend);
  mkdirSync(shared, { recursive: true });
  const bytes = randomBytes(1_000_000);
  writeFileSync(join(shared, "from-host"), bytes);
  const modules = ["virtio_pci", "virtiofs"];
  const guest = await bench.guest(linux, { script: SHARED, modules });
  const path = backend === "memory-backend-file" ? `,mem-path=${bench.folder}` : "";
  const memory = `${backend},id=memory,size=256M,share=on${path}`;
  const machine = ["-accel", "kvm", "-M", "q35,memory-backend=memory", "-object", memory];
  const script = [join(programs, "virtiofs.sh"), join(bench.folder, `${backend}.socket`), shared];
  const daemon = await virtiofsd();
  const qemu = [...installedQemu().words, ...machine, ...guest];
  const ended = await runs([...script, ...daemon, "--", ...qemu]);
  checkKvm(ended);
  const written = sha256(readFileSync(join(shared, "from-guest")));
  const wanted = { hypervisor: "KVM", mounted: "ok", file: sha256(bytes), written };
  checkGuest(ended, wanted);
};

for (const backend of ["memory-backend-memfd", "memory-backend-file"]) {
  itInFull(`virtiofsd: a folder of the host in a guest, memory: ${backend}`, () =>
    inGuest(backend),
  );
}

/** Tests of kvm-ioctls that fail here, and why. */
const KVM_IOCTLS = [
  // Wants KVM_SET_TSC_KHZ of 0 to fail where there is no TSC scaling; Linux takes it.
  "ioctls::vcpu::tests::test_set_tsc_khz",
  // Dirty log: a page that the guest only executes is in Linux's, see docs/reference/differences.md.
  "ioctls::vcpu::tests::test_run_code",
  // Wants KVM_CAP_NR_VCPUS to be 4 or more: the processors of this machine.
  ...(availableParallelism() < 4 ? ["ioctls::system::tests::test_kvm_getters"] : []),
];

const unitTests = async (): Promise<void> => {
  const program = await kvmIoctlsTests();
  const ended = await new Monitor([program, "--test-threads=1"]).ended;
  const results = [...ended.console.matchAll(/^test (\S+) \.\.\. (\w+)$/gm)];
  const named = (verdict: string) =>
    results.filter((one) => one[2] === verdict).map((one) => one[1]);
  expect(named("FAILED").sort(), ended.console).toEqual(KVM_IOCTLS.sort());
  expect(named("ok").length, ended.console).toBeGreaterThan(60);
  checkKvm(ended);
};
itInFull("kvm-ioctls: its unit tests", unitTests, ["the program cargo"]);

const testTool = async (): Promise<void> => {
  const folder = join(bench.folder, "libguestfs");
  mkdirSync(folder, { recursive: true });
  // supermin looks at it, although it is told where the modules are; a container does not have it.
  if (machineHas("to be root")) mkdirSync("/lib/modules", { recursive: true });
  const environment = {
    LIBGUESTFS_BACKEND: "direct",
    LIBGUESTFS_CACHEDIR: folder,
    TMPDIR: folder,
    // The appliance has the files of this machine, and a kernel that a container does not have.
    SUPERMIN_KERNEL: linux.image,
    SUPERMIN_MODULES: linux.modules,
  };
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const ended = await runs(["env", ...variables, "libguestfs-test-tool", "--timeout", "580"]);
  const text = ended.console + ended.stderr;
  expect(ended.status, text.slice(-5000)).toBe(0);
  expect(text).toContain("Hypervisor detected: KVM");
  expect(text).toContain("===== TEST FINISHED OK =====");
  // It asks QEMU for kvm:tcg, which emulates without a word: a boot is thousands of exits.
  expect(ended.runs).toBeGreaterThan(5000);
};
itInFull(
  "libguestfs-test-tool with its direct backend",
  testTool,
  ["the program libguestfs-test-tool"],
  2,
);

/** What virtme-ng runs in its guest. */
const IN_GUEST = [
  "echo kernel $(uname -r)",
  "echo root $(findmnt -n -o FSTYPE /)",
  'echo cpus $(nproc) $(grep -c "hypervisor" /proc/cpuinfo)',
  "echo sum $(sha256sum < /etc/debian_version)",
].join("; ");

const inVirtme = async (): Promise<void> => {
  const words = await virtmeNg(bench.folder, linux);
  const ended = await runs([...words, IN_GUEST]);
  const text = ended.console + ended.stderr;
  expect(ended.status, text.slice(-5000)).toBe(0);
  expect(text).toContain("Hypervisor detected: KVM");
  const sum = sha256(readFileSync("/etc/debian_version"));
  const lines = [`kernel ${basename(linux.modules)}`, "root virtiofs", "cpus 2 2", `sum ${sum} -`];
  for (const line of lines) expect(ended.console.split("\n")).toContain(line);
};
itInFull(
  "virtme-ng: a command in a guest whose root virtiofsd shares",
  inVirtme,
  ["to be root"],
  2,
);

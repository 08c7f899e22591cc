import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { installedQemu, kernel } from "./support/packages.js";
import { itInFull } from "./support/rows.js";
import { virtiofsd } from "./support/virtiofsd.js";

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
  mkdirSync(shared);
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

import { afterAll, describe, expect, it } from "vitest";
import { Cli } from "./support/cli.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());

/** What a guest with that console has in /proc/interrupts, and whether it has an I/O APIC. */
const machines = [
  { console: "hvc0", interrupts: /xen-dyn\S*\s+-event\s+hvc_console/, ioapics: 0 },
  { console: "ttyS0", interrupts: /IO-APIC.*ttyS0/, ioapics: 1 },
] as const;

describe.each(kernels)("Debian's kernel %s", (name) => {
  it.each(machines)("is typed at on $console", async ({ console, interrupts, ioapics }) => {
    const initramfs = await writeInitramfs(folder.path, "shell");
    const cli = new Cli([
      "run",
      ...["--kernel", await kernelPath(name), "--initrd", initramfs, "--console", console],
      ...["--append", "cryptomgr.notests quiet", "--timeout", "300"],
    ]);
    let at = await cli.waitFor(/guest# /);
    cli.type("echo $((6 * 7)) answers\r");
    at = await cli.waitFor(/42 answers/, at);
    at = await cli.waitFor(/guest# /, at);
    cli.type("tty; cat /proc/interrupts; od -An -c -N4 /sys/firmware/acpi/tables/APIC\r");
    at = await cli.waitFor(new RegExp(`/dev/${console}`), at);
    at = await cli.waitFor(interrupts, at);
    at = await cli.waitFor(/A\s+P\s+I\s+C[\s\S]*guest# /, at);
    // Entries of type 1 with 12 bytes are I/O APICs.
    cli.type("od -An -v -t x1 /sys/firmware/acpi/tables/APIC | tr -d '\\n'; echo\r");
    at = await cli.waitFor(/41 50 49 43 [0-9a-f ]+/, at);
    cli.type("poweroff -f\r");
    const ended = await cli.ended();
    const table = (/41 50 49 43 [0-9a-f ]+/.exec(ended.stdout)?.[0] ?? "").trim().split(/\s+/);
    const entries = entriesOf(table.map((byte) => Number.parseInt(byte, 16)));
    expect(entries.filter((type) => type === 1)).toHaveLength(ioapics);
    expect(entries.filter((type) => type === 0)).toHaveLength(1);
    expect(ended.status).toBe(0);
  });
});

/** Types of the entries of a MADT, which begin after 44 bytes. */
function entriesOf(madt: readonly number[]): number[] {
  const types: number[] = [];
  for (let at = 44; at < madt.length; at += madt[at + 1] || madt.length) {
    types.push(madt[at] as number);
  }
  return types;
}

import { afterAll, describe, expect, it } from "vitest";
import { Cli } from "./support/cli.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";
import { xenShimPath } from "./support/xen-shim.js";

const folder = workFolder();
afterAll(() => folder.remove());

describe("Debian's xen-shim with Debian's kernel as its guest", () => {
  it.each([1, 2])("boots to a shell on %i CPU(s)", async (cpus) => {
    const initramfs = await writeInitramfs(folder.path, "shell");
    const cli = new Cli([
      "run",
      ...["--kernel", await xenShimPath(), "--append", "pv-shim console=xen,pv"],
      ...["--initrd", `${await kernelPath("6.1")} console=hvc0 cryptomgr.notests quiet`],
      ...["--initrd", initramfs, "--memory", "512M", "--cpus", `${cpus}`, "--timeout", "500"],
    ]);
    let at = await cli.waitFor(/guest# /);
    cli.type("cat /proc/cmdline /sys/hypervisor/guest_type; nproc\r");
    at = await cli.waitFor(/console=hvc0 cryptomgr.notests quiet\s+PV(?=\s)/, at);
    await cli.waitFor(new RegExp(`^\\s+${cpus}\\s+guest# `), at);
    cli.type("poweroff -f\r");
    const ended = await cli.ended();
    expect(ended.status).toBe(0);
    expect(ended.stderr).toBe("");
  });
});

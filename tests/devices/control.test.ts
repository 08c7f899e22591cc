import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Cli } from "../boot/support/cli.js";
import { kernels, workFolder } from "../boot/support/guests.js";
import { ControlClient } from "./control-client.js";
import { fsck, guestArguments, host, makeImage, sumInside } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());

const script = `
load xen-blkfront
say ready $(ls /sys/block | grep -c xvd)
if [ -e /sys/bus/xen/devices/vbd-51728 ]; then
  wait_for /dev/xvdb && say kept
  while [ -e /sys/block/xvdb ]; do sleep 0.1; done
  say left
  sleep 100
fi
wait_for /dev/xvda && mount -t ext4 /dev/xvda /mnt
dd if=/dev/urandom of=/mnt/first bs=65536 count=16 2>/dev/null
umount /mnt
mount -t ext4 /dev/xvda /mnt
# Before it is said: the disk grows at once then.
size=$(cat /sys/block/xvda/size)
say added $size $(sha256sum < /mnt/first)
while [ $(cat /sys/block/xvda/size) = $size ]; do sleep 0.1; done
dd if=/dev/urandom of=/dev/xvda seek=80000 bs=512 count=1 2>/dev/null || say failed "behind the old end"
say resized $(cat /sys/block/xvda/size)
umount /mnt
say unmounted
while [ -e /sys/block/xvda ]; do sleep 0.1; done
say removed
wait_for /dev/xvdb && say second $(cat /sys/block/xvdb/ro)
while :; do say tick; sleep 0.05; done
`;

describe.each(kernels)("control of a machine with Debian's kernel %s", (name) => {
  it("adds, resizes and removes disks, pauses and resets", async () => {
    const image = makeImage(folder.path, `${name}.img`);
    const other = makeImage(folder.path, `${name}-other.img`, "8M");
    const socket = join(folder.path, `${name}.sock`);
    const args = await guestArguments(folder.path, name, script, "real");
    const cli = new Cli([...args, "--control", socket]);
    const control = await ControlClient.open(socket);
    expect(await control.ask("status")).toMatchObject({ state: "running", devices: [] });
    let at = await cli.waitFor(/E ready 0/);
    expect(await control.ask("addDevice", { disk: image })).toEqual({ name: "xvda" });
    expect(await control.ask("addDevice", { disk: `${other},dev=xvda` })).toBe("DISK_NAME");
    // The image is locked while the guest has it.
    expect(await control.ask("addDevice", { disk: image })).toBe("DISK_IN_USE");
    at = await cli.waitFor(/E added 65536 /, at);
    const sum = /E added 65536 (\w+)/.exec(cli.output)?.[1];
    const xvda = { name: "xvda", class: "vbd", connected: true, bytes: 32 << 20 };
    expect(await control.ask("status")).toMatchObject({ devices: [xvda] });
    expect(await control.ask("resizeDevice", { name: "xvda", bytes: 16 << 20 })).toBe("DISK_SIZE");
    expect(await control.ask("resizeDevice", { name: "xvda", bytes: 48 << 20 })).toBeNull();
    at = await cli.waitFor(/E resized 98304/, at);
    expect(statSync(image).size).toBe(48 << 20);
    await cli.waitFor(/E unmounted/, at);
    expect(await control.ask("removeDevice", { name: "xvdc" })).toBe("DEVICE_NAME");
    expect(await control.ask("removeDevice", { name: "xvda" })).toBeNull();
    at = await cli.waitFor(/E removed/, at);
    // It has been given back: other programs may have it.
    expect(host("qemu-io", "-f", "raw", "-c", "read 0 512", image).status).toBe(0);
    expect(fsck(image)).toBe("");
    expect(sumInside(folder.path, image, "/first")).toBe(sum);
    const second = { disk: `${other},ro,dev=xvdb` };
    expect(await control.ask("addDevice", second)).toEqual({ name: "xvdb" });
    at = await cli.waitFor(/E second 1[\s\S]*E tick/, at);
    expect(await control.ask("pause")).toBeNull();
    expect(await control.ask("status")).toMatchObject({ state: "paused" });
    const before = cli.output.length;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(cli.output.length).toBe(before);
    expect(await control.ask("resume")).toBeNull();
    at = await cli.waitFor(/E tick/, before);
    expect(await control.ask("reset")).toBeNull();
    at = await cli.waitFor(/E ready [\s\S]*E kept/, at);
    expect(await control.ask("status")).toMatchObject({ reboots: 1 });
    expect(await control.ask("removeDevice", { name: "xvdb" })).toBeNull();
    await cli.waitFor(/E left/, at);
    expect(await control.ask("stop")).toBeNull();
    const ended = await cli.ended();
    expect(ended.stdout).not.toContain("E failed");
    expect(ended.status).toBe(0);
  });
});

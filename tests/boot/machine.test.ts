import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { HostError } from "../../src/base/index.js";
import { createMachine } from "../../src/hosts/node/index.js";
import { busyboxInitramfs } from "../../src/hosts/node/initramfs.js";
import { runCli } from "./support/cli.js";
import { debianGuest, kernelPath, workFolder } from "./support/guests.js";
import { TestMachine } from "./support/machine.js";

const folder = workFolder();
afterAll(() => folder.remove());
const file = (path: string) => new URL(`../../${path}`, import.meta.url).pathname;

/** The guest of `npm start`. */
async function startGuest(appendAgain?: () => Promise<string>): Promise<TestMachine> {
  const guest = await debianGuest();
  const initrd = join(folder.path, "start.cpio");
  const init = readFileSync(file("guest/debian/init.sh"));
  writeFileSync(initrd, busyboxInitramfs(readFileSync(guest.busyboxPath), init));
  const more = appendAgain === undefined ? {} : { appendAgain };
  return TestMachine.start({ kernel: guest.kernelPath, initrd, cpus: 1, ...more });
}

describe("the guest of npm start", () => {
  it("powers off and reboots when it is asked to", async () => {
    const guest = await startGuest();
    await guest.waitFor(/ends it/);
    const once = guest.machine.engineCounters;
    guest.machine.requestShutdown("reboot");
    await guest.waitFor(/Linux version[\s\S]*ends it/);
    expect(guest.machine.reboots).toBe(1);
    // Of both kernels, as `instructions` is: a boot decodes some 70,000 blocks.
    expect(guest.machine.engineCounters.BUILD).toBeGreaterThan(1.5 * once.BUILD);
    guest.machine.requestShutdown("poweroff");
    expect(await guest.ended).toEqual({ kind: "poweroff" });
  });
});

describe("a machine", () => {
  it("asks at each reboot what it boots, and can be stopped meanwhile", async () => {
    let asked = 0;
    const guest = await startGuest(async () => {
      asked += 1;
      if (asked === 2) guest.machine.stop();
      return "console=hvc0 cryptomgr.notests again";
    });
    await guest.waitFor(/ends it/);
    expect(asked).toBe(0);
    guest.machine.reset();
    await guest.waitFor(/Command line: console=hvc0 cryptomgr.notests again[\s\S]*ends it/);
    guest.machine.reset();
    expect(await guest.ended).toEqual({ kind: "stopped" });
    expect([asked, guest.machine.reboots]).toEqual([2, 2]);
  });

  it("can be stopped while a large initrd is put into the memory of its next run", async () => {
    const initrd = new Uint8Array(128 << 20);
    const machine = await createMachine({ initrd, memoryBytes: 192 << 20, exec: false });
    const ended = machine.run();
    machine.reset();
    while (machine.reboots === 0) await setImmediate();
    const { instructions } = machine;
    machine.stop();
    expect(await ended).toEqual({ kind: "stopped" });
    expect(machine.instructions).toBe(instructions);
  });

  it("ends with what kept it from booting again", async () => {
    const guest = await startGuest(() => Promise.reject(new HostError("DISK_NOT_BOOTABLE", "")));
    await guest.waitFor(/ends it/);
    guest.machine.reset();
    await expect(guest.ended).rejects.toMatchObject({ code: "DISK_NOT_BOOTABLE" });
    expect(guest.machine.state).toBe("ended");
  });

  it("refuses what its state does not allow, by a code", async () => {
    const guest = await startGuest();
    const { machine } = guest;
    await expect(machine.run()).rejects.toMatchObject({ code: "RUNNING" });
    await guest.waitFor(/ends it/);
    const refusal = (code: string) => expect.objectContaining({ code });
    expect(() => machine.resume()).toThrow(refusal("NOT_SUSPENDED"));
    for (const bytes of [Number.NaN, -1, Number.POSITIVE_INFINITY, (256 << 20) + 1]) {
      expect(() => machine.setMemoryTarget(bytes)).toThrow(refusal("MEMORY_TARGET"));
    }
    for (const size of [0, 1.5, Number.NaN, 65_536]) {
      expect(() => machine.setConsoleSize(size, 80)).toThrow(refusal("CONSOLE_SIZE"));
    }
    machine.pause();
    machine.pause();
    expect(machine.state).toBe("paused");
    machine.resume();
    expect(machine.state).toBe("running");
    const suspended = machine.suspend();
    await expect(machine.suspend()).rejects.toMatchObject({ code: "SUSPENDED" });
    await suspended;
    await expect(machine.suspend()).rejects.toMatchObject({ code: "SUSPENDED" });
    machine.resume();
    expect(() => machine.resume()).toThrow(refusal("NOT_SUSPENDED"));
    const never = machine.suspend();
    machine.stop();
    await expect(never).rejects.toMatchObject({ code: "ENDED" });
    expect(await guest.ended).toEqual({ kind: "stopped" });
    await expect(machine.run()).rejects.toMatchObject({ code: "RUNNING" });
    await expect(machine.suspend()).rejects.toMatchObject({ code: "ENDED" });
    expect(() => machine.resume()).toThrow(refusal("NOT_SUSPENDED"));
    expect(() => machine.setMemoryTarget(1 << 20)).toThrow(refusal("ENDED"));
    expect(() => machine.requestShutdown("poweroff")).toThrow(refusal("ENDED"));
    expect(() => machine.pause()).toThrow(refusal("ENDED"));
    expect(() => machine.reset()).toThrow(refusal("ENDED"));
    expect(machine.state).toBe("ended");
    machine.setConsoleSize(24, 80);
    machine.stop();
  });
});

describe("a guest that dies with nothing on its console", () => {
  it.each(["none", "ttyS0"])("is heard: --console %s", async (console) => {
    const kernel = ["run", "--kernel", await kernelPath("6.1"), "--console", console];
    // Nothing names the console, there is no root, and a panic is a crash of the domain.
    const append = ["--append", "console=hvc0 earlyprintk=xen cryptomgr.notests"];
    const ended = await runCli([...kernel, ...append, "--timeout", "300"]);
    expect(ended.stdout).toBe("");
    expect(ended.stderr).toMatch(/^kvm-xen: the guest wrote nothing to its console/m);
    expect(ended.stderr).toMatch(/^kvm-xen: [\w ]+: .*Kernel panic - not syncing: VFS/m);
    expect(ended.stderr).toMatch(/kvm-xen: the guest crashed: [^\n]+\n$/);
    expect(ended.status).toBe(1);
  });
});

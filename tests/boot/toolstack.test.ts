import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";
import { TestMachine } from "./support/machine.js";

const folder = workFolder();
afterAll(() => folder.remove());

const MIB = 1 << 20;
const TICK = /E tick (\d+) (\d+)\r?\n/;
/** Real time in which a guest that runs would have ticked. */
const PAUSE_MS = 2000;

describe.each(kernels)("Debian's kernel %s does what a toolstack asks for", (name) => {
  it("by xenstore: suspend, memory, power-off", async () => {
    const initrd = await writeInitramfs(folder.path, "ticks");
    const guest = await TestMachine.start({ kernel: await kernelPath(name), initrd, cpus: 2 });
    const { machine } = guest;
    const tick = async (): Promise<number[]> => (await guest.waitFor(TICK)).slice(1).map(Number);
    await tick();

    for (const as of ["cancelled", "restored", "restored"] as const) {
      await machine.suspend();
      const { output } = guest;
      await sleep(PAUSE_MS);
      expect(guest.output).toBe(output);
      machine.resume(as);
      await tick();
      await tick();
    }
    // Linux tells of this on every resume.
    expect(guest.output.match(/Restarting tasks/g)).toHaveLength(3);

    const [, before = 0] = await tick();
    const { memoryBytes } = machine;
    machine.setMemoryTarget(192 * MIB);
    for (let i = 0; i < 5 && machine.memoryBytes > memoryBytes - 63 * MIB; i++) await tick();
    const given = memoryBytes - machine.memoryBytes;
    expect(given).toBeGreaterThan(63 * MIB);
    const [, after = 0] = await tick();
    expect((before - after) * 1024).toBe(given);

    await machine.suspend();
    machine.resume("restored");
    expect((await tick())[1]).toBe(after);
    expect(memoryBytes - machine.memoryBytes).toBe(given);

    machine.requestShutdown("poweroff");
    expect(await guest.ended).toEqual({ kind: "poweroff" });
  });
});

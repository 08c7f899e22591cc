import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { createMachine, TextConsole, writeSnapshotFile } from "../../src/hosts/node/index.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "../boot/support/guests.js";
import { refuseOrRunHostile } from "./hostile.js";

const folder = workFolder();
afterAll(() => folder.remove());

const go = fileURLToPath(new URL("restore.mjs", import.meta.url));

/** Restores a file in a process of its own, and answers what the guest wrote until `pattern` came. */
function restoreElsewhere(file: string, pattern: string): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [go, file, pattern], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return stdout;
}

describe.each(kernels)("Debian's kernel %s, saved while it is suspended", (name) => {
  it("goes on in another process", async () => {
    const cpus = name === "6.1" ? 1 : 2;
    const kernel = await kernelPath(name);
    const initrd = await writeInitramfs(folder.path, "ticks");
    const console = new TextConsole();
    const commandLine = "panic=-1 cryptomgr.notests";
    const clock = "virtual";
    const machine = await createMachine({ kernel, initrd, commandLine, cpus, console, clock });
    const ended = machine.run();
    await console.waitFor(/E tick 2 /);
    const snapshot = await machine.save();
    expect(machine.state).toBe("suspended");
    const file = join(folder.path, `${name}.snapshot`);
    await writeSnapshotFile(file, snapshot);
    const { size, mode } = statSync(file);
    expect(mode & 0o777).toBe(0o600);
    // Kernel and initrd are in it, and pages that are not zero.
    expect(size).toBeLessThan(120 << 20);
    const before = machine.instructions;

    // The machine that was saved can go on, too.
    machine.resume();
    await console.waitFor(/E tick 3 /);
    machine.stop();
    await ended;

    const output = restoreElsewhere(file, "E tick 6 ");
    expect(output).toMatch(/Restarting tasks/);
    expect(output).toMatch(/E tick 3 .*E tick 4 .*E tick 5 .*E tick 6 /s);
    expect(output).not.toMatch(/E tick 2 |E cpus/);
    expect(before).toBeGreaterThan(1e8);
    if (name === "6.12") await refuseOrRunHostile(file);
  });
});

import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import {
  createMachine,
  HostError,
  loadEngine,
  TextConsole,
  writeSnapshotFile,
} from "../../src/hosts/node/index.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "../boot/support/guests.js";
import { generator, runShortly, withOddValues, withoutMemory } from "./hostile.js";

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

const seed = Number(process.env["SEED"] ?? 14);
const HOSTILE = Number(process.env["SNAPSHOT_HOSTILE"] ?? 200);

/**
 * Files that are damaged, and files with right checksums that hold anything: each is refused in one line, or makes a
 * machine that runs, for better or worse.
 */
async function refuseOrRunHostile(path: string): Promise<void> {
  const file = readFileSync(path);
  const random = generator(seed);
  const engine = await loadEngine();
  const outcomes = { refused: 0, made: 0 };
  const attempt = async (bytes: Uint8Array, what: string): Promise<string> => {
    try {
      await runShortly(bytes, engine);
      outcomes.made += 1;
      return "made";
    } catch (error) {
      if (!(error instanceof HostError)) throw new Error(`${what}, seed ${seed}`, { cause: error });
      expect(error.message).not.toMatch(/\n/);
      outcomes.refused += 1;
      return error.code;
    }
  };
  // Any byte of the headers and layers, and the length.
  const layers = withoutMemory(file);
  for (let i = 0; i < HOSTILE / 4; i++) {
    const bytes = layers.slice();
    const at = Math.floor(random() * bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    expect(await attempt(bytes, `byte ${at}`)).not.toBe("made");
    const short = Math.floor(random() * bytes.length);
    expect(await attempt(bytes.slice(0, short), `${short} bytes`)).not.toBe("made");
  }
  const newer = layers.slice();
  newer[8] = 2;
  expect(await attempt(newer, "version")).toBe("SNAPSHOT_VERSION");
  // A page of memory that is not as it was.
  const damagedPage = file.slice();
  damagedPage[file.length - 100_000] = (file[file.length - 100_000] ?? 0) ^ 1;
  expect(await attempt(damagedPage, "a page")).toBe("SNAPSHOT_DAMAGED");
  expect(outcomes.made).toBe(0);
  for (let i = 0; i < HOSTILE; i++) await attempt(withOddValues(layers, random), `hostile ${i}`);
  // Both happen.
  expect(outcomes.made).toBeGreaterThan(HOSTILE / 20);
  expect(outcomes.refused).toBeGreaterThan(HOSTILE / 4);
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

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openKvmByIoctls } from "../../src/ioctl/index.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";
import { TestMachine } from "./support/machine.js";

const folder = workFolder();
afterAll(() => folder.remove());

/** What a guest is asked at its prompt, and how it ends. */
const COMMANDS = ["grep -c . /proc/interrupts; nproc", "poweroff -f"];

/** busybox asks where the cursor is behind it. */
const PROMPT = "guest# \x1b[6n";
/** A guest that nobody talks to runs for ever under the virtual clock. */
const PATIENCE_MS = 120_000;

/** Boots to a shell and uses it, on the library's own objects or by ioctls. */
async function visit(
  files: { readonly kernel: string; readonly initrd: string },
  cpus: number,
  kvm: { kvm?: typeof openKvmByIoctls },
) {
  const commands = [...COMMANDS];
  const guest = await TestMachine.start({
    ...files,
    cpus,
    ...kvm,
    // In the moment in which the prompt comes: at the same instruction in every run.
    reply: (output) => (output.endsWith(PROMPT) ? `${commands.shift()}\n` : undefined),
  });
  const timer = setTimeout(() => guest.machine.stop("timeout"), PATIENCE_MS);
  const end = await guest.ended;
  clearTimeout(timer);
  const { instructions, engineCounters } = guest.machine;
  return { end, instructions, counters: engineCounters, output: guest.output };
}

describe("a machine on a KVM that it drives by ioctls", () => {
  let files: { kernel: string; initrd: string };
  beforeAll(async () => {
    const initrd = await writeInitramfs(folder.path, "shell");
    files = { kernel: await kernelPath("6.1"), initrd };
  });

  it.each([1, 2])("%d CPU(s): Debian's shell, the same to the last instruction", async (cpus) => {
    const own = await visit(files, cpus, {});
    const other = await visit(files, cpus, { kvm: openKvmByIoctls });
    expect(own.end).toEqual({ kind: "poweroff" });
    expect(own.output).toMatch(new RegExp(`nproc\\s+\\d+\\s+${cpus}\\s`));
    expect(other.output).toBe(own.output);
    expect(other.instructions).toBe(own.instructions);
    expect(other).toEqual(own);
  });
});

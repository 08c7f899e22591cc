import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMachine, TextConsole } from "../../src/hosts/node/index.js";
import { IoctlKvm, MappedProcess, openKvmByIoctls } from "../../src/ioctl/index.js";
import { Kvm, type KvmOptions, type Vm } from "../../src/kvm/index.js";
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

/** KVM by ioctls, with memory to share and nothing else that has no ioctl. */
async function plainKvm(options: KvmOptions) {
  let made: Vm | undefined;
  const kvm = await Kvm.open({
    ...options,
    onVm(vm) {
      made = vm;
    },
  });
  const process = new MappedProcess();
  return new IoctlKvm({
    ...{ door: process, system: process.open(kvm) },
    sideOf() {
      const { linear } = made as Vm;
      return { linear, address: process.map(linear) };
    },
  });
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

  it("with nothing beyond ioctls a guest runs, and what is missing is said", async () => {
    const console = new TextConsole();
    const machine = await createMachine({ console, clock: "virtual", exec: false, kvm: plainKvm });
    const running = machine.run();
    const exact = machine.save({ exact: true });
    const lacks = (what: () => unknown): void => {
      expect(what).toThrow(expect.objectContaining({ code: "KVM_LACKS" }));
    };
    await expect(exact).rejects.toMatchObject({ code: "KVM_LACKS" });
    expect(await running).toEqual({ kind: "poweroff" });
    expect(console.text).toContain("kvm-xen embedded guest: a tour of the machine");
    expect(machine.instructions).toBe(0);
    lacks(() => machine.engineCounters);
    lacks(() => machine.view());
  });
});

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { debianGuest } from "../boot/support/guests.js";
import { Bench, runs } from "./support/machine.js";
import { microsandbox } from "./support/microsandbox.js";
import { said } from "./support/monitor.js";
import { itInFull } from "./support/rows.js";

/** A monitor that is not QEMU: what its command does with guests, under exec. */

let bench: Bench;
const script = fileURLToPath(new URL("programs/microsandbox.sh", import.meta.url));
beforeAll(async () => {
  bench = await Bench.open();
});
afterAll(() => bench.close());

const keptAndBranched = async (): Promise<void> => {
  const { busyboxPath } = await debianGuest();
  const folder = join(bench.folder, "microsandbox");
  const ended = await runs(["sh", script, await microsandbox(), folder, busyboxPath]);
  const context = ended.console + ended.stderr;
  expect(said(ended.console), context).toEqual({
    cpus: "2 2",
    hypervisor: "Hypervisor detected: KVM",
    branch: "kept",
    restored: "kept runs",
    entropy: "crng reseeded due to virtual machine fork",
    done: "",
  });
  expect(ended.status, context).toBe(0);
  // Three guests, of which two go on from what a third was.
  expect(/^KVM_CREATE_VM +3 /m.test(ended.stderr), context).toBe(true);
};

describe("microsandbox", () => {
  itInFull("guests with two CPUs are paused, kept, branched and restored", keptAndBranched);
});

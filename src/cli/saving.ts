/** Saves the machine that runs, when its user says so. */
import { HostError } from "../base/index.js";
import { writeSnapshotFile } from "../hosts/node/index.js";
import type { Log } from "../ports/index.js";
import type { Snapshot } from "../vmm/machine/index.js";

/** As much of a machine as saving it needs. */
export interface SavableMachine {
  readonly state?: "running" | "paused" | "suspended" | "ended";
  save?(): Promise<Snapshot>;
  resume?(): void;
  stop(): unknown;
}

/** Milliseconds after which it is said that a guest has not suspended itself so far. */
const PATIENCE_MS = 10_000;

/**
 * Saves a machine to a file, and ends it. When it cannot be saved it goes on, and `log` says why.
 * @throws what is no HostError: a defect.
 */
export async function saveAndEnd(machine: SavableMachine, path: string, log: Log): Promise<void> {
  const impatient = setTimeout(() => {
    log.warn("the guest has not suspended itself so far: not every kernel does");
  }, PATIENCE_MS);
  impatient.unref();
  try {
    const snapshot = await machine.save?.();
    clearTimeout(impatient);
    if (snapshot === undefined) return;
    await writeSnapshotFile(path, snapshot);
    log.warn(`saved: 'kvm-xen run --restore ${path}' goes on from here`);
    machine.stop();
  } catch (refusal) {
    if (!(refusal instanceof HostError)) throw refusal;
    log.warn(`not saved: ${refusal.message}`);
    if (machine.state === "suspended") machine.resume?.();
  } finally {
    clearTimeout(impatient);
  }
}

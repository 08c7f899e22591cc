/** Saves the machine that runs, when its user says so. */
import { HostError } from "../base/index.js";
import { writeSnapshotFile } from "../hosts/node/index.js";
import type { Log } from "../ports/index.js";
import type { SaveOptions, Snapshot } from "../vmm/machine/index.js";

/** As much of a machine as saving it needs. */
export interface SavableMachine {
  readonly state?: "running" | "paused" | "suspended" | "ended";
  save?(options?: SaveOptions): Promise<Snapshot>;
  resume?(): void;
  stop(): unknown;
}

/** Milliseconds after which it is said that a guest has not suspended itself so far. */
const PATIENCE_MS = 10_000;

/**
 * Saves a machine to a file, and ends it. When it cannot be saved it goes on, and `log` says why.
 * @throws what is no HostError: a defect.
 */
export async function saveAndEnd(
  machine: SavableMachine,
  path: string,
  log: Log,
  options: SaveOptions = {},
): Promise<void> {
  const { exact = false } = options;
  const clock = exact ? " --clock virtual" : "";
  const impatient = setTimeout(() => {
    if (!exact) log.warn("the guest has not suspended itself so far: not every kernel does");
  }, PATIENCE_MS);
  impatient.unref();
  let isPaused = false;
  try {
    const snapshot = await machine.save?.(options);
    clearTimeout(impatient);
    if (snapshot === undefined) return;
    isPaused = exact;
    await writeSnapshotFile(path, snapshot);
    log.warn(`saved: 'kvm-xen run --restore ${path}${clock}' goes on from here`);
    machine.stop();
  } catch (refusal) {
    if (!(refusal instanceof HostError)) throw refusal;
    log.warn(`not saved: ${refusal.message}`);
    // What a person has paused stays so.
    const isOurs = machine.state === "suspended" || (isPaused && machine.state === "paused");
    if (isOurs) machine.resume?.();
  } finally {
    clearTimeout(impatient);
  }
}

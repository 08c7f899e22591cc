/** The guest of `npm start` at its first prompt, kept: the next start goes on from there. */
import { createHash } from "node:crypto";
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../base/index.js";
import { openSnapshotFile, writeSnapshotFile } from "../hosts/node/index.js";
import type { Log } from "../ports/index.js";
import type { Machine, SavedMachine, Snapshot } from "../vmm/machine/index.js";
import type { AtPrompt, GuestRequest } from "./guest-run.js";

/**
 * Snapshots of guests at their prompts that are kept, for different memory, CPUs or terminals.
 * @limit user | snapshots that npm start keeps | files | that which was used least recently goes
 */
const MOST_KEPT = 2;

const ENDING = ".snapshot";
/** Of a file that is being written: the number of the process, and this. */
const UNFINISHED = /\.(\d+)\.unfinished$/;
/** Age at which an unfinished file is nobody's, in milliseconds. */
const ABANDONED_MS = 600_000;

export class StartSnapshots {
  readonly #folder: string;
  readonly #path: string;

  /** `key` and `files`: all on which the guest at its prompt depends. */
  constructor(cacheRoot: string, key: readonly unknown[], files: readonly Uint8Array[]) {
    const hash = createHash("sha256").update(JSON.stringify(key));
    for (const file of files) hash.update(file);
    this.#folder = join(cacheRoot, "snapshots");
    this.#path = join(this.#folder, `${hash.digest("hex").slice(0, 32)}${ENDING}`);
  }

  /**
   * The guest that was kept; one that `boot` gives, and is kept at its prompt, when there is none, when it is damaged,
   * or `cold` says so.
   */
  async request(
    boot: () => Promise<GuestRequest>,
    cold: boolean,
    how: Pick<GuestRequest, "clock" | "stats">,
  ): Promise<GuestRequest> {
    const keep = (snapshot: Snapshot) => this.#keep(snapshot);
    const otherwise = async () => ({ ...(await boot()), atPrompt: { keep } });
    if (cold) return { ...(await boot()), atPrompt: { keep: undefined } };
    const saved = await this.#open();
    if (saved === undefined) return otherwise();
    const config = {
      ...saved.hardware,
      ...{ kernel: new Uint8Array(0), commandLine: "" },
      bootAgain: async () => (await boot()).config,
    };
    return { ...how, config, saved, otherwise, atPrompt: { keep: undefined } };
  }

  async #open(): Promise<SavedMachine | undefined> {
    try {
      const saved = await openSnapshotFile(this.#path);
      const now = new Date();
      await utimes(this.#path, now, now).catch(() => undefined);
      return saved;
    } catch (refusal) {
      if (!(refusal instanceof HostError)) throw refusal;
      return undefined;
    }
  }

  async #keep(snapshot: Snapshot): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await writeSnapshotFile(this.#path, snapshot, { withoutBoot: true });
    const files = await Promise.all(
      (await readdir(this.#folder)).map(async (name) => {
        const path = join(this.#folder, name);
        return { path, ms: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0 };
      }),
    );
    const kept = files.filter(({ path }) => path.endsWith(ENDING)).sort((a, b) => b.ms - a.ms);
    const old = files.filter(
      ({ path, ms }) => UNFINISHED.test(path) && Date.now() - ms > ABANDONED_MS,
    );
    for (const { path } of [...kept.slice(MOST_KEPT), ...old]) await rm(path, { force: true });
  }
}

/**
 * Lets a guest go on when it says that it is at its prompt; the first time, when the snapshot of it is made, which is
 * written while it runs.
 */
export function waitAtPrompt(machine: Machine, { keep }: AtPrompt, log: Log): void {
  let isFirst = true;
  machine.onNode("data/prompt", () => {
    const go = (): void => machine.setNode("data/go", "1");
    if (keep === undefined || !isFirst) return go();
    isFirst = false;
    save(machine, keep, go).catch((refusal: unknown) => {
      if (!(refusal instanceof HostError)) throw refusal;
      log.debug(`no snapshot was kept: ${refusal.message}`);
    });
  });
}

async function save(
  machine: Machine,
  keep: (snapshot: Snapshot) => Promise<void>,
  go: () => void,
): Promise<void> {
  let snapshot: Snapshot;
  try {
    snapshot = await machine.save();
  } finally {
    if (machine.state !== "ended") {
      if (machine.state === "suspended") machine.resume();
      go();
    }
  }
  await keep(snapshot);
}

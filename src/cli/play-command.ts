import { basename } from "node:path";
import type { DecodePath } from "../engine/bridge/index.js";
import { readUserFile } from "../hosts/node/files.js";
import { HeapTimers, VirtualClock } from "../hosts/sim/index.js";
import { type LinuxRelease, type PlaySurroundings, playScenario } from "../play/index.js";
import { ExitStatus } from "./exit-status.js";

/**
 * Bytes of a scenario file; the largest of those that were recorded has a thousandth of it.
 * @limit file | a scenario file | bytes | FILE_TOO_LARGE, status 2
 */
const MAX_SCENARIO_FILE = 16 << 20;

const scenarioLimit = { bytes: MAX_SCENARIO_FILE, what: "the 16 MiB that a scenario may have" };

/** The options of `kvm-xen play`. */
export interface PlayOptions {
  readonly decode: DecodePath;
  readonly linux?: LinuxRelease;
}

/** What playing needs of this process; tests give their own. */
export interface PlayHost {
  readonly output: { write(bytes: Uint8Array): unknown };
  /** The engine that scenarios run on. */
  loadEngine(decode: DecodePath): Promise<PlaySurroundings["engine"]>;
}

/**
 * `kvm-xen play`: plays scenario files one after the other, each with everything of its own, and
 * prints their names and answers.
 * @returns the exit status.
 * @throws HostError when one of the files cannot be read; nothing is played then.
 */
export async function playFiles(
  paths: readonly string[],
  options: PlayOptions,
  host: PlayHost,
): Promise<number> {
  const files = await Promise.all(
    paths.map((path) => readUserFile(path, "scenario", scenarioLimit)),
  );
  const engine = await host.loadEngine(options.decode);
  const around: PlaySurroundings = {
    engine,
    ...(options.linux && { linux: options.linux }),
    time() {
      const clock = new VirtualClock();
      return { clock, timers: new HeapTimers(clock) };
    },
  };
  for (const [i, file] of files.entries()) {
    host.output.write(Buffer.from(`== ${basename(paths[i] ?? "")}\n`));
    for await (const line of playScenario(file, around)) {
      // Scenarios are bytes: what is not ASCII is echoed as it was.
      host.output.write(Buffer.from(`${line}\n`, "latin1"));
    }
  }
  return ExitStatus.OK;
}

// @ts-check
/**
 * Restores exact snapshots in a process of its own and lets each machine go on. Standard input is JSON: a list of
 * `{ file, atNs?, next?, disks?, networks? }`. With `atNs` the machine is saved exactly at that time, and compared with the file `next`, byte
 * by byte; without, it runs to its end. Answers a list of `{ same }` or `{ end, output, instructions }`.
 */
import { readFileSync, rmSync } from "node:fs";
import {
  createMachine,
  loadEngine,
  TextConsole,
  writeSnapshotFile,
} from "../../dist/hosts/node/index.js";

/**
 * @typedef {import("../../dist/hosts/node/index.js").MachineDescription} Description
 * @type {(Pick<Description, "disks" | "networks"> & { file: string, atNs?: number, next?: string })[]}
 */
const wishes = JSON.parse(readFileSync(0, "utf8"));
const engine = await loadEngine();
const answers = [];
for (const { file, atNs, next, disks = [], networks = [] } of wishes) {
  const console_ = new TextConsole();
  const machine = await createMachine({
    engine,
    restore: file,
    console: console_,
    clock: "virtual",
    disks,
    networks,
  });
  const saved = atNs === undefined ? undefined : machine.save({ exact: true, atNs });
  saved?.catch(() => undefined);
  const running = machine.run();
  if (saved === undefined) {
    const end = await running;
    answers.push({ end, output: console_.text, instructions: machine.instructions });
    continue;
  }
  const again = `${file}.again`;
  await writeSnapshotFile(again, await saved);
  machine.stop();
  await running;
  const [one, other] = [readFileSync(again), readFileSync(next ?? "")];
  // What differs can be looked at.
  if (one.equals(other)) rmSync(again);
  answers.push({ same: one.equals(other), output: console_.text });
}
process.stdout.write(JSON.stringify(answers));

// @ts-check
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { every, InspectServer } from "../dist/cli/inspect/inspect-server.js";
import { cacheRoot } from "../dist/hosts/node/cache.js";
import { obtainDebianGuest } from "../dist/hosts/node/debian-guest.js";
import { guestInitramfs } from "../dist/hosts/node/guest-initramfs.js";
import { createMachine, TextConsole } from "../dist/hosts/node/index.js";
import { Inspection, machineTarget } from "../dist/inspect/index.js";
import { median, table } from "./guests.mjs";

/** Instructions of a turn. */
const TURN = 200e6;
/** Turns before it counts: V8 and the engine compile. */
const WARM_UP = 6;
/**
 * While nothing is watched all that a viewer costs is a view each second, which is far less than what two turns differ by: it is to get
 * so many times as many, and what one costs is counted.
 */
const MORE_VIEWS = 40;

/**
 * What a viewer costs a machine: processor time of this process for as many instructions of a guest that forks without end, with
 * a viewer and without, in turns. Under the virtual clock, each turn has the same events for each instruction.
 * @param {{ pairs: number }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function inspector({ pairs }, progress) {
  const guest = await obtainDebianGuest({ cacheRoot: cacheRoot(), progress });
  const console_ = new TextConsole();
  const machine = await createMachine({
    ...{ kernel: guest.kernelPath, initrd: await guestInitramfs(guest, []), clock: "virtual" },
    ...{ commandLine: "cryptomgr.notests quiet", console: console_ },
  });
  const clock = { monotonicNs: () => Number(process.hrtime.bigint()) };
  const target = machineTarget(machine, clock);
  let more = 1;
  let views = 0;
  const server = await InspectServer.open(
    { port: 0, allowOrigins: [] },
    {
      ...{ inspected: "machine", name: "bench" },
      connect: (output) => {
        const counted = {
          sendEvents: output.sendEvents,
          send(/** @type {Parameters<typeof output.send>[0]} */ message) {
            if (message.kind === "view") views++;
            output.send(message);
          },
        };
        return new Inspection(target, counted, (ms, call) => every(ms / more, call));
      },
    },
  );
  const script = new URL("inspector-client.mjs", import.meta.url).pathname;
  const viewer = spawn(process.execPath, [script, server.address], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: viewer.stdout });
  const ended = machine.run();
  progress.step("boot");
  await console_.waitFor(/\/root # /);
  console_.type("while :; do /bin/busybox true; done\n");

  /** Processor time for each thousand instructions of a turn, and the views of it. @param {"gone" | "idle" | "watch"} what */
  const turn = async (what) => {
    const answered = once(answers, "line");
    more = what === "idle" ? MORE_VIEWS : 1;
    viewer.stdin.write(`${what}\n`);
    await answered;
    // It attaches, and what it asks for first is made.
    await new Promise((resolve) => setTimeout(resolve, 100));
    views = 0;
    const before = { at: process.cpuUsage(), instructions: machine.instructions };
    const until = before.instructions + TURN;
    while (machine.instructions < until) await new Promise((resolve) => setTimeout(resolve, 2));
    const { user, system } = process.cpuUsage(before.at);
    const millions = (machine.instructions - before.instructions) / 1e6;
    return { each: (user + system) / millions, millions, views };
  };
  for (let i = 0; i < WARM_UP; i++) await turn("gone");
  const rows = [["", "without, ns", "costs, median", "quarter", "three quarters", "error"]];
  for (const [name, what] of /** @type {const} */ ([
    ["attached and idle", "idle"],
    ["watching channels", "watch"],
  ])) {
    /** @type {{ without: number, cost: number }[]} */
    const seen = [];
    for (let i = 0; i < pairs; i++) {
      progress.step(`${name}, pair ${i + 1} of ${pairs}`);
      // Neither is always the first of its pair.
      const first = i % 2 === 0 ? await turn("gone") : await turn(what);
      const second = i % 2 === 0 ? await turn(what) : await turn("gone");
      const [without, viewed] = i % 2 === 0 ? [first, second] : [second, first];
      const extra = viewed.each - without.each;
      const cost =
        what === "idle" ? (extra * viewed.millions) / viewed.views / 1e6 : extra / without.each;
      seen.push({ without: without.each, cost: cost * 100 });
    }
    const costs = seen.map(({ cost }) => cost).sort((a, b) => a - b);
    const at = (/** @type {number} */ share) =>
      costs[Math.floor(costs.length * share)] ?? Number.NaN;
    // Of a median: 1.25 times that of a mean, whose deviation is the quartiles' distance by 1.35.
    const error = (1.25 * (at(0.75) - at(0.25))) / 1.35 / Math.sqrt(pairs);
    const percent = (/** @type {number} */ value) => `${value.toFixed(2)} %`;
    rows.push([
      ...[name, median(seen.map(({ without }) => without)).toFixed(0), percent(at(0.5))],
      ...[percent(at(0.25)), percent(at(0.75)), `± ${percent(error)}`],
    ]);
  }
  progress.end();
  viewer.kill();
  machine.stop();
  await ended;
  await server.close();
  console.log(`\nProcessor time for 1,000 instructions with a viewer and without, ${pairs} pairs;`);
  console.log(
    "idle: what one of many views costs, of a second, as one is made each second; error: the standard one of the median",
  );
  console.log(table(rows));
}

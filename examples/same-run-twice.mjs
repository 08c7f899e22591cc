// @ts-check
/** Under the virtual clock, the same inputs give the same run: instructions, output, random numbers. */
import { createHash } from "node:crypto";
import { createMachine, TextConsole } from "kvm-xen/hosts/node";

/** @param {number} seed */
async function run(seed) {
  const screen = new TextConsole();
  const machine = await createMachine({ console: screen, cpus: 2, clock: "virtual", seed });
  await machine.run();
  const digest = createHash("sha256").update(screen.text).digest("hex").slice(0, 16);
  return `${machine.instructions} instructions, console ${digest}`;
}

const [first, second, other] = [await run(1), await run(1), await run(2)];
console.log(`seed 1: ${first}\nseed 1: ${second}\nseed 2: ${other}`);
if (first !== second) throw new Error("the runs differ");

// @ts-check
/**
 * Traces a guest: each hypercall with its result, and how many of each there were.
 *   node examples/trace-hypercalls.mjs [KERNEL [INITRD]]
 */
import { createMachine, NodeClock } from "kvm-xen/hosts/node";
import { hypercallName, TraceRing, TraceWriter } from "kvm-xen/trace";

const [kernel, initrd] = process.argv.slice(2);
const machine = await createMachine({
  ...(kernel === undefined ? {} : { kernel }),
  ...(initrd === undefined ? {} : { initrd }),
});

/** @type {Map<string, number>} */
const counts = new Map();
const ring = new TraceRing(new NodeClock());
/** @param {string} text */
const count = (text) => {
  for (const line of text.split("\n")) {
    const event = line === "" ? undefined : JSON.parse(line);
    if (event?.kind !== "hypercall") continue;
    const name = event.name ?? hypercallName(event.nr);
    const key = event.op === undefined ? name : `${name}.${event.op}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
};
const writer = new TraceWriter(ring, count, { format: "json" });
machine.trace = ring.source();
const end = await machine.run();
writer.end();

const rows = [...counts].sort(([, a], [, b]) => b - a);
for (const [name, times] of rows) console.log(`${String(times).padStart(6)} ${name}`);
console.log(`the guest ended: ${end.kind}`);
if (rows.length === 0) throw new Error("no hypercalls");

/** A machine of this process that stands still at a virtual time, and its inspector. */
import { every, InspectServer } from "../../src/cli/inspect/inspect-server.js";
import { createMachine } from "../../src/hosts/node/index.js";
import { Inspection, machineTarget } from "../../src/inspect/index.js";
import { TraceRing } from "../../src/trace/index.js";
import type { Machine } from "../../src/vmm/machine/index.js";

/** A clock that nothing depends on: times of events are the machine's, by what it has executed. */
export const clockOf = (machine: () => Machine) => ({
  monotonicNs: () => machine().view().kvm.time,
});

/** A machine that has just armed its timer, and stands still there. */
export async function machineAtTimer(): Promise<Machine> {
  const machine = await createMachine({ clock: "virtual" });
  const sink = new TraceRing({ monotonicNs: () => 0 }).source();
  const paused = new Promise<void>((resolve) => {
    const timerArmed: typeof sink.timerArmed = () => {
      machine.pause();
      resolve();
    };
    machine.trace = new Proxy(sink, {
      get: (of, name: keyof typeof sink) =>
        name === "timerArmed" ? timerArmed : (of[name] as () => void).bind(of),
    });
  });
  void machine.run();
  await paused;
  await new Promise((resolve) => setTimeout(resolve, 100));
  machine.trace = undefined;
  return machine;
}

/** That machine, with a server of its inspector. */
export async function inspectedMachine(): Promise<{ machine: Machine; server: InspectServer }> {
  const machine = await machineAtTimer();
  const target = machineTarget(
    machine,
    clockOf(() => machine),
  );
  const server = await InspectServer.open(
    { port: 0, allowOrigins: [] },
    {
      ...{ inspected: "machine", name: "a test" },
      connect: (output) => new Inspection(target, output, every),
    },
  );
  return { machine, server };
}

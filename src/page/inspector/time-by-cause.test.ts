import { describe, expect, it } from "vitest";
import { exitName, type TraceEvent } from "../../trace/index.js";
import { TimeByCause } from "./time-by-cause.js";

const codeOf = (name: string): number => {
  for (let code = 0; code < 64; code++) if (exitName(code) === name) return code;
  throw new Error(`no exit ${name}`);
};

/** Events of VM 0 unless they say otherwise; time and vCPU come first. */
function added(...events: readonly [time: number, vcpu: number, rest: object][]): TimeByCause {
  const times = new TimeByCause();
  for (const [seq, [time, vcpu, rest]] of events.entries()) {
    times.add({ seq, time, vm: 0, vcpu, ...rest } as TraceEvent);
  }
  return times;
}

const halt = { kind: "exit", code: codeOf("HLT"), address: 0, rip: 0n };
const io = { ...halt, code: codeOf("IO") };
const wake = { kind: "wake" };
const hypercall = (by: string | undefined, duration: number | undefined) => ({
  ...{ kind: "hypercall", nr: 29, longMode: true, cpl: 0, args: [], rip: 0n, result: 0n },
  ...{ by, duration },
});

describe("the time of a vCPU by cause", () => {
  it("is halted from HLT until it is woken, and with whoever answers a hypercall", () => {
    const times = added(
      [100, 0, hypercall("kvm", 5)],
      [150, 0, hypercall("monitor", 30)],
      [200, 0, halt],
      [700, 0, wake],
      [800, 0, io],
      [900, 0, wake],
      [950, 0, hypercall("kvm", 2)],
      [960, 0, hypercall(undefined, undefined)],
    );
    expect(times.byVcpu.get("0:0")).toMatchObject({
      ...{ halted: 500, kvm: 7, monitor: 30, first: 100, last: 960 },
    });
  });

  it("is not halted where an interrupt was at hand: the vCPU goes on without being woken", () => {
    const goesOn = added([0, 0, halt], [10, 0, hypercall("kvm", 1)], [500, 0, wake]);
    expect(goesOn.byVcpu.get("0:0")).toMatchObject({ halted: 0, kvm: 1 });
    const leaves = added([0, 0, halt], [10, 0, io], [500, 0, wake]);
    expect(leaves.byVcpu.get("0:0")?.halted).toBe(0);
    const twice = added([0, 0, halt], [10, 0, wake], [20, 0, wake]);
    expect(twice.byVcpu.get("0:0")?.halted).toBe(10);
  });

  it("is each vCPU's own, of each VM", () => {
    const times = added(
      [0, 0, halt],
      [5, 1, halt],
      [7, 0, { ...halt, vm: 1 }],
      [20, 1, wake],
      [40, 0, { ...wake, vm: 1 }],
      [80, 0, wake],
    );
    const halted = [...times.byVcpu].map(([key, spent]) => [key, spent.halted]);
    expect(halted).toEqual([
      ["0:0", 80],
      ["0:1", 15],
      ["1:0", 33],
    ]);
  });
});

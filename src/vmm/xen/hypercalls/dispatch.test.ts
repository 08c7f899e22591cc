/** What every hypercall has in common: its work, what is said of one that is not there, memory that goes meanwhile. */
import { describe, expect, it } from "vitest";
import { makeDomain } from "../kvm.fixture.js";
import { Effort } from "./effort.js";

const { EFAULT, ENOSYS } = { EFAULT: 14, ENOSYS: 38 };
/** Numbers of public/xen.h and public/memory.h. */
const NR = { argo_op: 39, multicall: 13, memory_op: 12, set_timer_op: 15, xen_version: 17 };
const DECREASE = 1;

function setUp() {
  const test = makeDomain();
  const [warned, debugged]: [string[], string[]] = [[], []];
  const log = {
    warn: (text: string) => warned.push(text),
    debug: (text: string) => debugged.push(text),
  };
  Object.assign(test.domain, { log });
  const { memory } = test.domain;
  const write64 = (at: number, ...values: number[]): void => {
    for (const [i, value] of values.entries()) {
      memory.writeU32(at + i * 8, value);
      memory.writeU32(at + i * 8 + 4, 0);
    }
  };
  /** `struct xen_memory_reservation`: its list, extents, order and flags, domain. */
  const reservation = (at: number, list: number, extents: number): void => {
    write64(at, list, extents, 0, 0x7ff0);
  };
  return { ...test, warned, debugged, write64, reservation };
}

describe("work", () => {
  it("is 100 units an element, 10,000 for each time that KVM is told of other memory, 20,000 are enough", () => {
    const physmap = { commits: 5 };
    const effort = new Effort(physmap as never);
    expect([effort.units, effort.isEnough]).toEqual([0, false]);
    effort.add(3);
    effort.add(1);
    expect(effort.units).toBe(400);
    physmap.commits = 6;
    expect([effort.units, effort.isEnough]).toEqual([10_400, false]);
    effort.add(95);
    expect([effort.units, effort.isEnough]).toEqual([19_900, false]);
    effort.add(1);
    expect([effort.units, effort.isEnough]).toEqual([20_000, true]);
  });

  it("is charged to whoever asks, with that of backends since the last time", () => {
    const { call, domain, vcpus, write64 } = setUp();
    call(NR.xen_version, [0]);
    expect(vcpus.map(({ work }) => work)).toEqual([0, 0]);
    domain.charge(7);
    call(NR.xen_version, [0], { vcpu: 1 });
    expect(vcpus.map(({ work }) => work)).toEqual([0, 7]);
    write64(0x5000, NR.xen_version, 0, 0, 0, 0, 0, 0, 0, NR.xen_version, 0, 0, 0, 0, 0, 0, 0);
    call(NR.multicall, [0x5000, 2]);
    expect(vcpus.map(({ work }) => work)).toEqual([200, 7]);
    domain.charge(50);
    call(NR.multicall, [0x5000, 1]);
    expect(vcpus.map(({ work }) => work)).toEqual([350, 7]);
  });
});

describe("a hypercall that is not there", () => {
  it("is told once: a whole one as a warning, a part of one for who looks closer", () => {
    const { call, warned, debugged } = setUp();
    for (let i = 0; i < 2; i++) {
      expect(call(0, [7])).toBe(-ENOSYS);
      expect(call(NR.xen_version, [99])).toBe(-ENOSYS);
      expect(call(77, [7])).toBe(-ENOSYS);
      expect(call(NR.argo_op, [7])).toBe(-ENOSYS);
    }
    expect(warned).toEqual([
      "hypercall number 0 is not there (-ENOSYS)",
      "hypercall number 77 is not there (-ENOSYS)",
      "hypercall argo_op is not there (-ENOSYS)",
    ]);
    expect(debugged).toEqual(["hypercall xen_version sub-operation 99 is not there (-ENOSYS)"]);
  });

  it("is told of up to 256 kinds", () => {
    const { call, warned } = setUp();
    for (let nr = 1000; nr < 1300; nr++) call(nr, []);
    expect([warned.length, warned.at(-1)]).toEqual([
      ...[256, "hypercall number 1255 is not there (-ENOSYS)"],
    ]);
  });

  it("is none of those that a guest needs", () => {
    const { call, warned, debugged } = setUp();
    expect([call(NR.set_timer_op, [0]), call(NR.xen_version, [0])]).toEqual([0, 0x40011]);
    expect([warned, debugged]).toEqual([[], []]);
  });
});

describe("memory that goes in the middle of a hypercall", () => {
  it("is not read any more: a list that is in the page that it gives back", () => {
    const { call, domain, write64, reservation } = setUp();
    reservation(0x5000, 0x6000, 3);
    write64(0x6000, 6, 7, 8);
    expect(call(NR.memory_op, [DECREASE, 0x5000])).toBe(1);
    expect([6, 7, 8].map((gfn) => domain.physmap.isBacked(gfn))).toEqual([false, true, true]);
  });

  it("takes no result: a multicall whose entry is in such a page", () => {
    const { call, domain, write64, reservation } = setUp();
    reservation(0x5000, 0x5800, 1);
    write64(0x5800, 7);
    write64(0x7000, NR.memory_op, 0, DECREASE, 0x5000, 0, 0, 0, 0);
    expect(call(NR.multicall, [0x7000, 1])).toBe(-EFAULT);
    expect(domain.physmap.isBacked(7)).toBe(false);
    expect(call(NR.multicall, [0x7000, 1])).toBe(-EFAULT);
  });
});

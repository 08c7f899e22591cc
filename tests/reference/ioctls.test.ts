/** spec/kvm/ioctls.mjs and capabilities.mjs against the binary interface, and against Linux. */
import { describe, expect, it } from "vitest";
import { CAPABILITIES_OF_VM, capabilitiesOf } from "../../spec/kvm/capabilities.mjs";
import { IOCTLS } from "../../spec/kvm/ioctls.mjs";
import { recorded } from "../../spec/kvm/recorded.mjs";
import type { Release } from "../../spec/kvm/releases.mjs";
import * as abi from "../../src/abi/kvm/index.js";
import { Errno } from "../../src/base/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { LocalProcess } from "../../src/ioctl/index.js";
import { Kvm, LINUX_RELEASES, type LinuxRelease } from "../../src/kvm/index.js";
import { FakeEngineVm } from "../../src/kvm/tests/fake-engine.fixture.js";

const rows = IOCTLS.flatMap(({ rows: list }) =>
  list.map(([name, on, , , state, why]) => ({ name, on: on.split(", "), state, why })),
);
/** Every release, with what it answered. */
const RELEASES = LINUX_RELEASES.map((release) => ({
  release,
  linux: recorded(Number(release) as Release),
}));
const abiNumbers = abi as unknown as Readonly<Record<string, unknown>>;
const DESCRIPTORS = ["system", "vm", "vcpu"] as const;
/** What numbers that do not exist answer. */
const UNKNOWN = [-Errno.EINVAL, -Errno.ENOTTY, -Errno.EINVAL];
const BAD_ADDRESS = 8n;
/** Below 4 GiB, as the data of the program that asked Linux. */
const ZEROS = 0x500000n;

async function openKvm(linux: LinuxRelease): Promise<Kvm> {
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  return await Kvm.open({ engine: { createVm: () => new FakeEngineVm() }, clock, timers, linux });
}

/** One ioctl on each kind of descriptor, as spec/kvm/record.c asks. */
async function ask(
  kvm: Kvm,
  request: number,
  how: "unmapped" | "zeros" | "irqchip",
): Promise<number[]> {
  const answers: number[] = [];
  for (const which of DESCRIPTORS) {
    const client = new LocalProcess();
    const system = client.open(kvm);
    const vm = Number(await client.ioctl(system, abi.KVM_CREATE_VM));
    if (how === "irqchip") await client.ioctl(vm, abi.KVM_CREATE_IRQCHIP);
    const vcpu = Number(await client.ioctl(vm, abi.KVM_CREATE_VCPU));
    const zeros = client.mapAnonymous(65536, ZEROS);
    const fd = { system, vm, vcpu }[which];
    const value = await client.ioctl(fd, request, how === "unmapped" ? BAD_ADDRESS : zeros);
    // A new descriptor counts as 0.
    answers.push(value === vcpu + 1 && client.close(value) === 0 ? 0 : value);
    for (const open of [vcpu, vm, system]) client.close(open);
  }
  return answers;
}

/** Frequencies and the like differ between machines. */
const like = (ours: readonly number[], theirs: readonly number[]): boolean =>
  ours.every((value, i) => value === theirs[i] || (value > 0 && (theirs[i] ?? 0) > 0));

describe.each(RELEASES)("ioctls of Linux $release", ({ release, linux }) => {
  it("are all there that Linux's header has for x86", () => {
    const names = [...linux.ioctls.keys()].filter((name) => name.startsWith("KVM_"));
    expect(rows.map((row) => row.name).sort()).toEqual([...names, "KVM_RUN"].sort());
  });

  it("have the header's numbers", () => {
    for (const [name, { request }] of linux.ioctls) {
      if (typeof abiNumbers[name] === "number")
        expect([name, abiNumbers[name]]).toEqual([name, request]);
    }
  });

  it("are in the state that the table says", async () => {
    const kvm = await openKvm(release);
    const wrong: string[] = [];
    for (const { name, on, state, why } of rows) {
      const theirs = linux.ioctls.get(name);
      if (theirs === undefined) continue;
      if (state !== "done" && why === undefined) wrong.push(`${name}: no reason`);
      for (const how of ["unmapped", "zeros", "irqchip"] as const) {
        const ours = await ask(kvm, theirs.request, how);
        const text = `${name} (${state}) ${how}: ${ours}, Linux ${theirs[how]}`;
        // What is not there answers like a number that does not exist, or as Linux where it has not got it either.
        if (state === "absent" && !like(ours, UNKNOWN) && !like(ours, theirs[how]))
          wrong.push(text);
        if (state === "done" && !like(ours, theirs[how])) wrong.push(text);
        if (how === "unmapped" && state !== "absent") {
          const known = DESCRIPTORS.filter((_, i) => ours[i] !== UNKNOWN[i]);
          // What answers EINVAL on its own descriptor shows only with other arguments.
          const foreign = known.filter((descriptor) => !on.includes(descriptor));
          if (foreign.length > 0) wrong.push(`${text} (answers on ${foreign})`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it("that do not exist are refused as Linux refuses them", async () => {
    const kvm = await openKvm(release);
    for (const name of ["UNKNOWN", "UNKNOWN_R", "NOT_KVM"]) {
      const theirs = linux.ioctls.get(name);
      expect(theirs?.zeros).toEqual(UNKNOWN);
      expect(await ask(kvm, theirs?.request ?? 0, "zeros")).toEqual(UNKNOWN);
    }
  });
});

describe.each(RELEASES)("capabilities of Linux $release", ({ release, linux }) => {
  const table = capabilitiesOf(release);
  const byNumber = new Map(table.map((row) => [row[0], row]));
  const ofVm = new Map(CAPABILITIES_OF_VM[release]);

  it("have the values of the table, on the system and on a VM", async () => {
    const kvm = await openKvm(release);
    const vm = kvm.createVm();
    const answered = (check: (cap: number) => number): [number, number][] =>
      Array.from({ length: 300 }, (_, cap): [number, number] => [cap, check(cap)]).filter(
        ([, value]) => value !== 0,
      );
    const expected = table.filter((row) => row[2] !== 0).map(([cap, , value]) => [cap, value]);
    expect(answered((cap) => kvm.checkExtension(cap))).toEqual(expected);
    expect(answered((cap) => vm.checkExtension(cap))).toEqual(
      expected.map(([cap = 0, value]) => [cap, ofVm.get(cap) ?? value]),
    );
    vm.close();
  });

  it("that differ from Linux say why, and no others", () => {
    for (const [cap, name, value, why] of table) {
      const [system, vm] = linux.caps.get(cap) ?? [0, 0];
      const differs = system !== value || vm !== (ofVm.get(cap) ?? value);
      expect([name, why !== undefined]).toEqual([name, differs]);
    }
    expect([...linux.caps.keys()].filter((cap) => !byNumber.has(cap))).toEqual([]);
  });
});

/**
 * A guest that is never idle is stopped at random moments, everything is read through KVM's calls and
 * put into a VM of another Kvm, and it goes on there. With one vCPU and no poll nothing may tell the
 * two runs apart, to the nanosecond. With two, turns fall differently: then what the guest has
 * counted, read, logged and shown must be the same.
 *
 *   SAVE_RESTORE_SEED=N SAVE_RESTORE_COUNT=N npx vitest run tests/save-restore
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { loadEngine } from "../../src/engine/tests/guest-cpu.fixture.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { At, EVERYTHING, Machine, Op, type Options } from "./machine.fixture.js";
import { restore, save, withoutEndedCount } from "./snapshot.fixture.js";

vi.setConfig({ testTimeout: 300_000 });

const SEED = Number(process.env["SAVE_RESTORE_SEED"] ?? 1);
const COUNT = Number(process.env["SAVE_RESTORE_COUNT"] ?? 12);

/** The guest must end within so many virtual nanoseconds. */
const LIMIT_NS = 20e9;

/** Numbers from 0 to below 1: xorshift32 (Marsaglia, 2003). */
function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x100000000;
  };
}

/** Parts of the guest's struct (guest.S) that hold times. */
const TIMES_IN_STRUCT = [
  [0x228, 8],
  [0x280, 0x88],
] as const;

/**
 * Memory without clock areas and wallclock, which a restore writes anew. Each KVM_RUN closes the
 * account of the runstate, so that the time since is told from running time only by the next one.
 */
function memoryOf(machine: Machine): Uint8Array {
  const memory = machine.memory();
  const view = new DataView(memory.buffer);
  for (const at of [At.RUNSTATE, At.RUNSTATE + 0x1000]) {
    const running = view.getBigUint64(at + 16, true);
    view.setBigUint64(at + 8, view.getBigUint64(at + 8, true) - running, true);
    view.setBigUint64(at + 16, 0n, true);
  }
  for (const at of [At.SHARED_INFO + 32, At.VCPU_INFO + 32, At.TIME_INFO, At.TIME_INFO + 32]) {
    memory.fill(0, at, at + 32);
  }
  memory.fill(0, At.SHARED_INFO + 0xc00, At.SHARED_INFO + 0xc10);
  return memory;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** The words that are not zero, so that a difference can be read. */
function words(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const list: string[] = [];
  for (let at = 0; at < bytes.length; at += 8) {
    const value = view.getBigUint64(at, true);
    if (value !== 0n) list.push(`${at.toString(16)}: ${value.toString(16)}`);
  }
  return list;
}

/** Everything there is of a guest that has ended. */
function everything(machine: Machine) {
  return {
    memory: words(memoryOf(machine)),
    traces: machine.devices.map((device) => device.trace),
    clock: machine.vm.getClock().clock,
    vcpus: machine.vcpus.map((vcpu) => ({
      regs: vcpu.getRegs(),
      sregs: vcpu.getSregs(),
      fpu: hex(vcpu.getFpu()),
      lapic: hex(withoutEndedCount(vcpu.getLapic())),
      events: vcpu.getVcpuEvents(),
    })),
  };
}

/** What does not depend on time. */
function account(machine: Machine) {
  const memory = memoryOf(machine);
  return machine.devices.map((device, i) => {
    const struct = memory.slice(At.STRUCT + i * 0x1000, At.STRUCT + (i + 1) * 0x1000);
    for (const [at, length] of TIMES_IN_STRUCT) struct.fill(0, at, at + length);
    return {
      struct: words(struct),
      log: words(memory.slice(At.LOG + i * 0x8000, At.LOG + (i + 1) * 0x8000)),
      trace: device.trace,
      fpu: hex(machine.vcpus[i]?.getFpu() ?? new Uint8Array()),
    };
  });
}

/** Runs to the end; a guest that hangs has lost an event. */
async function finish(machine: Machine): Promise<void> {
  const limit = machine.timers.arm(machine.clock.monotonicNs() + LIMIT_NS, () => machine.stop());
  const ended = await machine.run();
  limit.cancel();
  expect(ended, "the guest ends").toBe(true);
}

/** The run that is not interrupted. */
async function whole(options: Options): Promise<Machine> {
  const machine = await Machine.create(await loadEngine(), options);
  machine.start();
  await finish(machine);
  for (let i = 0; i < options.vcpus; i++) {
    const struct = new DataView(machine.memory(At.STRUCT + i * 0x1000, 0x1000).buffer);
    expect(struct.getBigUint64(0x238, true), "checks of the guest that failed").toBe(0n);
  }
  return machine;
}

/** A run that moves to another VM at each of the moments, and the last machine. */
async function moved(options: Options, moments: readonly Moment[]): Promise<Machine> {
  const engine = await loadEngine();
  let machine = await Machine.create(engine, options);
  machine.start();
  for (const [n, moment] of moments.entries()) {
    if ("exits" in moment) machine.stopAfterExits(moment.exits);
    else machine.timers.arm(machine.clock.monotonicNs() + moment.afterNs, () => machine.stop());
    if (await machine.run()) return machine;
    const next = await Machine.create(engine, options, 1_000_003 * (n + 1));
    restore(next, save(machine));
    machine.vm.close();
    machine = next;
  }
  await finish(machine);
  return machine;
}

/** When a guest is stopped: after some time, or after some exits were answered. */
type Moment = { readonly afterNs: number } | { readonly exits: number };

const SOLO: Options = {
  vcpus: 1,
  rounds: 300,
  operations: EVERYTHING & ~Op.CROSS & ~Op.POLL,
  irqchip: "kernel",
  ownVector: false,
  hva: false,
};
const PAIR: Options = { ...SOLO, vcpus: 2, rounds: 200, operations: EVERYTHING };

describe("a VM that moves in the middle of anything", () => {
  it.each<[string, Options]>([
    ["irqchip in the kernel", SOLO],
    ["split irqchip, host addresses", { ...SOLO, irqchip: "split", hva: true }],
  ])("goes on exactly as it would have, with one vCPU: %s", async (_name, options) => {
    const random = generator(SEED);
    const reference = await whole(options);
    const wanted = everything(reference);
    for (let n = 0; n < COUNT; n++) {
      const moment: Moment =
        random() < 0.3
          ? { exits: 1 + Math.floor(random() * reference.exits) }
          : { afterNs: Math.floor(random() * reference.clock.monotonicNs()) };
      const machine = await moved(options, [moment]);
      expect(everything(machine), `seed ${SEED}, ${JSON.stringify(moment)}`).toEqual(wanted);
      machine.vm.close();
    }
  });

  it.each<[string, Options]>([
    ["the VM's vector", PAIR],
    ["a vector of its own", { ...PAIR, irqchip: "split", ownVector: true }],
    ["a vector of its own, host addresses", { ...PAIR, ownVector: true, hva: true }],
    ["poll alone", { ...SOLO, operations: Op.POLL | (1n << 2n) | (1n << 7n), rounds: 60 }],
  ])("counts, reads and shows the same, many times moved: %s", async (_name, options) => {
    const random = generator(SEED + 1000);
    const reference = await whole(options);
    const wanted = account(reference);
    const total = reference.clock.monotonicNs();
    for (let n = 0; n < COUNT; n++) {
      const moments = Array.from({ length: 1 + Math.floor(random() * 6) }, (): Moment => {
        if (random() < 0.3) return { exits: 1 + Math.floor(random() * 60) };
        return { afterNs: Math.floor((random() * total) / 3) };
      });
      const machine = await moved(options, moments);
      expect(account(machine), `seed ${SEED}, ${JSON.stringify(moments)}`).toEqual(wanted);
      machine.vm.close();
    }
  });
});

describe("a VM that moves at each moment of a stretch", () => {
  it.each<[string, bigint]>([
    ["an RDMSR that faults", 1n << 28n],
    ["a shadow", 1n << 27n],
    ["an NMI", 1n << 22n],
    ["string instructions on devices", (1n << 24n) | (1n << 9n)],
    ["a priority and a local interrupt", (1n << 18n) | (1n << 6n)],
    ["an event behind the interrupt flag", 1n << 19n],
    ["timers", 1n << 2n],
  ])("goes on exactly: %s", async (_name, operations) => {
    const options = { ...SOLO, operations, rounds: 3 };
    const reference = await whole(options);
    const wanted = everything(reference);
    const total = reference.clock.monotonicNs();
    const step = Math.max(1, Math.floor(total / (2 * COUNT)));
    for (let afterNs = 1; afterNs < total; afterNs += step) {
      const machine = await moved(options, [{ afterNs }]);
      expect(everything(machine), `after ${afterNs} ns`).toEqual(wanted);
      machine.vm.close();
    }
  });
});

it.skipIf(!machineHas("an assembler"))("the guest is what its source says", () => {
  const build = fileURLToPath(new URL("build.sh", import.meta.url));
  expect(spawnSync(build, ["--check"]).status).toBe(0);
});

/**
 * Machines that are saved exactly, at random moments, and go on in another process: each is the uninterrupted run to the
 * last byte. A run of a guest (guest/work.S) is saved at many moments on its way; from each of these another process
 * goes on to the next one, where all that there is has to be the same again: memory, registers, clocks, timers, queues.
 * From some it goes on to the end. The machine with two vCPUs has a disk whose image stays as it is, and a card in a
 * simulated network that loses packets.
 *
 *   SEED=N EXACT_MOMENTS=N npx vitest run --config tests/snapshots/vitest.config.ts exact
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { seed } from "../../src/base/seed.fixture.js";
import {
  blockBackend,
  CardOpener,
  type Clock,
  loadEngine,
  Machine,
  nodeDecompressors,
  nodeEntropy,
  openDisk,
  TextConsole,
  type TimePorts,
  timePorts,
  writeSnapshotFile,
} from "../../src/hosts/node/index.js";
import type { Disk, TraceRegisters, TraceSink } from "../../src/ports/index.js";
import type { Backend, Snapshot } from "../../src/vmm/machine/index.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { generator, refuseOrRunHostile, sectionsOf } from "./hostile.js";
import { lateDisk } from "./late-disk.fixture.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-exact-"));
afterAll(() => process.env["KEEP"] ?? rmSync(folder, { recursive: true, force: true }));

const guest = fileURLToPath(new URL("guest/work.elf", import.meta.url));
const child = fileURLToPath(new URL("exact-restore.mjs", import.meta.url));
const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** Of the machine with two vCPUs; the other one, that has no devices, is looked at less often. */
const MOMENTS = Number(process.env["EXACT_MOMENTS"] ?? 50);
/** Moments that are looked at for each of those, so that whatever happens seldom is among them. */
const LOOKS = 10;

/** What the child answers. */
interface Answer {
  readonly same?: boolean;
  readonly end?: unknown;
  readonly output: string;
  readonly instructions?: number;
}

/** Lets machines go on in another process. */
async function elsewhere(wishes: readonly object[]): Promise<Answer[]> {
  const { stdin, stdout, stderr } = spawn(process.execPath, [child], { stdio: "pipe" });
  const text = { out: "", err: "" };
  stdout.setEncoding("utf8").on("data", (piece: string) => (text.out += piece));
  stderr.setEncoding("utf8").on("data", (piece: string) => (text.err += piece));
  stdin.end(JSON.stringify(wishes));
  await new Promise((resolve) => stdout.once("close", resolve));
  expect(text.err).toBe("");
  return JSON.parse(text.out) as Answer[];
}

/** The image of the disk, which nobody writes to. */
const image = join(folder, "image");
const IMAGE_BYTES = 1 << 20;
const writeImage = (random: () => number) =>
  writeFileSync(
    image,
    Uint8Array.from({ length: IMAGE_BYTES }, () => random() * 256),
  );

/** What machines with devices have. */
const devices = {
  disks: [{ path: image, snapshot: true }],
  networks: [{ kind: "sim", loss: 0.1 }],
} as const;

async function devicesFor(
  time: Pick<TimePorts, "clock" | "timers">,
  change = (disk: Disk) => disk,
): Promise<Backend[]> {
  const outside = { ...time, entropy: nodeEntropy };
  const log = { warn: () => undefined, debug: () => undefined };
  const networks = devices.networks.map((network) => ({ ...network, mac: "00:16:3e:00:00:01" }));
  const cards = new CardOpener({ ...outside, log });
  const disk = change(await openDisk(image, { snapshot: true }));
  return [blockBackend({ name: "xvda", disk }, outside), ...(await cards.openAll(networks))];
}

/** A machine with the guest, and its clock. */
async function machineOf(cpus: number, console: TextConsole, change?: (disk: Disk) => Disk) {
  const time = timePorts("virtual");
  const log = { warn: () => undefined, debug: () => undefined };
  const machine = await Machine.create(
    {
      devices: cpus === 1 ? [] : await devicesFor(time, change),
      ...{ kernel: readFileSync(guest), commandLine: "", memoryBytes: 16 << 20, cpus },
      console: "hvc0",
      // One with the console of an agent, which this guest does not look at.
      exec: cpus === 1,
    },
    { engine: await engine, decompressors: nodeDecompressors, ...time, log, console },
  );
  return { machine, clock: time.clock };
}

const engine = loadEngine({ seed: 5n });

/** Notes when things happen behind which a moment is worth being looked at. */
class Times implements TraceSink {
  readonly #clock: Clock;
  readonly kinds: { [kind: string]: number[] } = {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  #note(kind: string): void {
    this.kinds[kind] ??= [];
    this.kinds[kind].push(this.#clock.monotonicNs());
  }

  hypercall(vcpu: number, registers: TraceRegisters): void {
    const nr = registers.gprLow(0);
    if (nr === Number(MULTICALL)) this.#note("multicall");
    if (nr === 24) this.#note(vcpu === 0 ? "up" : "down");
    // Of the first vCPU those that tell a device, or xenstore, of something.
    if (nr === 32 && vcpu === 0) this.#note("send");
  }
  runstate(_vcpu: number, from: number, to: number): void {
    if (from === 0 && to === 1) this.#note("runnable");
  }
  timerArmed(): void {
    this.#note("timer");
  }
  exit(_vcpu: number, code: number): void {
    if (code === IO) this.#note("io");
  }
  answered(): void {}
  sent(): void {}
  delivered(): void {}
  unmasked(): void {}
  upcall(): void {}
  timerFired(): void {}
  timerStopped(): void {}
  woken(): void {}
}

interface Engine {
  readonly vm: {
    readonly nowNs: number;
    readonly scheduler: { readonly left: number };
    readonly xen: {
      readonly vcpus: readonly { readonly poll: unknown; readonly timer: unknown }[];
    };
    readonly vcpus: readonly {
      readonly isRunning: boolean;
      readonly waitingSinceNs: number | null;
      readonly engine: { readonly replay: readonly unknown[] };
    }[];
  };
  readonly domain: {
    readonly rings: { readonly store: { readonly input: string } };
    readonly devices: readonly {
      readonly kept: {
        readonly block?: {
          readonly connection: { readonly requests: readonly KeptRequest[] } | null;
        };
        readonly net?: {
          readonly network: readonly { readonly what: string; readonly timer: unknown }[];
        };
      };
    }[];
  };
}

interface KeptRequest {
  readonly kind: string;
  readonly what: string;
  readonly grants: readonly unknown[];
}

/** What there is at a moment that a snapshot could lose. */
async function kindsOf(snapshot: Snapshot): Promise<string[]> {
  const pieces: Uint8Array[] = [];
  await snapshot.write({ write: async (bytes) => void pieces.push(bytes.slice()), crc32 });
  const { kvm, engine } = sectionsOf(Buffer.concat(pieces)) as {
    kvm: { vcpus: { regs: { rip: string; rax: string; rsi: string }; mpState: number }[] };
    engine: Engine;
  };
  const { vm, domain } = engine;
  const kinds: string[] = [];
  const note = (name: string, is: boolean) => is && kinds.push(name);
  note(
    "a timer is armed",
    vm.xen.vcpus.some(({ timer }) => timer !== null),
  );
  note(
    "a poll is pending",
    vm.xen.vcpus.some(({ poll }) => poll !== null),
  );
  note(
    "an exit is in flight",
    vm.vcpus.some(({ engine: { replay } }) => replay.length > 0),
  );
  note(
    "a multicall is preempted",
    kvm.vcpus.some(({ regs }) => {
      const isInPage = (BigInt(regs.rip) & 0xfffn) >> 5n === MULTICALL;
      return isInPage && BigInt(regs.rsi) < CALLS && BigInt(regs.rsi) > 0n;
    }),
  );
  note("half a message is in xenstore's ring", domain.rings.store.input.length > 0);
  note("two vCPUs run", vm.vcpus.filter(({ isRunning }) => isRunning).length > 1);
  note(
    "a vCPU waits for its turn",
    vm.vcpus.some(({ waitingSinceNs }) => waitingSinceNs !== null),
  );
  note(
    "a vCPU is down",
    vm.vcpus.some(({ isRunning }) => !isRunning),
  );
  note(
    "a vCPU is halted",
    kvm.vcpus.some(({ mpState }) => mpState === 3),
  );
  note("a slice is under way", vm.scheduler.left > 0);
  const requests = domain.devices.flatMap(({ kept }) => kept.block?.connection?.requests ?? []);
  const has = (name: string, is: (request: KeptRequest) => boolean) =>
    note(name, requests.some(is));
  has("a read is in flight", ({ kind, grants }) => kind === "read" && grants.length === 4);
  has("an indirect read is in flight", ({ grants }) => grants.length === 8);
  has("a write is in flight", ({ kind }) => kind === "write");
  has("a flush is in flight", ({ kind, grants }) => kind === "flush" && grants.length === 0);
  has("a flush is in flight before its write", ({ what, grants }) => {
    return what === "flush" && grants.length > 0;
  });
  const network = domain.devices.flatMap(({ kept }) => kept.net?.network ?? []);
  note(
    "a packet is on its way",
    network.some(({ what }) => what === "arrive"),
  );
  note(
    "a packet is on its way back",
    network.some(({ what }) => what === "reply"),
  );
  note(
    "a connection waits to send again",
    network.some(({ what, timer }) => what === "tcp" && timer !== null),
  );
  return kinds;
}

/** Of guest/work.S. */
const MULTICALL = 13n;
const CALLS = 2500n;
/** The engine's exit for a port. */
const IO = 2;

/** Kinds that each run must have met. */
const KINDS = [
  ...["a timer is armed", "a poll is pending", "a multicall is preempted", "a vCPU is halted"],
  ...["an exit is in flight", "half a message is in xenstore's ring"],
];
const KINDS_OF_TWO = [
  ...["two vCPUs run", "a vCPU waits for its turn", "a vCPU is down"],
  ...["a read is in flight", "an indirect read is in flight", "a write is in flight"],
  ...["a flush is in flight", "a flush is in flight before its write"],
  ...["a packet is on its way", "a packet is on its way back", "a connection waits to send again"],
];

/** A moment that was looked at. */
interface Look {
  readonly atNs: number;
  readonly kinds: readonly string[];
}

/** So many of the moments, in their order; among them one of each of the kinds. */
function chosenOf(
  looks: readonly Look[],
  wanted: readonly string[],
  count: number,
  random: () => number,
): Look[] {
  const among = (list: readonly Look[]) => list[Math.floor(random() * list.length)];
  const chosen = new Map<number, Look>();
  const choose = (list: readonly Look[]) => {
    const look = among(list);
    if (look !== undefined) chosen.set(look.atNs, look);
  };
  for (const kind of wanted) choose(looks.filter(({ kinds }) => kinds.includes(kind)));
  while (chosen.size < count) choose(looks);
  return [...chosen.values()].sort((a, b) => a.atNs - b.atNs);
}

/** Moments: some anywhere, the others right behind something of each kind, as often of one as of another. */
function momentsOf({ kinds }: Times, endNs: number, count: number, random: () => number): number[] {
  const names = ["anywhere", ...Object.keys(kinds)];
  return Array.from({ length: count }, (_, i) => {
    const times = kinds[names[i % names.length] ?? ""];
    if (times === undefined) return Math.floor(random() * endNs);
    return (times[Math.floor(random() * times.length)] ?? 0) + 1;
  }).sort((a, b) => a - b);
}

it.skipIf(!machineHas("an assembler"))("the guest is what its source says", () => {
  const build = fileURLToPath(new URL("guest/build.sh", import.meta.url));
  expect(spawnSync(build, ["--check"]).status).toBe(0);
});

/** Runs the command `kvm-xen run` with the guest's clock being virtual. */
function runCommand(...args: string[]) {
  const all = [command, "run", "--clock", "virtual", ...args];
  return spawnSync(process.execPath, all, { encoding: "utf8" });
}

it("is what `run --save --exact` and `run --restore` do", () => {
  const file = join(folder, "command");
  const hardware = ["--kernel", guest, "--memory", "16M", "--cpus", "2"];
  const whole = runCommand(...hardware);
  expect(whole.status).toBe(0);
  const saved = runCommand(...hardware, "--save", file, "--exact", "--save-after", "0.1");
  expect(saved.stderr).toBe(
    `kvm-xen: saved: 'kvm-xen run --restore ${file} --clock virtual' goes on from here\n`,
  );
  expect(saved.status).toBe(0);
  const restored = runCommand("--restore", file);
  expect(restored.stderr).toBe("");
  expect(saved.stdout.length).toBeGreaterThan(500);
  expect(saved.stdout + restored.stdout).toBe(whole.stdout);
  // Any clock but that one is refused, in one line.
  const real = spawnSync(process.execPath, [command, "run", "--restore", file], {
    encoding: "utf8",
  });
  expect(real.stderr).toMatch(/^kvm-xen: the machine was saved under the virtual clock: .*\n$/);
  expect(real.status).toBe(1);
});

describe.each([1, 2])("a machine with %i vCPUs, saved exactly", (cpus) => {
  it("goes on as the uninterrupted run, from every moment", async () => {
    const random = generator(seed * 64 + cpus);
    const count = cpus === 1 ? Math.ceil(MOMENTS / 3) : MOMENTS;
    writeImage(random);
    const also = cpus === 1 ? {} : devices;
    const screen = new TextConsole();
    const { machine: whole, clock } = await machineOf(cpus, screen);
    const times = new Times(clock);
    whole.trace = times;
    const end = await whole.run();
    expect(end).toEqual({ kind: "poweroff" });
    expect(screen.text).toMatch(/round {5}39 digest.*\ndone/);

    // The same run, looked at often: kinds that some of its moments have.
    const wanted = cpus === 1 ? KINDS : [...KINDS, ...KINDS_OF_TWO];
    const { machine: looked } = await machineOf(cpus, new TextConsole());
    const looking = momentsOf(times, clock.monotonicNs() - 5e6, count * LOOKS, random).map(
      async (atNs) => ({ atNs, kinds: await kindsOf(await looked.save({ exact: true, atNs })) }),
    );
    await looked.run();
    const moments = chosenOf(await Promise.all(looking), wanted, count, random);

    // The same run, saved on its way: it does not notice.
    const other = new TextConsole();
    const { machine } = await machineOf(cpus, other);
    const saving = moments.map(async ({ atNs, kinds }, i) => {
      const snapshot = await machine.save({ exact: true, atNs });
      const before = other.text;
      const file = join(folder, `${cpus}-${i}`);
      // The machine goes on while the file is written.
      await writeSnapshotFile(file, snapshot);
      expect(await kindsOf(snapshot)).toEqual(kinds);
      return { file, atNs, before, kinds };
    });
    const ended = machine.run();
    const saved = await Promise.all(saving);
    expect(await ended).toEqual(end);
    expect(other.text).toBe(screen.text);
    expect(machine.instructions).toBe(whole.instructions);

    const hops = saved.slice(0, -1).map(({ file }, i) => {
      const next = saved[i + 1] as (typeof saved)[number];
      return { ...also, file, atNs: next.atNs, next: next.file };
    });
    const hopped = await elsewhere(hops);
    const wrong = hopped.flatMap(({ same }, i) => (same === true ? [] : [hops[i]?.file]));
    expect(wrong).toEqual([]);
    for (const [i, { output }] of hopped.entries()) {
      expect((saved[i]?.before ?? "") + output).toContain(saved[i + 1]?.before ?? "");
    }
    const toTheEnd = saved.filter((_, i) => i % 8 === 7);
    for (const [i, answer] of (
      await elsewhere(toTheEnd.map(({ file }) => ({ ...also, file })))
    ).entries()) {
      expect((toTheEnd[i]?.before ?? "") + answer.output).toBe(screen.text);
      expect(answer.end).toEqual(end);
      expect(answer.instructions).toBe(whole.instructions);
    }

    if (cpus === 2) await refuseOrRunHostile(saved[count >> 1]?.file ?? "", devicesFor);

    const met = new Set(saved.flatMap(({ kinds }) => kinds));
    expect(wanted.filter((kind) => !met.has(kind))).toEqual([]);
  });
});

it("runs the same when the host's disk is late", async () => {
  const random = generator(seed);
  writeImage(random);
  const runs = [];
  for (const change of [undefined, (disk: Disk) => lateDisk(disk, () => random() * 4)]) {
    const screen = new TextConsole();
    const { machine, clock } = await machineOf(2, screen, change);
    const end = await machine.run();
    const [instructions, ns] = [machine.instructions, clock.monotonicNs()];
    runs.push({ end, instructions, ns, text: screen.text });
  }
  expect(runs[0]?.end).toEqual({ kind: "poweroff" });
  expect(runs[1]).toEqual(runs[0]);
});

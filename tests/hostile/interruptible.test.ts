/**
 * Any wait or loop of a guest can be interrupted: whatever it does, the host has its turn after a
 * bounded amount of counted work, so that the timeout, signals, the leave key and other VMs get
 * through; and how the work is cut into pieces is the same in every run. See SLICE in
 * src/kvm/run/scheduler.ts.
 */
import { describe, expect, it } from "vitest";
import { type GuestRequest, runGuest } from "../../src/cli/guest-run.js";
import { FakeHost } from "../../src/cli/host.fixture.js";
import type { DecodePath, Engine } from "../../src/engine/bridge/index.js";
import { loadEngine } from "../../src/engine/tests/guest-cpu.fixture.js";
import { NodeClock, NodeTimers } from "../../src/hosts/node/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import type { ByteStream } from "../../src/ports/index.js";
import { buildElf } from "../../src/vmm/loader/elf.fixture.js";
import { Machine } from "../../src/vmm/machine/index.js";

/** Work between two turns of the host: a slice, and the last piece of work that was begun in it. */
const MOST = 200_000 + 50_000;
/** Turns of the host for which a guest is watched. */
const TURNS = 10;

const CODE = 0x100000;
const HANDLER = 0x100800;
const GDT = 0x101000;
const IDT = 0x101100;
const LIST = 0x300000;
const SIZE = 0x2000;

const le = (value: number, size = 4): number[] =>
  Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
const mov = (register: number, value: number): number[] => [0xb8 + register, ...le(value >>> 0)];
const [EAX, ECX, EDX, EBX, ESI, EDI] = [0, 1, 2, 3, 6, 7];
const VMMCALL = [0x0f, 0x01, 0xd9];
const call = (nr: number, ...args: number[]): number[] => [
  ...mov(EAX, nr),
  ...args.flatMap((value, i) => mov([EBX, ECX, EDX][i] as number, value)),
  ...VMMCALL,
];
/** Goes back to the start of what comes before. */
const again = (code: readonly number[]): number[] => [
  ...code,
  0xe9,
  ...le(-(code.length + 5) >>> 0),
];
/** SCHEDOP_shutdown; the reason, 0, is in the list. */
const POWEROFF = call(29, 2, LIST);

/**
 * A kernel for 32-bit code without paging. Its stack has 16 bits, and wraps in a segment of its own, so that
 * exceptions can be delivered without end.
 */
function kernel(code: readonly number[], handler: readonly number[] = [0x0f, 0x0b]): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  const start = [
    ...[0x0f, 0x01, 0x15, ...le(GDT + 0x80)],
    ...[0x0f, 0x01, 0x1d, ...le(GDT + 0x88)],
    ...[0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd0, 0x31, 0xe4],
  ];
  bytes.set([...start, ...code]);
  bytes.set(handler, HANDLER - CODE);
  const gdt = [...le(0, 8), 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0x20, 0x93, 0, 0];
  bytes.set(gdt, GDT - CODE);
  bytes.set([...le(0x7f, 2), ...le(GDT)], GDT + 0x80 - CODE);
  bytes.set([...le(0x7ff, 2), ...le(IDT)], GDT + 0x88 - CODE);
  const gate = [...le(HANDLER & 0xffff, 2), 8, 0, 0, 0x8e, ...le(HANDLER >>> 16, 2)];
  for (let vector = 0; vector < 256; vector++) bytes.set(gate, IDT + vector * 8 - CODE);
  return buildElf({ segments: [{ paddr: CODE, bytes }], entry: CODE });
}

const UD2 = [0x0f, 0x0b];
const rep = (opcode: number, direction = 0xfc): number[] =>
  again([...mov(ECX, -1), ...mov(EDI, 0x400000), ...mov(ESI, 0x400000), direction, 0xf3, opcode]);

/** Guests that never end. */
const KINDS: readonly (readonly [name: string, kernel: Uint8Array])[] = [
  ["an exception whose handler raises it", kernel(UD2)],
  ["an interrupt whose handler is INT", kernel([0xcd, 0x21], [0xcd, 0x21])],
  ["INT3 in the handler of INT3", kernel([0xcc], [0xcc])],
  ["a division by zero in its handler", kernel([0x31, 0xc9, 0xf7, 0xf1], [0xf7, 0xf1])],
  ["REP STOS over all addresses", kernel(rep(0xaa))],
  ["REP STOS downwards", kernel(rep(0xaa, 0xfd))],
  ["REP MOVS over all addresses", kernel(rep(0xa5))],
  ["REPE CMPS of memory with itself", kernel(rep(0xa6))],
  ["REP LODS", kernel(rep(0xac))],
  ["REP OUTS to nobody", kernel([0xba, ...le(0x80), ...rep(0x6e)])],
  ["REP INS from nobody", kernel([0xba, ...le(0x80), ...rep(0x6c)])],
  [
    "REP STOS into the local APIC",
    kernel(again([...mov(ECX, -1), ...mov(EDI, 0xfee00000), 0xf3, 0xab])),
  ],
  ["a jump to itself", kernel([0xeb, 0xfe])],
  ["CPUID without end", kernel(again([0x0f, 0xa2]))],
  ["HLT without interrupts", kernel([0xfa, 0xf4])],
  ["grant_table_op of all memory", kernel(again(call(20, 1, LIST, 0x7fffffff)))],
  ["a multicall of all memory", kernel(again(call(13, LIST, 0x7fffffff)))],
  ["a multicall of long calls", kernel(multicall(20, [1, LIST + 0x10000, 0x7fffffff]))],
  ["console_io of all memory", kernel(again(call(18, 0, 0x7fffffff, LIST)))],
  ["soft resets", kernel(again([...mov(EAX, 5), 0xa3, ...le(LIST), ...call(29, 2, LIST)]))],
];

/** Code that makes 64 entries of a multicall and calls it for ever. */
function multicall(op: number, args: readonly number[]): number[] {
  const store = (at: number, value: number): number[] => [
    0xc7,
    0x05,
    ...le(at),
    ...le(value >>> 0),
  ];
  const entries = Array.from({ length: 8 }, (_, i) => {
    const at = LIST + i * 32;
    return [...store(at, op), ...args.flatMap((value, n) => store(at + 8 + 4 * n, value))];
  });
  return again([...entries.flat(), ...call(13, LIST, 8)]);
}

const quiet: ByteStream = { write: () => undefined, onData: () => undefined } as never;

function config(image: Uint8Array): GuestRequest["config"] {
  const memoryBytes = 16 << 20;
  return { kernel: image, commandLine: "", memoryBytes, cpus: 1, console: "hvc0" };
}

const log = { warn: () => undefined, debug: () => undefined };
const entropy = { fill: (bytes: Uint8Array) => bytes.fill(1) };
const decompressors = { decompress: () => Promise.reject(new Error("nothing is packed")) };
const outside = { log, entropy, decompressors } as never as Pick<
  Parameters<typeof Machine.create>[1],
  "log" | "entropy" | "decompressors"
>;

async function virtualMachine(image: Uint8Array, engine: Engine) {
  const clock = new VirtualClock();
  const ports = { ...outside, engine, clock, timers: new HeapTimers(clock), console: quiet };
  return { clock, machine: await Machine.create(config(image), ports) };
}

async function realMachine(image: Uint8Array, console: ByteStream = quiet) {
  const clock = new NodeClock();
  const timers = new NodeTimers(clock);
  const ports = { ...outside, engine: await loadEngine(), clock, timers, console };
  return Machine.create(config(image), ports);
}

describe("the host has its turn after a bounded amount of work", () => {
  it.each(KINDS)("%s", async (_, image) => {
    const { clock, machine } = await virtualMachine(image, await loadEngine());
    let last = 0;
    let most = 0;
    let turns = 0;
    const tick = () => {
      most = Math.max(most, clock.monotonicNs() - last);
      last = clock.monotonicNs();
      if (++turns < TURNS) setImmediate(tick);
      else machine.stop();
    };
    setImmediate(tick);
    expect(await machine.run()).toEqual({ kind: "stopped" });
    expect(most).toBeLessThanOrEqual(MOST);
  });
});

describe("a guest that never ends is left, and another VM goes on meanwhile", () => {
  const ways: Readonly<Record<string, (host: FakeHost) => number>> = {
    SIGTERM(host) {
      host.signals?.onTerminate("SIGTERM", 143);
      return 143;
    },
    "the leave key"(host) {
      host.input.type("\x1dq");
      return 0;
    },
  };
  for (const [name, image] of KINDS) {
    it.each(Object.entries(ways))(`${name}: by %s`, async (_, act) => {
      const other = await realMachine(kernel([0xeb, 0xfe]));
      const running = other.run();
      const host = new FakeHost();
      host.createMachine = async (request, { console }) => {
        const machine = await realMachine(request.config.kernel, console);
        leaveLater(other.instructions);
        return machine;
      };
      let status: number | undefined;
      /** Leaves when the other VM has had some turns since the guest was built. */
      const leaveLater = (before: number) => {
        const look = () => {
          if (other.instructions > before + 600_000) status = act(host);
          else setTimeout(look, 1);
        };
        setTimeout(look, 1);
      };
      const request = { config: config(image), clock: "real", stats: false } as const;
      const ended = await runGuest(Promise.resolve(request), { verbose: false }, host);
      expect(ended).toBe(status);
      other.stop();
      await running;
    });
  }

  it.each(KINDS)("%s: by the timeout", async (_, image) => {
    const host = new FakeHost();
    host.createMachine = (request, { console }) => realMachine(request.config.kernel, console);
    const request = { config: config(image), clock: "real", stats: false } as const;
    const limits = { verbose: false, timeoutSeconds: 0.2 };
    expect(await runGuest(Promise.resolve(request), limits, host)).toBe(124);
  });
});

describe("under the virtual clock a run repeats, whatever else the host does", () => {
  const twice = (code: readonly number[]): number[] => [...code, ...code, ...POWEROFF];
  const copy = (count: number) => [
    ...mov(ECX, count),
    ...mov(ESI, CODE),
    ...mov(EDI, 0x400000),
    ...[0xfc, 0xf3, 0xa4],
  ];
  /** mov ecx,n; ud2; dec ecx; jnz: the handler goes on behind UD2. */
  const faults = [...mov(ECX, 300_000), ...UD2, 0x49, 0x75, 0xfb];
  const BEHIND = [0x83, 0x04, 0x24, 2, 0xcf];
  const AL = 0xb0;
  const RET = 0xc3;
  /** mov ebx,50; fill memory with RET; call it; dec ebx; jnz: a string goes over code that was decoded. */
  const fill = [...mov(ECX, 100_000), ...mov(EDI, 0x400000), AL, RET, 0xfc, 0xf3, 0xaa];
  const filled = [...fill, ...mov(EAX, 0x401000), 0xff, 0xd0, 0x4b];
  const overwrite = [...mov(EBX, 50), ...filled, 0x75, 256 - filled.length - 2];
  const FINITE: readonly (readonly [name: string, code: number[], handler: number[]])[] = [
    ["exceptions", twice(faults), BEHIND],
    ["long REP", twice(copy(1_000_000)), UD2],
    ["REP over decoded code", twice(overwrite), UD2],
    ["a list of 5000 elements", twice(call(20, 1, LIST + 0x1000, 5000)), UD2],
    ["a multicall of 2000 calls", twice(call(13, LIST + 0x1000, 2000)), UD2],
  ];

  it.each(FINITE)("%s", async (_, code, handler) => {
    const image = kernel(code, handler);
    const run = async (decode: DecodePath) => {
      const { clock, machine } = await virtualMachine(image, await loadEngine(decode));
      const end = await machine.run();
      return [end.kind, machine.instructions, clock.monotonicNs()];
    };
    const alone = await run("cached");
    expect(alone[0]).toBe("poweroff");
    const other = await realMachine(kernel(UD2));
    const running = other.run();
    expect(await run("cached")).toEqual(alone);
    expect(await run("each")).toEqual(alone);
    expect(await run("compiled")).toEqual(alone);
    other.stop();
    await running;
  });
});

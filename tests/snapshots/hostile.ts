/** Files of snapshots that are not what they should be. */
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { expect } from "vitest";
import { seed } from "../../src/base/seed.fixture.js";
import type { Engine } from "../../src/engine/bridge/index.js";
import { nodeDecompressors } from "../../src/hosts/node/decompress.js";
import { HostError, loadEngine } from "../../src/hosts/node/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { type Backend, Machine, SavedMachine } from "../../src/vmm/machine/index.js";

/** Numbers from 0 to below 1: xorshift32 (Marsaglia, 2003). */
export function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x100000000;
  };
}

interface Part {
  readonly name: string;
  readonly content: Uint8Array;
}

/** Sections of JSON. */
const LAYERS = ["machine", "kvm", "engine"];
const HEADER = 16;
const NAME = 12;

/** Takes a file apart as docs/snapshots.md describes it. */
function partsOf(file: Uint8Array): Part[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const parts: Part[] = [];
  for (let at = HEADER; at < file.length; ) {
    const name = Buffer.from(file.subarray(at, at + NAME))
      .toString()
      .replace(/\0+$/, "");
    const length = Number(view.getBigUint64(at + NAME, true));
    at += NAME + 16;
    parts.push({ name, content: file.subarray(at, at + length) });
    at += length;
  }
  return parts;
}

/** The layers of JSON in a file. */
export function sectionsOf(file: Uint8Array): Record<string, unknown> {
  const layers = partsOf(file).filter(({ name }) => LAYERS.includes(name));
  return Object.fromEntries(
    layers.map(({ name, content }) => [name, JSON.parse(Buffer.from(content).toString())]),
  );
}

/** Puts it together again, with right checksums. */
function fileOf(head: Uint8Array, parts: readonly Part[]): Uint8Array {
  const pieces: Uint8Array[] = [head];
  for (const { name, content } of parts) {
    const header = Buffer.alloc(NAME + 16);
    header.write(name);
    header.writeBigUInt64LE(BigInt(content.length), NAME);
    header.writeUInt32LE(crc32(content), NAME + 8);
    header.writeUInt32LE(crc32(header.subarray(0, NAME + 12)), NAME + 12);
    pieces.push(header, content);
  }
  return Uint8Array.from(Buffer.concat(pieces));
}

/** The file without the guest's memory and kernel, but with what it wrote to disks: quick to read, and its guest gets nowhere. */
export function withoutMemory(file: Uint8Array): Uint8Array {
  const small = partsOf(file).filter(({ name }) => [...LAYERS, "disk", "end"].includes(name));
  const parts = small.map((part) => {
    if (part.name !== "machine") return part;
    const machine = JSON.parse(Buffer.from(part.content).toString());
    return { name: part.name, content: Buffer.from(JSON.stringify({ ...machine, boot: null })) };
  });
  return fileOf(file.subarray(0, HEADER), parts);
}

/** The file with some other values in its layers, and right checksums. */
export function withOddValues(file: Uint8Array, random: () => number): Uint8Array {
  const all = partsOf(file);
  const chosen = pick(
    LAYERS.filter((layer) => all.some(({ name }) => name === layer)),
    random,
  );
  const parts = all.map((part) => {
    if (part.name !== chosen) return part;
    let value: unknown = JSON.parse(Buffer.from(part.content).toString());
    // Mostly one change: of many, one is refused.
    do value = odd(value, random);
    while (random() < 0.2);
    return { name: part.name, content: Buffer.from(JSON.stringify(value) ?? "") };
  });
  return fileOf(file.subarray(0, HEADER), parts);
}

const pick = <T>(list: readonly T[], random: () => number): T =>
  list[Math.floor(random() * list.length)] as T;

/** A value with another one somewhere inside. */
function odd(value: unknown, random: () => number): unknown {
  if (random() < 0.12) return pick([null, [], {}, "", 0, true], random);
  if (Array.isArray(value) && value.length > 0 && random() < 0.95) {
    const list: unknown[] = [...value];
    const at = Math.floor(random() * list.length);
    const what = random();
    if (what < 0.1) list.splice(at, 1);
    else if (what < 0.2) list.push(list[at]);
    else list[at] = odd(list[at], random);
    return list;
  }
  if (typeof value === "object" && value !== null && random() < 0.97) {
    const name = pick(Object.keys(value), random);
    return { ...value, [name]: odd((value as Record<string, unknown>)[name], random) };
  }
  if (typeof value === "number") {
    return pick([0, 1, -1, value + 1, 0xff, 0xffffffff, 2 ** 40, 2 ** 53 - 1, 1e300, 0.5], random);
  }
  if (typeof value === "boolean") return !value;
  if (typeof value !== "string") return pick([null, [], {}, "", 0], random);
  if (/^\d+$/.test(value)) return numeral(value, random);
  const at = Math.floor(random() * value.length);
  return pick(
    ["", `${value}${value}`, value.slice(at), value.slice(0, at) + value.slice(at + 2)],
    random,
  );
}

/** 64 bits, with some of them changed. */
function numeral(value: string, random: () => number): string {
  const bit = 1n << BigInt(Math.floor(random() * 64));
  const values = [BigInt(value) ^ bit, 0n, 1n, 2n ** 64n - 1n, 2n ** 47n, 2n ** 64n, bit];
  return `${BigInt.asUintN(65, pick(values, random))}`;
}

/** Opens what a machine has. */
type DevicesFor = (time: { clock: VirtualClock; timers: HeapTimers }) => Promise<Backend[]>;

/** Restores what is in the bytes and runs it for some thousand instructions. @throws as Machine.restore */
export async function runShortly(
  bytes: Uint8Array,
  engine: Engine,
  devicesFor: DevicesFor = async () => [],
): Promise<void> {
  const source = {
    size: bytes.length,
    read: async (at: number, into: Uint8Array) => into.set(bytes.subarray(at, at + into.length)),
    crc32,
  };
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const saved = await SavedMachine.open(source);
  const devices = await devicesFor({ clock, timers });
  const machine = await Machine.restore(
    saved,
    { bootAgain: () => saved.readBoot(), devices },
    {
      ...{ engine, decompressors: nodeDecompressors, clock, timers },
      log: { warn: () => undefined, debug: () => undefined },
      console: { write: () => undefined, onData: () => undefined },
      entropy: { fill: (into) => into.fill(7) },
    },
  ).catch(async (refusal: unknown) => {
    await Promise.all(devices.map((device) => device.close()));
    throw refusal;
  });
  timers.arm(clock.monotonicNs() + 50_000, () => machine.stop());
  // Of one whose time stands still, too.
  const stop = setTimeout(() => machine.stop(), 150);
  await machine.run();
  clearTimeout(stop);
}

const HOSTILE = Number(process.env["SNAPSHOT_HOSTILE"] ?? 200);

/**
 * Files that are damaged, and files with right checksums that hold anything: each is refused in one line, or makes a
 * machine that runs, for better or worse.
 */
export async function refuseOrRunHostile(path: string, devicesFor?: DevicesFor): Promise<void> {
  const file = readFileSync(path);
  const random = generator(seed);
  const engine = await loadEngine();
  const outcomes = { refused: 0, made: 0 };
  const attempt = async (bytes: Uint8Array, what: string): Promise<string> => {
    try {
      await runShortly(bytes, engine, devicesFor);
      outcomes.made += 1;
      return "made";
    } catch (error) {
      if (!(error instanceof HostError)) throw new Error(`${what}, seed ${seed}`, { cause: error });
      expect(error.message).not.toMatch(/\n/);
      outcomes.refused += 1;
      return error.code;
    }
  };
  // Any byte of the headers and layers, and the length.
  const layers = withoutMemory(file);
  for (let i = 0; i < HOSTILE / 4; i++) {
    const bytes = layers.slice();
    const at = Math.floor(random() * bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    expect(await attempt(bytes, `byte ${at}`)).not.toBe("made");
    const short = Math.floor(random() * bytes.length);
    expect(await attempt(bytes.slice(0, short), `${short} bytes`)).not.toBe("made");
  }
  const newer = layers.slice();
  newer[8] = 4;
  expect(await attempt(newer, "version")).toBe("SNAPSHOT_VERSION");
  // A page of memory that is not as it was.
  const damagedPage = file.slice();
  // The last sections are those of pages.
  const place = file.length - Math.min(100_000, file.length >> 3);
  damagedPage[place] = (file[place] ?? 0) ^ 1;
  expect(await attempt(damagedPage, "a page")).toBe("SNAPSHOT_DAMAGED");
  expect(outcomes.made).toBe(0);
  for (let i = 0; i < HOSTILE; i++) await attempt(withOddValues(layers, random), `hostile ${i}`);
  // Both happen.
  expect(outcomes.made).toBeGreaterThan(HOSTILE / 20);
  expect(outcomes.refused).toBeGreaterThan(HOSTILE / 4);
}

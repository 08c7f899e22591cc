// @ts-check
/**
 * Attack on what reads files: kernels (ELF, bzImage, all four packers), modules and scenarios, damaged with
 * knowledge of their structure. Each ends with a plan that fits the guest, and now and then a guest that
 * starts, or with a refusal of the closed set; within time and memory.
 */
import { readFileSync } from "node:fs";
import { crc32, gzipSync } from "node:zlib";
import { inEpisodes } from "./episodes.mjs";
import { Finding } from "./world.mjs";

/**
 * @typedef {import("./values.mjs").Values} Values
 * @typedef {import("./types.js").Library} Library
 * @typedef {import("./types.js").Outcomes} Outcomes
 * @typedef {number[]} Field offset and width in bytes
 */

const MIB = 1 << 20;
/** Memory of the guests. */
const MEMORY = 16 * MIB;
/** Longest time for one file, of this process: more is as good as a hang. */
const MAX_SECONDS = 20;
/** What the process may grow by: some decoders keep what they needed once. */
const MAX_GROWTH = 512 * MIB;
/** Of the files that can be started, one in so many is. */
const STARTED = 40;

/** @param {string} path */
const read = (path) => readFileSync(new URL(path, import.meta.url));
const elf = read("kernels/kernel.elf");
/** @type {Record<string, Buffer>} */
const packed = {
  gzip: read("kernels/kernel.gz"),
  xz: read("kernels/kernel.xz"),
  blocks: read("kernels/blocks.xz"),
  zstd: read("kernels/kernel.zst"),
  lz4: read("kernels/kernel.lz4"),
};
const scenarios = ["poll", "runstate_layouts"].map((name) =>
  read(`../vectors/topics/${name}.scn`).toString("latin1"),
);

const REFUSALS = new Set([
  "NOT_A_KERNEL",
  "NO_PVH_NOTE",
  "KERNEL_DAMAGED",
  "COMPRESSION_NOT_SUPPORTED",
  "MEMORY_TOO_SMALL",
  "INITRD_TOO_LARGE",
]);

/**
 * Where fields of the kernel's ELF file are, and how wide.
 * @type {Field[]}
 */
const ELF_FIELDS = [
  ...[4, 5].map((at) => [at, 1]),
  ...[16, 18, 52, 54, 56, 58, 60].map((at) => [at, 2]),
  ...[24, 32, 40].map((at) => [at, 8]),
  // Two program headers, two section headers, the note.
  ...[64, 120].flatMap((at) => [[at, 4], ...[8, 16, 24, 32, 40, 48].map((of) => [at + of, 8])]),
  ...[1, 2].flatMap((n) => {
    const at = elf.length - n * 64;
    return [[at + 4, 4], ...[24, 32, 48].map((of) => [at + of, 8])];
  }),
  ...[0, 4, 8, 12, 16].map((of) => [elf.length - 128 - 20 + of, 4]),
];
/**
 * The same for the setup header of a bzImage.
 * @type {Field[]}
 */
const BZ_FIELDS = [
  [0x1f1, 1],
  [0x1fe, 2],
  [0x202, 4],
  [0x206, 2],
  [0x248, 4],
  [0x24c, 4],
];

/**
 * @param {Uint8Array} bytes
 * @param {Field} field
 * @param {bigint} value
 */
function put(bytes, [at = 0, width = 0], value) {
  for (let i = 0; i < width && at + i < bytes.length; i++) {
    bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

/**
 * A value that is near what stands there, or near something else.
 * @param {Values} values
 * @param {Uint8Array} bytes
 * @param {Field} field
 */
function fieldValue(values, bytes, [at = 0, width = 0]) {
  if (values.chance(40)) return values.wide();
  let now = 0n;
  for (let i = width - 1; i >= 0; i--) now = (now << 8n) | BigInt(bytes[at + i] ?? 0);
  return BigInt.asUintN(
    64,
    now + BigInt(values.range(-4, 4)) * BigInt(values.pick([1, 1, 8, 4096])),
  );
}

/**
 * Damages bytes without knowing what they are.
 * @param {Values} values
 * @param {Uint8Array} bytes
 */
function damage(values, bytes) {
  const out = Buffer.from(bytes);
  const at = () => values.below(Math.max(out.length, 1));
  const length = () => 1 + values.below(values.pick([2, 16, 300, 4000]));
  switch (values.below(8)) {
    case 0:
      return out.subarray(0, at());
    case 1:
      return Buffer.concat([out, Buffer.from(values.bytes(length()))]);
    case 2:
      out
        .subarray(at())
        .subarray(0, length())
        .fill(values.pick([0, 0xff]));
      return out;
    case 3: {
      const part = out.subarray(at()).subarray(0, length());
      out.set(part, values.below(out.length - part.length + 1));
      return out;
    }
    case 4: {
      const place = at();
      const more = Buffer.from(values.bytes(length()));
      return Buffer.concat([out.subarray(0, place), more, out.subarray(place)]);
    }
    default:
      for (let i = 0; i <= values.below(8); i++) {
        const place = at();
        out[place] = (out[place] ?? 0) ^ (1 << values.below(8));
      }
      return out;
  }
}

/**
 * @param {Values} values
 * @param {Uint8Array} bytes
 * @param {readonly Field[]} fields
 */
function damageFields(values, bytes, fields) {
  const out = Buffer.from(bytes);
  for (let i = 0; i <= values.below(3); i++) {
    const field = values.pick(fields);
    put(out, field, fieldValue(values, out, field));
  }
  return out;
}

/**
 * The index and the footer of an xz file with other numbers, whose checksums are right again.
 * @param {Values} values
 * @param {Uint8Array} bytes
 */
function damageXz(values, bytes) {
  const out = Buffer.from(bytes);
  const indexBytes = (out.readUInt32LE(out.length - 8) + 1) * 4;
  const index = out.length - 12 - indexBytes;
  out[index + 1 + values.below(indexBytes - 5)] = values.u8();
  out.writeUInt32LE(crc32(out.subarray(index, index + indexBytes - 4)), index + indexBytes - 4);
  // Size of the dictionary, in the header of the first block.
  const header = (out.readUInt8(12) + 1) * 4;
  if (values.chance(30)) {
    out[12 + 2 + values.below(header - 6)] = values.u8();
    out.writeUInt32LE(crc32(out.subarray(12, 12 + header - 4)), 12 + header - 4);
  }
  return out;
}

const zeros = [1, 17, 40].map((size) => gzipSync(Buffer.alloc(size * MIB)));

/**
 * Data that gives far more than it has: of zeros, or of lz4's endless lengths.
 * @param {Values} values
 */
function bomb(values) {
  if (values.chance(50)) return values.pick(zeros);
  const run = Buffer.alloc(values.pick([1000, 100_000]), 0xff);
  const block = Buffer.concat([Buffer.from([0x1f, 0x41, 1, 0]), run, Buffer.from([0, 0x10, 0x41])]);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184c2102);
  head.writeUInt32LE(block.length, 4);
  return Buffer.concat([head, block]);
}

/**
 * Compressed data and what it should give, either damaged.
 * @param {Values} values
 */
function compressed(values) {
  const kind = values.pick([
    "gzip",
    "gzip of a damaged ELF",
    "xz",
    "blocks",
    "zstd",
    "lz4",
    "bomb",
  ]);
  const fresh = () => {
    if (kind === "bomb") return bomb(values);
    const known = packed[kind];
    if (known !== undefined) return known;
    return gzipSync(damageFields(values, elf, ELF_FIELDS), { level: 1 });
  };
  const data = fresh();
  const isXz = kind === "xz" || kind === "blocks";
  if (isXz && values.chance(50)) return damageXz(values, data);
  return kind in packed && values.chance(80) ? damage(values, data) : data;
}

/** @param {Values} values */
function bzImage(values) {
  const data = compressed(values);
  const isGzip = data[0] === 0x1f && data[1] === 0x8b;
  const tail = Buffer.alloc(isGzip ? 0 : 4);
  const claimed = values.chance(85) ? elf.length : Number(values.wide() & 0xffffffffn);
  if (!isGzip) tail.writeUInt32LE(claimed);
  const image = Buffer.concat([Buffer.alloc(1024), data, tail]);
  image[0x1f1] = 1;
  image.writeUInt16LE(0xaa55, 0x1fe);
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt16LE(0x20f, 0x206);
  image.writeUInt32LE(data.length + tail.length, 0x24c);
  return values.chance(20) ? damageFields(values, image, BZ_FIELDS) : image;
}

/** @param {Values} values */
const damagedElf = (values) => damageFields(values, elf, ELF_FIELDS);
/** @param {Values} values */
const damagedBytes = (values) => damage(values, elf);

const KERNELS = {
  elf: { weight: 6, make: damagedElf },
  bytes: { weight: 2, make: damagedBytes },
  bzImage: { weight: 8, make: bzImage },
  packed: { weight: 3, make: compressed },
};
const weights = Object.fromEntries(
  Object.entries(KERNELS).map(([name, { weight }]) => [name, weight]),
);

/** @param {import("../../src/vmm/loader/boot.js").BootPlan} plan */
function checkPlan(plan) {
  const total = plan.placements.reduce((sum, { memSize }) => sum + memSize, 0);
  // Overlaps are zeroed once more.
  if (total > 2 * MEMORY) throw new Finding(`${total} bytes are written into ${MEMORY}`);
  for (const { paddr, bytes, memSize } of plan.placements) {
    if (bytes.length > memSize || paddr + memSize > MEMORY) {
      throw new Finding(`placed outside: ${bytes.length} of ${memSize} bytes at ${paddr}`);
    }
  }
}

/**
 * Runs a guest for a moment.
 * @param {Library} lib
 * @param {import("../../src/vmm/machine/index.js").MachineConfig} config
 */
async function start(lib, config) {
  const clock = new lib.VirtualClock();
  const timers = new lib.HeapTimers(clock);
  const quiet = { warn: () => undefined, debug: () => undefined };
  const machine = await lib.Machine.create(config, {
    ...{
      engine: lib.engine,
      decompressors: { decompress: lib.decompressHere },
      clock,
      timers,
      log: quiet,
    },
    console: { write: () => undefined, onData: () => undefined },
    entropy: { fill: (bytes) => bytes.fill(7) },
  });
  timers.arm(clock.monotonicNs() + 100_000, () => machine.stop());
  await machine.run();
}

/**
 * @param {Library} lib
 * @param {Values} values
 * @param {Outcomes} outcomes
 * @param {string[]} trace
 */
async function tryKernel(lib, values, outcomes, trace) {
  const name = /** @type {keyof typeof KERNELS} */ (values.weighted(weights));
  const kernel = KERNELS[name].make(values);
  const sizes = [0, 1, 4096, 9 * MIB, 15 * MIB];
  const initrd = values.chance(20) ? Buffer.alloc(values.pick(sizes), values.u8()) : undefined;
  trace.push(`${name} of ${kernel.length} bytes`);
  const count = (/** @type {string} */ what) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  try {
    const image = await lib.readKernel(kernel, { decompress: lib.decompressHere }, MEMORY);
    const modules = initrd === undefined ? [] : [{ bytes: initrd }];
    const memmap = lib.memoryMap(MEMORY);
    checkPlan(lib.planBoot({ kernel: image, modules, commandLine: "", memmap, rsdpPaddr: 0 }));
  } catch (thrown) {
    const error = /** @type {Error & { code?: string }} */ (thrown);
    if (!(error instanceof lib.HostError) || !REFUSALS.has(error.code)) throw thrown;
    if (/\n/.test(error.message)) throw new Finding(`more than a line: ${error.message}`);
    count(error.code);
    return;
  }
  count("accepted");
  if (values.below(STARTED) > 0) return;
  const more = initrd === undefined ? {} : { initrd };
  const machine = {
    commandLine: "",
    memoryBytes: MEMORY,
    cpus: 1,
    console: /** @type {const} */ ("none"),
  };
  await start(lib, { kernel, ...machine, ...more });
  count("started");
}

/**
 * A scenario with lines of others, numbers that are odd, and damage. Runs are short.
 * @param {Values} values
 */
function scenario(values) {
  const lines = scenarios.flatMap((text) => text.split("\n"));
  const chosen = Array.from({ length: 1 + values.below(30) }, () => {
    const words = values.pick(lines).split(" ");
    if (values.chance(30)) words[values.below(words.length)] = `0x${values.wide().toString(16)}`;
    if (values.chance(5)) words.push("9".repeat(values.pick([10, 1000, 70_000])));
    return words.join(" ");
  });
  const text = Buffer.from(
    `vm\n${values.chance(70) ? "vcpu\n" : ""}${chosen.join("\n")}\n`,
    "latin1",
  );
  const odd = values.chance(30) ? damage(values, text) : text;
  const lasting = odd.toString("latin1").replaceAll(/\brun\b.*/g, "run 1");
  return Buffer.from(lasting.replaceAll(/^(slot\s+\S+\s+\S+\s+)(\S+)/gm, withSmallSlot), "latin1");
}

/** A slot of a gigabyte takes a gigabyte, as it asks for; those that are refused stay as they are. */
const LARGEST_SLOT = 64 * MIB;

/**
 * @param {string} _line
 * @param {string} before
 * @param {string} size
 */
function withSmallSlot(_line, before, size) {
  const bytes = Number(size);
  const isTaken = bytes > LARGEST_SLOT && bytes < 4096 * MIB;
  return `${before}${isTaken ? `0x${(bytes % LARGEST_SLOT).toString(16)}` : size}`;
}

/**
 * @param {Library} lib
 * @param {Values} values
 * @param {Outcomes} outcomes
 * @param {string[]} trace
 */
async function tryScenario(lib, values, outcomes, trace) {
  const file = scenario(values);
  trace.push(`scenario of ${file.length} bytes`);
  const time = () => {
    const clock = new lib.VirtualClock();
    return { clock, timers: new lib.HeapTimers(clock) };
  };
  let lines = 0;
  for await (const line of lib.playScenario(file, { engine: lib.engine, time })) {
    if (!line.includes(" = ") && !line.startsWith("!!")) throw new Finding(`no answer: ${line}`);
    lines += 1;
  }
  const steps = file.toString("latin1").split("\n").length + file.length / 0xffff;
  if (lines > steps + 1) throw new Finding(`${lines} answers to ${steps} steps`);
  outcomes.set("scenario played", (outcomes.get("scenario played") ?? 0) + 1);
}

const before = process.memoryUsage.rss();

export const attackFiles = inEpisodes("files", 10, async (lib, values, outcomes, calls, trace) => {
  for (let i = 0; i < calls; i++) {
    const started = process.cpuUsage();
    if (values.chance(5)) await tryScenario(lib, values, outcomes, trace);
    else await tryKernel(lib, values, outcomes, trace);
    const { user, system } = process.cpuUsage(started);
    const seconds = (user + system) / 1e6;
    if (seconds > MAX_SECONDS) throw new Finding(`${seconds} s for one file`);
    const growth = process.memoryUsage.rss() - before;
    if (growth > MAX_GROWTH) throw new Finding(`grown by ${growth} bytes`);
    outcomes.set(
      "longest ms",
      Math.max(outcomes.get("longest ms") ?? 0, Math.ceil(seconds * 1000)),
    );
    outcomes.set("most MiB", Math.max(outcomes.get("most MiB") ?? 0, Math.ceil(growth / MIB)));
  }
});

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { HostError } from "../base/index.js";
import { Engine, type EngineOptions } from "../engine/bridge/index.js";
import { NodeClock } from "../hosts/node/clock.js";
import { nodeDecompressors } from "../hosts/node/decompress.js";
import { nodeEntropy } from "../hosts/node/entropy.js";
import { listenForSignals } from "../hosts/node/signals.js";
import { clearOutputProcessing } from "../hosts/node/terminal.js";
import { NodeTimers } from "../hosts/node/timers.js";
import { SeededEntropy } from "../hosts/sim/entropy.js";
import { HeapTimers, PacedDisk, VirtualClock } from "../hosts/sim/index.js";
import { BlockBackend, Machine, type MachinePorts } from "../vmm/machine/index.js";
import { type OpenDisk, openDisks } from "./disk-option.js";
import type { ClockChoice } from "./guest-run.js";
import { CardOpener } from "./net-cards.js";
import { parseNet } from "./net-option.js";
import type { ProgramHost } from "./program.js";

/** A file of this package, by its path from the package's root. */
const ownFile = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** This process, with its terminal, files and clocks, as the commands see it. */
export async function processHost(): Promise<ProgramHost> {
  const manifest = JSON.parse(await readFile(ownFile("package.json"), "utf8"));
  return {
    version: (manifest as { version: string }).version,
    input: process.stdin,
    output: process.stdout,
    error: process.stderr,
    listenForSignals,
    passOutput: clearOutputProcessing,
    sinceStartMs: () => process.uptime() * 1000,
    exit: (status) => process.exit(status),
    onExit: (callback) => process.once("exit", callback),
    loadEngine: (decode) => loadEngine({ decode }),
    async createMachine(request, streams) {
      const outside = timePorts(request.clock);
      const engine = await loadEngine({
        decode: request.decode ?? "compiled",
        seed: seedFrom(outside.entropy),
      });
      const decompressors = nodeDecompressors;
      const ports = { engine, decompressors, ...outside, ...streams };
      const { disks = [] } = request;
      const cards = new CardOpener({ ...outside, log: streams.log });
      const devices = [
        ...disks.map((disk) => blockBackend(disk, outside)),
        ...(await cards.openAll(request.cards ?? [])),
      ];
      const machine = await Machine.create({ ...request.config, devices }, ports);
      streams.onControl?.({
        machine,
        openDevice: {
          disk: async (text) => {
            const taken = machine.devices.map(({ name }) => name);
            const [disk] = await openDisks([text], taken);
            return blockBackend(disk as OpenDisk, outside);
          },
          net: (text) =>
            cards.open(
              parseNet(text),
              machine.devices.map(({ name }) => name),
            ),
        },
      });
      return machine;
    },
  };
}

function seedFrom(entropy: MachinePorts["entropy"]): bigint {
  const bytes = new Uint8Array(8);
  entropy.fill(bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

async function loadEngine(options: EngineOptions): Promise<Engine> {
  const path = ownFile("dist/engine/core.wasm");
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new HostError("NOT_BUILT", `${path} is missing: run 'npm run build'`, { cause });
  });
  return Engine.compile(bytes, options);
}

/** Under the virtual clock, disks have virtual times. */
function blockBackend({ name, disk }: OpenDisk, { clock, timers }: TimePorts): BlockBackend {
  const isVirtual = timers instanceof HeapTimers;
  return new BlockBackend(name, isVirtual ? new PacedDisk(disk, clock, timers) : disk);
}

type TimePorts = Pick<MachinePorts, "clock" | "timers" | "entropy">;

function timePorts(choice: ClockChoice): TimePorts {
  if (choice === "virtual") {
    const clock = new VirtualClock();
    return { clock, timers: new HeapTimers(clock), entropy: new SeededEntropy() };
  }
  const clock = new NodeClock();
  return { clock, timers: new NodeTimers(clock), entropy: nodeEntropy };
}

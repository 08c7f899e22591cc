import { readFile } from "node:fs/promises";
import { HostError } from "../base/index.js";
import { cacheRoot } from "../hosts/node/cache.js";
import { nodeDecompressors } from "../hosts/node/decompress.js";
import {
  blockBackend,
  CardOpener,
  engineSeed,
  loadEngine,
  openConsolePorts,
  packageFile,
  savedNetworks,
  timePorts,
} from "../hosts/node/index.js";
import { listenForSignals } from "../hosts/node/signals.js";
import { clearOutputProcessing } from "../hosts/node/terminal.js";
import { cachedDecompressors } from "../hosts/node/unpacked-cache.js";
import { machineTarget } from "../inspect/index.js";
import { Machine } from "../vmm/machine/index.js";
import { type OpenDisk, openDisks } from "./disk-option.js";
import { parseNet } from "./net-option.js";
import type { ProgramHost } from "./program.js";
import { waitAtPrompt } from "./start-snapshots.js";

/** This process, with its terminal, files and clocks, as the commands see it. */
export async function processHost(): Promise<ProgramHost> {
  const manifest = JSON.parse(await readFile(packageFile("package.json"), "utf8"));
  const host: ProgramHost = {
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
        seed: engineSeed(outside.entropy),
      });
      const decompressors = cachedDecompressors(cacheRoot(), nodeDecompressors);
      const { console, log } = streams;
      const ports = { engine, decompressors, ...outside, console, log };
      const { disks = [] } = request;
      const cards = new CardOpener({ ...outside, log: streams.log });
      const { saved, config } = request;
      const devices = [
        ...disks.map((disk) => blockBackend(disk, outside)),
        ...(await cards.openAll(savedNetworks(request.cards ?? [], saved))),
        ...(await openConsolePorts(request.ports ?? [])),
      ];
      let machine: Machine;
      if (saved === undefined) machine = await Machine.create({ ...config, devices }, ports);
      else {
        try {
          machine = await Machine.restore(saved, { ...config, devices }, ports);
        } catch (refusal) {
          await saved.close();
          const other = request.otherwise;
          if (!(refusal instanceof HostError) || other === undefined) throw refusal;
          return host.createMachine(await other(), streams);
        }
      }
      if (request.atPrompt !== undefined) waitAtPrompt(machine, request.atPrompt, log);
      if (streams.watch !== undefined) machine.trace = streams.watch(outside.clock);
      streams.onInspect?.(machineTarget(machine, outside.clock));
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
  return host;
}

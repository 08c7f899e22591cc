import { HostError } from "../base/index.js";
import { cacheRoot } from "../hosts/node/cache.js";
import { nodeDecompressors } from "../hosts/node/decompress.js";
import {
  blockBackend,
  CardOpener,
  engineSeed,
  loadEngine,
  openConsolePorts,
  savedNetworks,
  timePorts,
} from "../hosts/node/index.js";
import { cachedDecompressors } from "../hosts/node/unpacked-cache.js";
import { machineTarget } from "../inspect/index.js";
import { Machine } from "../vmm/machine/index.js";
import { type OpenDisk, openDisks } from "./disk-option.js";
import type { Surroundings } from "./guest-run.js";
import { parseNet } from "./net-option.js";
import { waitAtPrompt } from "./start-snapshots.js";

/** A machine on this process's clocks, disks and networks. */
export const createMachine: Surroundings["createMachine"] = async (request, streams) => {
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
      return createMachine(await other(), streams);
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
};

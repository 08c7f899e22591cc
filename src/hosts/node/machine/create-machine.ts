/** A machine from a description: what most programs need of this package. */
import { HostError } from "../../../base/index.js";
import type { Engine } from "../../../engine/bridge/index.js";
import type { ByteStream, Disk, Log } from "../../../ports/index.js";
import {
  type Backend,
  consoleCommandLine,
  diskName,
  Machine,
  type MachineConfig,
  type MachinePorts,
  type SavedMachine,
} from "../../../vmm/machine/index.js";
import { nodeDecompressors } from "../decompress.js";
import { readUserFile } from "../files.js";
import { openDisk } from "../open-disk.js";
import { packageFile } from "../package-file.js";
import { CardOpener, type NetOption } from "./cards.js";
import { blockBackend } from "./disks.js";
import { loadEngine } from "./load-engine.js";
import { openSnapshotFile } from "./snapshot-file.js";
import { type ClockChoice, engineSeed, timePorts } from "./time-ports.js";

/** A disk of a machine: an image by its path (or address, as openDisk takes it), or an open one. */
export type DiskChoice = {
  /** What the guest calls it, xvda to xvdz; by default its place in the list. */
  readonly name?: string;
} & (
  | { readonly path: string; readonly readonly?: boolean; readonly snapshot?: boolean }
  | { readonly disk: Disk }
);

/** What {@link createMachine} makes a machine of. */
export interface MachineDescription {
  /**
   * A snapshot's file: the machine goes on from there. Kernel, initrd, command line, memory, CPUs and console are
   * the snapshot's then; disks and networks have to be those that it had.
   */
  readonly restore?: string;
  /** A kernel's file (a path) or its bytes; without one, the small guest that comes with this package. */
  readonly kernel?: string | Uint8Array;
  /** The initial RAM disk: a path or bytes. */
  readonly initrd?: string | Uint8Array;
  /** As given; for a guest that shall use the console, `console=hvc0` is put before it unless it names one. */
  readonly commandLine?: string;
  /** Bytes, a multiple of 4096 from 2 MiB to 3.5 GiB; 256 MiB by default. */
  readonly memoryBytes?: number;
  /** 1 to 64; 1 by default. */
  readonly cpus?: number;
  /** Which of the guest's consoles is connected; hvc0 by default. */
  readonly consoleDevice?: MachineConfig["console"];
  /** What it is connected to; nothing by default. */
  readonly console?: ByteStream;
  readonly disks?: readonly DiskChoice[];
  readonly networks?: readonly NetOption[];
  /** Whether there is a console for Machine.exec; true by default. */
  readonly exec?: boolean;
  /** More devices, such as backends of your own. */
  readonly devices?: readonly Backend[];
  /** `real` by default. */
  readonly clock?: ClockChoice;
  /** Of the random numbers under the virtual clock: a number other than 0. */
  readonly seed?: number;
  /** One engine for several machines; by default each loads its own. */
  readonly engine?: Engine;
  /** Opens the KVM that the machine drives; the library's own by default. */
  readonly kvm?: MachinePorts["kvm"];
  /** Messages about the machine; lost by default. */
  readonly log?: Log;
}

/** @limit file | a kernel file given to createMachine | bytes | FILE_TOO_LARGE */
const MAX_KERNEL_FILE = 1 << 30;

const DEFAULT_MEMORY = 256 << 20;

const SILENT: Log = { warn: () => undefined, debug: () => undefined };
const NO_CONSOLE: ByteStream = { write: () => undefined, onData: () => undefined };

/**
 * Makes a machine that is ready for run(). Everything that was opened is the machine's and closed when it has ended;
 * when the machine cannot be made, it is closed at once.
 * @throws HostError as Machine.create, Machine.restore, openSnapshotFile, openDisk and the networks do; FILE_UNREADABLE or FILE_TOO_LARGE for a kernel
 * or initrd that cannot be read; SEED for a seed that is 0 or no number.
 */
export async function createMachine(description: MachineDescription = {}): Promise<Machine> {
  const { seed, log = SILENT, console = NO_CONSOLE } = description;
  if (seed !== undefined && (!Number.isInteger(seed) || seed >>> 0 === 0)) {
    throw new HostError("SEED", `${seed} is no seed: give a whole number other than 0`);
  }
  const outside = timePorts(description.clock ?? "real", seed);
  // Whether the engine is shared or not, the machine's other random numbers are the same.
  const engineStart = engineSeed(outside.entropy);
  const engine = description.engine ?? (await loadEngine({ seed: engineStart }));
  const saved =
    description.restore === undefined ? undefined : await openSnapshotFile(description.restore);
  const devices: Backend[] = [...(description.devices ?? [])];
  try {
    for (const [index, choice] of (description.disks ?? []).entries()) {
      const name = choice.name ?? diskName(index);
      const disk = "disk" in choice ? choice.disk : await openDisk(choice.path, choice);
      devices.push(blockBackend({ name, disk }, outside));
    }
    const cards = new CardOpener({ ...outside, log });
    devices.push(...(await cards.openAll(savedNetworks(description.networks ?? [], saved))));
    const { kvm } = description;
    const ports: MachinePorts = {
      ...{ engine, decompressors: nodeDecompressors, ...outside, log, console },
      ...(kvm === undefined ? {} : { kvm }),
    };
    if (saved !== undefined) return await Machine.restore(saved, { devices }, ports);
    const files = await filesOf(description);
    const config: MachineConfig = {
      ...files,
      memoryBytes: description.memoryBytes ?? DEFAULT_MEMORY,
      cpus: description.cpus ?? 1,
      console: description.consoleDevice ?? "hvc0",
      exec: description.exec ?? true,
      devices,
    };
    return await Machine.create(config, ports);
  } catch (refusal) {
    await Promise.allSettled([...devices.map((device) => device.close()), saved?.close()]);
    throw refusal;
  }
}

/** Network cards with the addresses that a saved machine's had, unless they are given. */
export function savedNetworks(
  networks: readonly NetOption[],
  saved: Pick<SavedMachine, "devices"> | undefined,
): NetOption[] {
  const cards = (saved?.devices ?? []).filter(({ mac }) => mac !== undefined);
  return networks.map((network, i) => {
    const mac = network.mac ?? cards[i]?.mac;
    return mac === undefined ? network : { ...network, mac };
  });
}

async function filesOf(
  description: MachineDescription,
): Promise<Pick<MachineConfig, "kernel" | "initrd" | "commandLine">> {
  const { memoryBytes = DEFAULT_MEMORY } = description;
  const kernelLimit = { bytes: MAX_KERNEL_FILE, what: "the 1 GiB that a kernel file may have" };
  const kernel = description.kernel ?? packageFile("guest/embedded/image.elf");
  const bytes = await bytesOf(kernel, "kernel", kernelLimit);
  const room = Number.isFinite(memoryBytes) ? memoryBytes : 0;
  const initrdLimit = { bytes: room, what: "the guest's memory", code: "INITRD_TOO_LARGE" };
  const { initrd } = description;
  return {
    kernel: bytes,
    ...(initrd === undefined ? {} : { initrd: await bytesOf(initrd, "initrd", initrdLimit) }),
    commandLine: consoleCommandLine(
      description.commandLine ?? "",
      description.consoleDevice ?? "hvc0",
    ),
  };
}

function bytesOf(
  file: string | Uint8Array,
  role: string,
  limit: Parameters<typeof readUserFile>[2],
): Promise<Uint8Array> {
  return typeof file === "string" ? readUserFile(file, role, limit) : Promise.resolve(file);
}

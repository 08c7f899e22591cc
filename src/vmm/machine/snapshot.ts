/** A machine that was saved: what is in the file of a snapshot, and what has to be there when it is restored. */
import { SECTOR_SIZE } from "../../abi/xen/blkif.js";
import type { LinearMemory, MemoryRegion } from "../../memory/index.js";
import type { Clock } from "../../ports/index.js";
import { refuse } from "../loader/errors.js";
import { uartLayer } from "../platform/uart/model.js";
import {
  bool,
  bytes,
  damaged,
  integer,
  list,
  oneOf,
  optional,
  struct,
  text,
  type ValueOf,
} from "../snapshot/codec.js";
import { type DiskContent, MAX_RUN, readDisk, writeDisk } from "../snapshot/disks.js";
import {
  readJson,
  readSection,
  readSections,
  type Section,
  type SectionName,
  type SnapshotSink,
  type SnapshotSource,
  writeHeader,
  writeJson,
  writeSection,
} from "../snapshot/file.js";
import { type KvmLayer, kvmLayer } from "../snapshot/kvm-layer.js";
import { type PageRun, readPages, writePages } from "../snapshot/pages.js";
import type { Backend } from "../xen/backends/backend.js";
import { domainLayer } from "../xen/domain-state.js";
import { type BootConfig, checkConfig, type Hardware, MAX_CPUS } from "./config.js";
import { type ExactLayer, exactLayer } from "./instance-exact.js";

/** @limit file | the command line of a kernel or module in a snapshot | characters | SNAPSHOT_DAMAGED */
const MAX_COMMAND_LINE = 1 << 16;
/** @limit file | modules of a boot in a snapshot | modules | SNAPSHOT_DAMAGED */
const MAX_MODULES = 256;
/** @limit file | devices in a snapshot | devices | SNAPSHOT_DAMAGED */
const MAX_DEVICES = 256;
/** @limit file | name of a device, and of what it contains, in a snapshot | characters | SNAPSHOT_DAMAGED */
const MAX_NAME = 200;

/** Sections of memory that are read side by side. */
const SECTIONS_AT_ONCE = 4;

const natural = integer(0, Number.MAX_SAFE_INTEGER);
const name = text(MAX_NAME);

const device = struct({
  name,
  class: name,
  /** Of a disk: its size, and a text that is another one when its content may be. */
  bytes: optional(natural),
  generation: optional(name),
  /** Of a disk whose image stays as it is: what was written is in sections of its own, and this is the image's. */
  hasChanges: bool,
  /** Of a network card. */
  mac: optional(name),
});

/** A device of a machine that was saved. */
export type SavedDevice = ValueOf<typeof device>;

const machineLayer = struct({
  kind: oneOf("suspended", "exact"),
  memoryBytes: natural,
  cpus: integer(1, MAX_CPUS),
  console: oneOf("hvc0", "ttyS0", "none"),
  uuid: bytes(16),
  /** The VM generation ID. */
  generation: bytes(16),
  instructions: natural,
  reboots: natural,
  /** What a reboot boots, whose files are in sections of their own. */
  boot: optional(
    struct({
      commandLine: text(MAX_COMMAND_LINE),
      hasInitrd: bool,
      modules: list(optional(text(MAX_COMMAND_LINE)), MAX_MODULES),
    }),
  ),
  devices: list(device, MAX_DEVICES),
  uart: optional(uartLayer),
  /** Of the suspended kind; an exact one has more, in a section of its own. */
  domain: optional(domainLayer),
});

/** Values of the machine's layer. */
export type MachineLayer = ValueOf<typeof machineLayer>;

/** What a machine gives to a {@link Snapshot}. */
export interface SnapshotContent {
  readonly machine: Omit<MachineLayer, "boot">;
  readonly kvm: KvmLayer;
  /** Of the exact kind. */
  readonly exact?: ExactLayer;
  readonly pages: readonly PageRun[];
  /** What was written to disks whose images stay as they are. */
  readonly disks: readonly DiskContent[];
  readonly boot: BootConfig | undefined;
}

/** How a machine is saved. */
export interface SaveOptions {
  /** In the middle of what its guest does, which does not notice: under the virtual clock only. */
  readonly exact?: boolean;
  /** Of an exact one: the time of the virtual clock, in nanoseconds, from which on it is saved; at once by default. */
  readonly atNs?: number;
  /** Of an exact one: the machine is paused in that moment, and does nothing more until it is resumed. */
  readonly pauses?: boolean;
}

/** What is left out of a file. */
export interface SnapshotOptions {
  /** What a reboot boots: whoever restores the machine has it. */
  readonly withoutBoot?: boolean;
}

/** A machine at one moment, with a copy of its memory: it stays as it is while the machine goes on. */
export class Snapshot {
  readonly #content: SnapshotContent;

  /** For {@link import("./machine.js").Machine.save}. */
  constructor(content: SnapshotContent) {
    this.#content = content;
  }

  /** Bytes of memory in it: those of pages that are not zero. */
  get memoryBytes(): number {
    return this.#content.pages.reduce((sum, run) => sum + run.bytes.length, 0);
  }

  /** Of an exact one: the time of the virtual clock at which it was made, in nanoseconds. */
  get timeNs(): number | undefined {
    return this.#content.exact?.vm.nowNs;
  }

  /** Writes the file, in pieces of some megabytes. What the sink throws comes out. */
  async write(sink: SnapshotSink, options: SnapshotOptions = {}): Promise<void> {
    const { machine, kvm, exact, pages, disks } = this.#content;
    const boot = options.withoutBoot ? undefined : this.#content.boot;
    const modules = boot?.modules ?? [];
    const layer: MachineLayer = {
      ...machine,
      boot: boot && {
        commandLine: boot.commandLine,
        hasInitrd: boot.initrd !== undefined,
        modules: modules.map(({ commandLine }) => commandLine),
      },
    };
    await writeHeader(sink);
    await writeJson(sink, "machine", machineLayer.write(layer));
    await writeJson(sink, "kvm", kvmLayer.write(kvm));
    if (exact !== undefined) await writeJson(sink, "engine", exactLayer.write(exact));
    if (boot !== undefined) {
      await writeSection(sink, "kernel", [boot.kernel]);
      if (boot.initrd !== undefined) await writeSection(sink, "initrd", [boot.initrd]);
      for (const { bytes: content } of modules) await writeSection(sink, "module", [content]);
    }
    await writePages(sink, pages);
    for (const disk of disks) await writeDisk(sink, disk);
    await writeSection(sink, "end", []);
  }
}

/** The file of a snapshot, whose parts have been looked at; its memory is read when a machine is made of it. */
export class SavedMachine {
  readonly #source: SnapshotSource;
  readonly #sections: readonly Section[];
  /** What there is beside files and memory. */
  readonly machine: MachineLayer;
  readonly kvm: KvmLayer;
  /** Of a snapshot of the exact kind. */
  readonly exact: ExactLayer | undefined;

  private constructor(
    source: SnapshotSource,
    sections: readonly Section[],
    layers: { machine: MachineLayer; kvm: KvmLayer; exact: ExactLayer | undefined },
  ) {
    this.#source = source;
    this.#sections = sections;
    this.machine = layers.machine;
    this.kvm = layers.kvm;
    this.exact = layers.exact;
  }

  /**
   * Reads a file but for its memory. The source is the machine's that is made of it.
   * @throws HostError NOT_A_SNAPSHOT, SNAPSHOT_VERSION, SNAPSHOT_DAMAGED.
   */
  static async open(source: SnapshotSource): Promise<SavedMachine> {
    const sections = await readSections(source);
    const json = (of: SectionName) => readJson(source, sections, of);
    const machine = machineLayer.read(await json("machine"), "machine");
    const kvm = kvmLayer.read(await json("kvm"), "kvm");
    checkConfig(machine);
    if (kvm.vcpus.length !== machine.cpus) throw damaged("the number of vCPUs");
    const isExact = machine.kind === "exact";
    if (isExact !== (machine.domain === undefined)) throw damaged("its kind");
    const exact = isExact ? exactLayer.read(await json("engine"), "engine") : undefined;
    return new SavedMachine(source, sections, { machine, kvm, exact });
  }

  get hardware(): Hardware {
    const { memoryBytes, cpus, console } = this.machine;
    return { memoryBytes, cpus, console };
  }

  /** The devices that have to be there. */
  get devices(): readonly SavedDevice[] {
    return this.machine.devices;
  }

  /** Whether the file has what a reboot boots. */
  get hasBoot(): boolean {
    return this.machine.boot !== undefined;
  }

  /** What a reboot boots. @throws HostError SNAPSHOT_DAMAGED */
  async readBoot(): Promise<BootConfig> {
    const { boot } = this.machine;
    if (boot === undefined) throw damaged("no kernel");
    const [kernel] = await this.#files("kernel", 1);
    const [initrd] = await this.#files("initrd", boot.hasInitrd ? 1 : 0);
    const modules = await this.#files("module", boot.modules.length);
    return {
      kernel: kernel as Uint8Array,
      ...(initrd === undefined ? {} : { initrd }),
      modules: modules.map((content, i) => {
        const commandLine = boot.modules[i];
        return { bytes: content, ...(commandLine === undefined ? {} : { commandLine }) };
      }),
      commandLine: boot.commandLine,
    };
  }

  async #files(of: SectionName, count: number): Promise<Uint8Array[]> {
    const found = this.#sections.filter((section) => section.name === of);
    if (found.length !== count) throw damaged(`section ${of}`);
    return Promise.all(found.map((section) => readSection(this.#source, section)));
  }

  /** Reads the memory into regions that are all zero. @throws HostError SNAPSHOT_DAMAGED */
  async readPages(linear: LinearMemory, ram: readonly MemoryRegion[]): Promise<void> {
    const left = this.#sections.filter(({ name: own }) => own === "pages");
    const read = async (): Promise<void> => {
      for (let section = left.shift(); section !== undefined; section = left.shift()) {
        await readPages(this.#source, section, linear, ram);
      }
    };
    // All have ended before anything is refused: the memory is another guest's then.
    const ends = await Promise.allSettled(Array.from({ length: SECTIONS_AT_ONCE }, read));
    for (const one of ends) if (one.status === "rejected") throw one.reason;
  }

  /**
   * Gives disks what was written to them. `devices` are those of {@link devices} by their names.
   * @throws HostError SNAPSHOT_DAMAGED, and what a disk rejects with: the devices are not to be used then.
   */
  async readDisks(devices: readonly Backend[]): Promise<void> {
    for (const section of this.#sections) {
      if (section.name !== "disk") continue;
      const { device, runs } = await readDisk(this.#source, section);
      const saved = this.devices[device];
      const found = devices.find((one) => one.name === saved?.name);
      const { changes } = found ?? {};
      if (saved?.hasChanges !== true || changes === undefined) throw damaged("section disk");
      for (const run of runs) {
        if (run.sector * SECTOR_SIZE + run.bytes.length > (saved.bytes ?? 0)) {
          throw damaged("section disk");
        }
        await changes.put(run);
      }
    }
  }

  /** The source is not read any more. */
  async close(): Promise<void> {
    await this.#source.close?.();
  }
}

/**
 * @limit user | what a guest has written to disks with ,snapshot, in one snapshot | bytes | SNAPSHOT_IMPOSSIBLE
 */
const MAX_CHANGES = 2 * 2 ** 30;

/** What was written to those whose images stay as they are, with nothing under way. @throws HostError SNAPSHOT_IMPOSSIBLE */
export async function copyChanges(devices: readonly Backend[]): Promise<DiskContent[]> {
  const copies: DiskContent[] = [];
  let all = MAX_CHANGES;
  for (const [device, { changes, name: own }] of devices.entries()) {
    if (changes === undefined) continue;
    const runs = await changes.copy({ most: MAX_RUN, all });
    if (runs === undefined) {
      const message = `the guest has written too much to ${own} for a snapshot: give it a disk without ,snapshot`;
      throw refuse("SNAPSHOT_IMPOSSIBLE", message);
    }
    all -= runs.reduce((sum, { bytes: { length } }) => sum + length, 0);
    copies.push({ device, runs });
  }
  return copies;
}

/** A machine that was saved exactly goes on at the time at which it was. */
export function setClock(clock: Clock, nowNs: number): void {
  const { virtual } = clock;
  if (virtual === undefined || clock.monotonicNs() > nowNs) {
    const message =
      "the machine was saved under the virtual clock: use that, and for nothing before it";
    throw refuse("SNAPSHOT_IMPOSSIBLE", message);
  }
  virtual.jump(nowNs);
}

/** Asks devices what they are. @throws HostError SNAPSHOT_IMPOSSIBLE for one that nobody could recognise. */
export function describeDevices(devices: readonly Backend[]): Promise<SavedDevice[]> {
  return Promise.all(
    devices.map(async (backend): Promise<SavedDevice> => {
      const { name: own, class: kind, bytes: size } = backend.status();
      const identity = await backend.identity?.();
      if (size !== undefined && identity?.generation === undefined) {
        const message = `${own} cannot be recognised when the machine is restored: save machines whose disks are files`;
        throw refuse("SNAPSHOT_IMPOSSIBLE", message);
      }
      return {
        name: own,
        class: kind,
        bytes: size,
        generation: identity?.generation,
        hasChanges: backend.changes !== undefined,
        mac: identity?.mac,
      };
    }),
  );
}

/** Checks that there are the same devices as when a machine was saved. @throws HostError SNAPSHOT_DEVICES */
export async function checkDevices(
  saved: readonly SavedDevice[],
  devices: readonly Backend[],
): Promise<void> {
  const here = await describeDevices(devices);
  for (const one of saved) {
    const found = here.find((other) => other.name === one.name && other.class === one.class);
    if (found === undefined) throw refuse("SNAPSHOT_DEVICES", missing(one));
    if (found.hasChanges !== one.hasChanges) {
      const message = one.hasChanges
        ? `disk ${one.name} was saved with what the guest had written: give it with ,snapshot`
        : `disk ${one.name} was saved without what the guest had written: give it without ,snapshot`;
      throw refuse("SNAPSHOT_DEVICES", message);
    }
    const isSame = found.bytes === one.bytes && found.generation === one.generation;
    if (!isSame) {
      const message = `disk ${one.name} is not as it was when the machine was saved: what the guest remembers of it is wrong`;
      throw refuse("SNAPSHOT_DEVICES", message);
    }
    if (found.mac !== one.mac) {
      throw refuse("SNAPSHOT_DEVICES", `${one.name} had the address ${one.mac}: give it with mac=`);
    }
  }
  const odd = here.find((other) => !saved.some((one) => one.name === other.name));
  if (odd === undefined) return;
  const message = `the machine had no ${odd.name} when it was saved: leave it out, and add it when it runs`;
  throw refuse("SNAPSHOT_DEVICES", message);
}

function missing({ name: own, class: kind, bytes: size }: SavedDevice): string {
  if (kind === "vbd") return `the machine has a disk ${own} of ${size} bytes: give it with --disk`;
  if (kind === "vif") return `the machine has a network card ${own}: give it with --net`;
  return `the machine has a device ${own}: give it`;
}

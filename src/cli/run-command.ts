import { existsSync } from "node:fs";
import { HostError } from "../base/index.js";
import type { DecodePath } from "../engine/bridge/index.js";
import { readUserFile } from "../hosts/node/files.js";
import { type ClockChoice, openSnapshotFile } from "../hosts/node/index.js";
import {
  type BootConfig,
  type BootModule,
  checkConfig,
  consoleCommandLine,
  type MachineConfig,
} from "../vmm/machine/index.js";
import { checkBootChoice, directBoot } from "./direct-option.js";
import { closeDisks, type OpenDisk, openDisks } from "./disk-option.js";
import type { GuestRequest } from "./guest-run.js";
import { parseNets } from "./net-option.js";
import { parsePorts } from "./port-option.js";

/**
 * Bytes of a kernel file: those of distributions with all their debugging information have half of it. (An initrd
 * may be as large as the guest's memory.)
 * @limit file | a kernel file | bytes | FILE_TOO_LARGE, status 2
 */
const MAX_KERNEL_FILE = 1 << 30;

const kernelLimit = { bytes: MAX_KERNEL_FILE, what: "the 1 GiB that a kernel file may have" };

/** The options of `kvm-xen run`, as the command line gives them. */
export interface RunOptions {
  /** Undefined with {@link direct}, and when GRUB boots the first disk. */
  readonly kernel?: string;
  /** Boot the kernel of the first disk. */
  readonly direct?: boolean;
  /** Go on from a snapshot. */
  readonly restore?: string;
  /** Modules, in order: each a file, and behind a space its command line. */
  readonly initrd: readonly string[];
  readonly append: string;
  readonly memory: number;
  readonly cpus: number;
  /** Each FILE[,ro][,snapshot][,dev=xvdb]. */
  readonly disk?: readonly string[];
  /** Each KIND[,OPTION...]. */
  readonly net?: readonly string[];
  /** Each hvcN=FILE or hvcN=unix:PATH. */
  readonly port?: readonly string[];
  readonly console: MachineConfig["console"];
  readonly clock: ClockChoice;
  readonly decode: DecodePath;
  readonly timeout?: number;
  readonly stats?: boolean;
  readonly verbose?: boolean;
}

/** How GRUB is obtained: the real way, or a test's. @returns the path of its file */
export type ObtainGrub = () => Promise<string>;

/**
 * Turns options into a guest to run: reads the files and completes the kernel's command line.
 * @throws HostError when a file cannot be read, or is too large, or GRUB is needed and cannot be had.
 */
export async function requestFrom(options: RunOptions, obtain: ObtainGrub): Promise<GuestRequest> {
  checkConfig({ cpus: options.cpus, memoryBytes: options.memory });
  const cards = parseNets(options.net ?? []);
  const ports = parsePorts(options.port ?? []);
  if (options.restore !== undefined) return restoreFrom(options.restore, options);
  const needsGrub = checkBootChoice(options);
  const kernel = needsGrub ? await obtain() : options.kernel;
  const given = kernel === undefined ? undefined : await givenFiles({ ...options, kernel });
  const disks = await openDisks(options.disk ?? []);
  try {
    const fromDisk = () => filesOf(disks, options);
    const config: MachineConfig = {
      // What the guest has installed meanwhile is what a reboot boots.
      ...(given ?? { ...(await fromDisk()), bootAgain: fromDisk }),
      memoryBytes: options.memory,
      cpus: options.cpus,
      console: options.console,
    };
    const { clock, decode, stats = false } = options;
    return { config, clock, decode, stats, disks, cards, ports };
  } catch (refusal) {
    await closeDisks(disks);
    throw refusal;
  }
}

/** A machine that goes on: what it was made of is in the file. */
async function restoreFrom(path: string, options: RunOptions): Promise<GuestRequest> {
  if (options.kernel !== undefined || options.initrd.length > 0) {
    throw new HostError("USAGE", "--restore takes kernel and initrd from the file: give no others");
  }
  const cards = parseNets(options.net ?? []);
  const saved = await openSnapshotFile(path);
  let disks: OpenDisk[] = [];
  try {
    disks = await openDisks(options.disk ?? []);
    const config: MachineConfig = {
      ...saved.hardware,
      kernel: new Uint8Array(0),
      commandLine: "",
      // A machine that boots from its disk has no kernel in the file.
      ...(saved.hasBoot ? {} : { bootAgain: () => filesOf(disks, options) }),
    };
    const { clock, decode, stats = false } = options;
    const ports = parsePorts(options.port ?? []);
    return { config, saved, clock, decode, stats, disks, cards, ports };
  } catch (refusal) {
    await closeDisks(disks);
    await saved.close();
    throw refusal;
  }
}

/** What is booted, from a disk. */
async function filesOf(disks: readonly OpenDisk[], options: RunOptions): Promise<BootConfig> {
  const { kernel, initrd, append } = await directBoot(disks, options.append);
  const commandLine = consoleCommandLine(append, options.console);
  return { kernel, ...(initrd === undefined ? {} : { initrd }), commandLine };
}

/** What is booted, from files. */
async function givenFiles(options: RunOptions & { readonly kernel: string }): Promise<BootConfig> {
  const kernel = await readUserFile(options.kernel, "kernel", kernelLimit);
  const [first, ...more] = await readModules(options.initrd, options.memory);
  // A module with a command line is not an initial RAM disk of Linux.
  const isInitrd = first !== undefined && first.commandLine === undefined;
  const modules = isInitrd || first === undefined ? more : [first, ...more];
  return {
    kernel,
    ...(isInitrd ? { initrd: first.bytes } : {}),
    ...(modules.length > 0 ? { modules } : {}),
    commandLine: consoleCommandLine(options.append, options.console),
  };
}

/**
 * Reads modules, each given as `FILE` or `FILE COMMAND LINE`. A file that has the whole text as its name is that
 * file. All of them have to fit the memory.
 */
async function readModules(texts: readonly string[], memory: number): Promise<BootModule[]> {
  const what = `the guest's memory of ${Math.floor(memory / (1 << 20))} MiB: give it more`;
  const modules: BootModule[] = [];
  let room = memory;
  for (const text of texts) {
    const space = existsSync(text) ? -1 : text.indexOf(" ");
    const path = space < 0 ? text : text.slice(0, space);
    const limit = { bytes: room, what, code: "INITRD_TOO_LARGE" };
    const bytes = await readUserFile(path, "initrd", limit);
    room -= bytes.length;
    modules.push(space < 0 ? { bytes } : { bytes, commandLine: text.slice(space + 1) });
  }
  return modules;
}

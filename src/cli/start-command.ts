import { stat } from "node:fs/promises";
import { HostError } from "../base/index.js";
import { Apt } from "../hosts/node/apt.js";
import { cacheRoot } from "../hosts/node/cache.js";
import { type DebianGuest, obtainDebianGuest, type Progress } from "../hosts/node/debian-guest.js";
import {
  agentPath,
  guestInitramfs,
  readGuestKernel,
  readPackageFile,
} from "../hosts/node/guest-initramfs.js";
import { ProgressLine } from "../hosts/node/progress-line.js";
import { closeDisks, openDisks } from "./disk-option.js";
import type { GuestRequest } from "./guest-run.js";
import { parseNets } from "./net-option.js";
import { parsePorts } from "./port-option.js";
import { StartSnapshots } from "./start-snapshots.js";

/** The options of `kvm-xen start`. */
export interface StartOptions {
  readonly memory: number;
  readonly cpus: number;
  /** Each FILE[,ro][,snapshot][,dev=xvdb]. */
  readonly disk?: readonly string[];
  /** Each KIND[,OPTION...]. */
  readonly net?: readonly string[];
  /** Each hvcN=FILE or hvcN=unix:PATH. */
  readonly port?: readonly string[];
  readonly timeout?: number;
  readonly stats?: boolean;
  readonly verbose?: boolean;
  /** Boot the guest that comes with this program. */
  readonly embedded?: boolean;
  /** A command for the guest's agent. */
  readonly exec?: string;
  /** Fetch the newest kernel again. */
  readonly update?: boolean;
  /** Boot, even if there is a snapshot of a guest at its prompt. */
  readonly cold?: boolean;
}

/** The terminal that a guest is started from. */
export interface StartTerminal {
  readonly isTTY?: boolean;
  readonly rows?: number;
  readonly columns?: number;
  write(text: string): unknown;
}

/** How a Debian guest is obtained: the real way, or a test's. */
export type ObtainGuest = (progress: Progress, update: boolean) => Promise<DebianGuest>;

/** The real way. */
export const obtainDebian: ObtainGuest = (progress, update) =>
  obtainDebianGuest({ cacheRoot: cacheRoot(), progress, update });

/**
 * Gets the guest of `npm start`: Debian's, or the embedded one where there is no Debian to get it
 * from. Says on `error` what is booted.
 * @throws HostError when there should be a Debian guest but it cannot be fetched, a disk cannot be used, or the guest
 * has no agent for `exec`.
 */
export async function requestForStart(
  options: StartOptions,
  output: StartTerminal,
  error: StartTerminal,
  obtain: ObtainGuest = obtainDebian,
  hasApt: boolean = Apt.isPresent(),
): Promise<GuestRequest> {
  if (options.exec !== undefined && agentPath() === undefined) {
    const message =
      "--exec needs the guest's agent, which was not built: install gcc and build again";
    throw new HostError("NOT_BUILT", message);
  }
  const cards = parseNets(options.net ?? []);
  const ports = parsePorts(options.port ?? []);
  const disks = await openDisks(options.disk ?? []);
  try {
    return { ...(await guestFor(options, output, error, obtain, hasApt)), disks, cards, ports };
  } catch (refusal) {
    await closeDisks(disks);
    throw refusal;
  }
}

async function guestFor(
  options: StartOptions,
  output: StartTerminal,
  error: StartTerminal,
  obtain: ObtainGuest,
  hasApt: boolean,
): Promise<GuestRequest> {
  if (options.embedded) return embeddedRequest(options);
  if (!hasApt) return instead(options, error, "this system has no apt-get and dpkg-deb");
  try {
    const progress = new ProgressLine(error);
    let guest = await obtain(progress, options.update ?? false);
    // It was fetched before modules were kept.
    const lacksDriver = driversFor(options).length > 0 && guest.modulePaths === undefined;
    if (lacksDriver) guest = await obtain(progress, true);
    if (guest.notUpdated !== undefined) {
      error.write(`kvm-xen: ${guest.notUpdated}: booting ${guest.description}, fetched before\n`);
    }
    const booting = (): void => {
      if (guest.notUpdated === undefined && error.isTTY) {
        error.write(`kvm-xen: booting ${guest.description}\n`);
      }
    };
    return await debianRequest(options, output, guest, booting);
  } catch (refusal) {
    if (!(refusal instanceof HostError)) throw refusal;
    if (refusal.code === "NO_PACKAGE") return instead(options, error, refusal.message);
    const hint = "'npm start -- --embedded' boots a small guest that needs no download";
    throw new HostError(refusal.code, `${refusal.message}; ${hint}`, { cause: refusal });
  }
}

function instead(options: StartOptions, error: StartTerminal, why: string): Promise<GuestRequest> {
  error.write(`kvm-xen: ${why}: booting the embedded guest instead of Debian's kernel\n`);
  return embeddedRequest(options);
}

async function embeddedRequest(options: StartOptions): Promise<GuestRequest> {
  if (options.exec !== undefined) {
    throw new HostError("USAGE", "the embedded guest has no shell for --exec; Debian's has");
  }
  return request(options, await readPackageFile("guest/embedded/image.elf"), undefined, "");
}

async function debianRequest(
  options: StartOptions,
  output: StartTerminal,
  guest: DebianGuest,
  booting: () => void,
): Promise<GuestRequest> {
  const commandLine = wordsFor(options, output);
  const boot = async (): Promise<GuestRequest> => {
    booting();
    const [kernel, initramfs] = await Promise.all([
      readGuestKernel(guest),
      guestInitramfs(guest, driversFor(options)),
    ]);
    return request(options, kernel, initramfs, commandLine);
  };
  if (!isKept(options)) return boot();
  const { memory, cpus } = options;
  const [manifest, ...files] = await Promise.all(
    ["package.json", "guest/debian/init.sh", "guest/debian/suspend-point.elf"].map(readPackageFile),
  );
  const { version } = JSON.parse(new TextDecoder().decode(manifest)) as { version: string };
  const key = [version, await identityOf(guest), memory, cpus, commandLine];
  const kept = new StartSnapshots(cacheRoot(), key, files);
  const how = { clock: "real", stats: options.stats ?? false } as const;
  return kept.request(boot, options.cold ?? false, how);
}

/** Disks and networks are not what they were the last time, and a command's guest has no prompt. */
const isKept = (options: StartOptions): boolean =>
  driversFor(options).length === 0 &&
  (options.port ?? []).length === 0 &&
  options.exec === undefined;

/** The kernel's command line. */
function wordsFor(options: StartOptions, output: StartTerminal): string {
  // Words that the kernel does not know become the environment of its first process. The self-tests
  // of the kernel's cryptography would be two thirds of the whole boot.
  const words = ["console=hvc0", "cryptomgr.notests", `TERM=${process.env["TERM"] ?? "vt100"}`];
  if ((options.net ?? []).length > 0) words.push("KX_DHCP=1");
  // The guest that waits at its prompt gets the size there.
  if (isKept(options)) words.push("KX_PROMPT=1");
  else if (output.rows && output.columns) {
    words.push(`KX_ROWS=${output.rows}`, `KX_COLUMNS=${output.columns}`);
  }
  return words.join(" ");
}

/** What tells a kernel and busybox from others. */
async function identityOf({ kernelPath, busyboxPath, description }: DebianGuest): Promise<string> {
  const of = async (path: string): Promise<string> => {
    const { size, mtimeMs } = await stat(path);
    return `${path} ${size} ${mtimeMs}`;
  };
  return `${description} ${await of(kernelPath)} ${await of(busyboxPath)}`;
}

/** Drivers of the devices that a machine has. */
function driversFor({ disk = [], net = [] }: StartOptions): string[] {
  return [
    ...(disk.length > 0 ? ["xen-blkfront"] : []),
    ...(net.length > 0 ? ["xen-netfront"] : []),
  ];
}

function request(
  options: StartOptions,
  kernel: Uint8Array,
  initrd: Uint8Array | undefined,
  commandLine: string,
): GuestRequest {
  return {
    config: {
      kernel,
      ...(initrd ? { initrd } : {}),
      commandLine,
      memoryBytes: options.memory,
      cpus: options.cpus,
      console: "hvc0",
    },
    clock: "real",
    stats: options.stats ?? false,
  };
}

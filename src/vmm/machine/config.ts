import { type EventLoop, PAGE_SIZE } from "../../base/index.js";
import type { EngineFactory, KvmApi } from "../../kvm/api/index.js";
import type { Decompressors } from "../../ports/decompress.js";
import type { ByteStream, Clock, Entropy, Log, Timers } from "../../ports/index.js";
import type { BootModule } from "../loader/boot.js";
import { mib, refuse } from "../loader/errors.js";
import type { Backend } from "../xen/backends/backend.js";

/** What a machine boots. */
export type BootConfig = Pick<MachineConfig, "kernel" | "initrd" | "modules" | "commandLine">;

/**
 * A machine to run. The command line is passed as it is: a guest that shall use the console needs
 * `console=hvc0` (or `console=ttyS0`) in it, since Linux does not choose it by itself.
 */
export interface MachineConfig {
  /** An ELF image with a Xen PVH note, or a bzImage that holds one. */
  readonly kernel: Uint8Array;
  /** The first module: Linux's initial RAM disk. */
  readonly initrd?: Uint8Array;
  /**
   * More modules, behind {@link initrd}; with `initrd` at most {@link MAX_MODULES}. Xen as a PVH guest
   * (xen-shim) takes the first module for the kernel of its own guest, with its command line, and the
   * second for that kernel's initial RAM disk.
   */
  readonly modules?: readonly BootModule[];
  readonly commandLine: string;
  /** A multiple of 4096, 2 MiB or more. */
  readonly memoryBytes: number;
  /** 1 to {@link MAX_CPUS}. */
  readonly cpus: number;
  /** What the console stream is connected to. ttyS0 exists only if it is chosen here. */
  readonly console: "hvc0" | "ttyS0" | "none";
  /**
   * Gives the guest a console for the agent of {@link Machine.exec}: hvc1, or the first that {@link devices} leave.
   * Without it, exec is refused.
   */
  readonly exec?: boolean;
  /** Paravirtual devices. They are the machine's from now on, through reboots, and closed when it has ended. */
  readonly devices?: readonly Backend[];
  /**
   * What is booted after each reboot, asked when all that the guest has written is on its disks; without it what was
   * booted first. What it throws ends the machine, and is thrown by {@link Machine.run}.
   */
  readonly bootAgain?: () => Promise<BootConfig>;
}

/** What a machine consists of, devices aside. */
export type Hardware = Pick<MachineConfig, "memoryBytes" | "cpus" | "console">;

/** What a machine that was saved has besides: the rest is in its snapshot. */
export type RestoreConfig = Pick<MachineConfig, "devices" | "bootAgain">;

/** The world outside the machine. */
export interface MachinePorts {
  readonly engine: EngineFactory;
  /** Opens the KVM that the machine drives; the default is the library's own, on {@link engine}. */
  readonly kvm?: (ports: KvmPorts) => Promise<KvmApi>;
  readonly decompressors: Decompressors;
  readonly clock: Clock;
  readonly timers: Timers;
  /** How the host's other work gets its turn; the default suits Node. */
  readonly loop?: EventLoop;
  readonly log: Log;
  readonly console: ByteStream;
  readonly entropy: Entropy;
}

/** What a KVM is made of. */
export type KvmPorts = Pick<MachinePorts, "engine" | "clock" | "timers" | "loop">;

/** How a machine ended. A reboot is not an end: the machine starts again by itself. */
export type MachineEnd =
  | { readonly kind: "poweroff" }
  | { readonly kind: "crash"; readonly reason: string }
  | { readonly kind: "timeout" }
  | { readonly kind: "stopped" };

/**
 * Most vCPUs of a machine.
 * @limit user | vCPUs of a machine | vCPUs | CPU_COUNT, status 1
 */
export const MAX_CPUS = 64;
const MIN_MEMORY = 2 << 20;
/**
 * Guest RAM lies in a linear memory of 4 GiB, with the engine's tables.
 * @limit user | memory of a machine | bytes | MEMORY_TOO_LARGE, status 1
 */
const MAX_MEMORY = 3.5 * 2 ** 30;

/**
 * Checks what can be checked without looking into the kernel.
 * @throws HostError CPU_COUNT, MEMORY_TOO_SMALL, MEMORY_TOO_LARGE or MEMORY_NOT_ALIGNED.
 */
export function checkConfig(config: Pick<MachineConfig, "cpus" | "memoryBytes">): void {
  const { cpus, memoryBytes } = config;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw refuse("CPU_COUNT", `${cpus} CPUs are not possible: choose 1 to ${MAX_CPUS}`);
  }
  if (!(memoryBytes >= MIN_MEMORY)) {
    throw refuse("MEMORY_TOO_SMALL", `the guest needs at least ${mib(MIN_MEMORY)} of memory`);
  }
  if (memoryBytes > MAX_MEMORY) {
    throw refuse("MEMORY_TOO_LARGE", `a guest can have at most ${mib(MAX_MEMORY)} of memory`);
  }
  if (memoryBytes % PAGE_SIZE !== 0) {
    throw refuse("MEMORY_NOT_ALIGNED", "the guest's memory must be a multiple of 4096 bytes");
  }
}

import type { EngineCounters } from "../../engine/bridge/port.js";
import type { ArmLater, TraceSink } from "../../ports/index.js";
import type { VmKept } from "./kept.js";
import type { XenVmView } from "./xen-view.js";

/** What is done between two turns, as soon as a time has come. */
export interface Hold {
  readonly atNs: number;
  /** Starts it; undefined when it cannot be done now: it is asked again behind the next turn. */
  start(): Promise<void> | undefined;
}

/** A VM that stands still in the middle of everything: what exact snapshots have beside KVM's GET and SET calls. */
export interface VmStandstill {
  /** What is done between two turns of the vCPUs: time stands still until it is over. */
  set hold(hold: Hold | undefined);
  /** Whether a vCPU, by the order of creation, is inside run(). */
  isRunning(index: number): boolean;
  /** Why the VM cannot be saved now; undefined: it can. */
  readonly obstacle: string | undefined;
  /** Reads all; in between, `get` may use KVM's GET calls. The VM is as it was afterwards. */
  read<T>(get: () => T): { readonly kept: VmKept; readonly got: T };
  /** Puts that into a VM whose KVM state and memory are there already. */
  write(kept: VmKept, later: ArmLater): void;
  /** All vCPUs are inside run(): turns go on where they were. */
  goOn(kept: VmKept): void;
}

/**
 * What the engine of this library gives of a VM beyond KVM's binary interface. None of it is needed to run a guest:
 * without it a machine has no counters, no trace, no view of KVM's Xen half, and no exact snapshots.
 */
export interface VmBeyondKvm {
  /**
   * From now on IN from these ports gives ones, as if it had been an exit that was answered so, without leaving the
   * guest. For machines that know where they have no device and whose guests look there often.
   */
  floatPorts(first: number, count: number): void;
  /** What the engine has done for this VM beside plain execution. */
  readonly engineCounters: EngineCounters;
  /** Who is told what happens in this VM; undefined: nobody. */
  trace: TraceSink | undefined;
  /** What KVM's Xen support knows now, read without any effect. */
  xenView(): XenVmView;
  /** For exact snapshots. */
  readonly standstill: VmStandstill;
}

/** What the engine of this library gives of a vCPU beyond KVM's binary interface. */
export interface VcpuBeyondKvm {
  /** Instructions retired since the vCPU was made. */
  readonly instructions: number;
  /**
   * Counts work that the client did for this vCPU, such as the hypercall of its last exit: it uses up the slice of the
   * vCPU as instructions do, and under a virtual clock each unit is a nanosecond.
   */
  charge(work: number): void;
}

/** Members that may be missing. */
export type MayHave<T> = { [K in keyof T]?: T[K] | undefined };

/**
 * What a tracer is told of a VM. Whoever tells keeps it in one field that is undefined while nobody watches, and looks at
 * that field at each place: without a watcher nothing is called, and nothing is made.
 */

/** Who answered a hypercall, or carried something out. */
export const TraceBy = { KVM: 1, MONITOR: 2 } as const;
/** One of {@link TraceBy}. */
export type TraceBy = (typeof TraceBy)[keyof typeof TraceBy];

/** Where an event that a guest sends goes. */
export const TraceTarget = { PORT: 0, EVENTFD: 1, BACKEND: 2, NOWHERE: 3 } as const;
/** One of {@link TraceTarget}. */
export type TraceTarget = (typeof TraceTarget)[keyof typeof TraceTarget];

/** Registers of a vCPU, as {@link TraceSink.hypercall} reads them: general registers in halves of 32 bits. */
export interface TraceRegisters {
  gprLow(index: number): number;
  gprHigh(index: number): number;
  readonly rip: bigint;
  readonly cpl: number;
}

/** Takes what happens. All numbers of vCPUs are KVM's vcpu_id. */
export interface TraceSink {
  /** A guest makes a hypercall; `args` are the numbers of the registers with its arguments. */
  hypercall(
    vcpu: number,
    registers: TraceRegisters,
    args: readonly number[],
    longMode: boolean,
  ): void;
  /** The hypercall that this vCPU made last is answered; the halves of RAX. */
  answered(vcpu: number, by: TraceBy, low: number, high: number): void;
  /** A guest sends an event on `port`; port and vCPU that it goes to, when it goes to a port. */
  sent(
    vcpu: number,
    by: TraceBy,
    port: number,
    target: TraceTarget,
    toPort: number,
    toVcpu: number,
  ): void;
  /** A port of a vCPU is raised: 1 delivered, 0 was pending already, or a negative errno (-ENOTCONN: masked). */
  delivered(vcpu: number, port: number, result: number): void;
  /** A guest unmasks a port by a hypercall. */
  unmasked(vcpu: number, port: number): void;
  /** The interrupt of an upcall is injected. */
  upcall(vcpu: number, vector: number): void;
  /** RUNSTATE_* that a vCPU leaves and enters. */
  runstate(vcpu: number, from: number, to: number): void;
  /** A one-shot timer is armed, for an absolute time of kvmclock in ns. */
  timerArmed(vcpu: number, by: TraceBy, port: number, expiresNs: bigint): void;
  /** A timer fires; the result of the delivery as in {@link delivered}, 1 for those of the monitor. */
  timerFired(vcpu: number, by: TraceBy, port: number, result: number): void;
  /** A timer is disarmed. */
  timerStopped(vcpu: number, by: TraceBy, port: number): void;
  /** A vCPU leaves the guest: number of the engine's exit, and its address (port, MSR, guest-physical). */
  exit(vcpu: number, code: number, address: number, rip: bigint): void;
  /** A vCPU that waited goes on. */
  woken(vcpu: number): void;
}

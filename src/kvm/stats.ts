/** What KVM_GET_STATS_FD can say: a number, and what kind of number it is. */
export interface Statistic {
  /** The name that Linux has for it. */
  readonly name: string;
  /** Counted since the beginning; as it is now; or 0 or 1 as it is now. */
  readonly kind: "cumulative" | "instant" | "boolean";
  readonly value: bigint;
}

/** What is counted of a vCPU. */
export class VcpuStats {
  /** Times the engine gave up control, for whatever reason. */
  exits = 0;
  /** IN, OUT and their string forms, one for each element. */
  ioExits = 0;
  /** Accesses to addresses without memory that the client had to answer. */
  mmioExits = 0;
  /** KVM_RUN ended by a signal, a kick or immediate_exit. */
  signalExits = 0;
  /** The guest opened the interrupt window that it was waited for. */
  irqWindowExits = 0;
  /** KVM_RUN ended since the client wanted to inject an interrupt. */
  requestIrqExits = 0;
  haltExits = 0;
  /** Halts that something ended. */
  haltWakeup = 0;
  hypercalls = 0;
  irqInjections = 0;
  nmiInjections = 0;

  /** All of them, with names; `blocking`: the vCPU is halted in KVM_RUN. */
  list(blocking: boolean): Statistic[] {
    const counted = (name: string, value: number): Statistic => ({
      name,
      kind: "cumulative",
      value: BigInt(value),
    });
    return [
      counted("halt_wakeup", this.haltWakeup),
      { name: "blocking", kind: "boolean", value: blocking ? 1n : 0n },
      counted("exits", this.exits),
      counted("io_exits", this.ioExits),
      counted("mmio_exits", this.mmioExits),
      counted("signal_exits", this.signalExits),
      counted("irq_window_exits", this.irqWindowExits),
      counted("halt_exits", this.haltExits),
      counted("request_irq_exits", this.requestIrqExits),
      counted("hypercalls", this.hypercalls),
      counted("irq_injections", this.irqInjections),
      counted("nmi_injections", this.nmiInjections),
    ];
  }
}

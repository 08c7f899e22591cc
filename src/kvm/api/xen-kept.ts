/** What Xen support keeps of a VM, in no form that depends on where memory is: for exact snapshots. */

/** An area of guest memory that the guest has named. */
export interface XenAreaKept {
  readonly gpa: bigint;
  /** Its translation is up to date. */
  readonly isFresh: boolean;
}

/** Of a vCPU. Timers are given by the order in which they were armed. */
export interface XenVcpuKept {
  readonly vcpuInfo: XenAreaKept | undefined;
  readonly timeInfo: XenAreaKept | undefined;
  readonly runstate1: XenAreaKept | undefined;
  readonly runstate2: XenAreaKept | undefined;
  readonly runstate: {
    readonly current: number;
    readonly entryTime: bigint;
    readonly times: readonly bigint[];
    readonly lastSteal: bigint;
  };
  readonly xenId: number;
  readonly upcallVector: number;
  readonly shadowLow: number;
  readonly shadowHigh: number;
  readonly timerPort: number;
  readonly timerExpires: bigint;
  readonly timerPending: boolean;
  readonly timer: number | undefined;
  readonly poll:
    | {
        readonly port: number | undefined;
        readonly deadlineNs: number | undefined;
        readonly timer: number;
      }
    | undefined;
  readonly tscLeavesSet: boolean;
}

/** A VM's Xen half, beyond what KVM_XEN_HVM_GET_ATTR and KVM_XEN_VCPU_GET_ATTR show. */
export interface XenKept {
  readonly longMode: boolean;
  readonly upcallVector: number;
  readonly runstateUpdateFlag: boolean;
  readonly vcpus: readonly XenVcpuKept[];
}

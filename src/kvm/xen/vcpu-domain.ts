import { evtchnPort, type XenVcpuId, xenVcpuId } from "../../base/index.js";
import type { TimerHandle } from "../../ports/index.js";
import type { XenVcpuHost } from "../hooks.js";
import { PfnCache } from "../memory/pfncache.js";
import type { MemorySlots } from "../memory/slots.js";

/** Times that a vCPU spent in each runstate, and where it is now. u64 each. */
export interface RunstateTimes {
  current: number;
  entryTime: bigint;
  /** Running, runnable, blocked, offline. */
  readonly times: [bigint, bigint, bigint, bigint];
  /** Run delay at the last transition. */
  lastSteal: bigint;
}

/** Xen state of a vCPU, shared by the files of this folder. */
export class VcpuDomain {
  readonly host: XenVcpuHost;
  readonly vcpuInfo: PfnCache;
  readonly timeInfo: PfnCache;
  readonly runstate1: PfnCache;
  readonly runstate2: PfnCache;
  readonly runstate: RunstateTimes = {
    current: 0,
    entryTime: 0n,
    times: [0n, 0n, 0n, 0n],
    lastSteal: 0n,
  };
  /** The id by which vcpu_op names it. */
  xenId: XenVcpuId;
  /** Vector through the local APIC, 0 for none. */
  upcallVector = 0;
  /** Selector bits that could not be written to vcpu_info yet, in two u32 halves. */
  shadowLow = 0;
  shadowHigh = 0;
  timerPort = evtchnPort(0);
  /** kvmclock nanoseconds, 0 when not armed. */
  timerExpires = 0n;
  /** The timer fired and could not be delivered at once. */
  timerPending = false;
  timer: TimerHandle | undefined;
  /** Ports that SCHEDOP_poll waits for: one, any (-1), or none (undefined). */
  pollPort: number | undefined;
  isPolling = false;
  pollTimer: TimerHandle | undefined;
  /** When {@link pollTimer} ends it. */
  pollDeadlineNs = 0;
  /** The Xen CPUID leaves got the TSC's figures. */
  tscLeavesSet = false;

  constructor(host: XenVcpuHost, slots: MemorySlots) {
    this.host = host;
    // The kernel takes the index before it is assigned: 0 for every vCPU, whatever its documentation says.
    this.xenId = xenVcpuId(0);
    this.vcpuInfo = new PfnCache(slots);
    this.timeInfo = new PfnCache(slots);
    this.runstate1 = new PfnCache(slots);
    this.runstate2 = new PfnCache(slots);
  }
}

import { sched_poll } from "./sched.js";
import { vcpu_set_singleshot_timer } from "./vcpu.js";

/** The hypercalls KVM itself answers, by number and sub-operation (Xen's public headers). */
export const KvmXenHypercall = {
  SET_TIMER_OP: 15,
  XEN_VERSION: 17,
  VCPU_OP: 24,
  SCHED_OP: 29,
  EVENT_CHANNEL_OP: 32,
} as const;

/** Sub-operation of xen_version. */
export const XENVER_version = 0;
/** Sub-operation of event_channel_op: `struct evtchn_send { u32 port }`. */
export const EVTCHNOP_send = 4;
/** Sub-operations of sched_op. */
export const SCHEDOP_yield = 0;
export const SCHEDOP_poll = 3;
/** Sub-operations of vcpu_op. */
export const VCPUOP_set_singleshot_timer = 8;
export const VCPUOP_stop_singleshot_timer = 9;

const pollOf = (struct: typeof sched_poll) => ({
  size: struct.size,
  ports: struct.offset("ports"),
  nrPorts: struct.offset("nr_ports"),
  timeout: struct.offset("timeout"),
});
/** `struct sched_poll`: sizes and offsets in both layouts. */
export const SCHED_POLL_64 = pollOf(sched_poll);
export const SCHED_POLL_COMPAT = pollOf(sched_poll.of(32));
/**
 * Most ports that one SCHEDOP_poll may name.
 * @limit guest | ports that one SCHEDOP_poll names | ports | EINVAL, as Linux
 */
export const SCHED_POLL_MAX_PORTS = 128;

/** `struct vcpu_set_singleshot_timer { u64 timeout_abs_ns; u32 flags }`: bytes read by KVM. */
export const SINGLESHOT_SIZE_64 = vcpu_set_singleshot_timer.size;
/** Where both have `timeout_abs_ns`. */
export const SINGLESHOT_TIMEOUT = vcpu_set_singleshot_timer.offset("timeout_abs_ns");
export const SINGLESHOT_SIZE_COMPAT = vcpu_set_singleshot_timer.of(32).size;

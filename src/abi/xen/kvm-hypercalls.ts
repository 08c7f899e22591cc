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

/** `struct sched_poll { ports*, u32 nr_ports, u64 timeout }`: sizes and offsets in both layouts. */
export const SCHED_POLL_64 = { size: 24, ports: 0, nrPorts: 8, timeout: 16 } as const;
export const SCHED_POLL_COMPAT = { size: 16, ports: 0, nrPorts: 4, timeout: 8 } as const;
/**
 * Most ports that one SCHEDOP_poll may name.
 * @limit guest | ports that one SCHEDOP_poll names | ports | EINVAL, as Linux
 */
export const SCHED_POLL_MAX_PORTS = 128;

/** `struct vcpu_set_singleshot_timer { u64 timeout_abs_ns; u32 flags }`: bytes read by KVM. */
export const SINGLESHOT_SIZE_64 = 16;
export const SINGLESHOT_SIZE_COMPAT = 12;

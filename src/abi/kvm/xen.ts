/** `KVM_XEN_HVM_CONFIG_*`: bits of KVM_CAP_XEN_HVM and flags of KVM_XEN_HVM_CONFIG. */
export const KvmXenHvmConfig = {
  HYPERCALL_MSR: 1 << 0,
  INTERCEPT_HCALL: 1 << 1,
  SHARED_INFO: 1 << 2,
  RUNSTATE: 1 << 3,
  EVTCHN_2LEVEL: 1 << 4,
  EVTCHN_SEND: 1 << 5,
  RUNSTATE_UPDATE_FLAG: 1 << 6,
  PVCLOCK_TSC_UNSTABLE: 1 << 7,
  SHARED_INFO_HVA: 1 << 8,
} as const;

/** `KVM_XEN_INVALID_GFN` and `KVM_XEN_INVALID_GPA`: all ones, switches a guest page off. */
export const KVM_XEN_INVALID = 0xffffffffffffffffn;

/** Flags of the HVM attribute EVTCHN; exclusive values, not a mask. */
export const KvmXenEvtchnFlag = { ASSIGN: 0, DEASSIGN: 1, UPDATE: 2, RESET: 4 } as const;

/** `EVTCHNSTAT_*`: event channel types in the EVTCHN attribute (Xen `public/event_channel.h`). */
export const EvtchnStat = {
  CLOSED: 0,
  UNBOUND: 1,
  INTERDOMAIN: 2,
  PIRQ: 3,
  VIRQ: 4,
  IPI: 5,
} as const;

/** `KVM_XEN_ATTR_TYPE_*` of the VM. */
export const KvmXenHvmAttrType = {
  LONG_MODE: 0,
  SHARED_INFO: 1,
  UPCALL_VECTOR: 2,
  EVTCHN: 3,
  XEN_VERSION: 4,
  RUNSTATE_UPDATE_FLAG: 5,
  SHARED_INFO_HVA: 6,
} as const;

/** `KVM_XEN_VCPU_ATTR_TYPE_*`. */
export const KvmXenVcpuAttrType = {
  VCPU_INFO: 0,
  VCPU_TIME_INFO: 1,
  RUNSTATE_ADDR: 2,
  RUNSTATE_CURRENT: 3,
  RUNSTATE_DATA: 4,
  RUNSTATE_ADJUST: 5,
  VCPU_ID: 6,
  TIMER: 7,
  UPCALL_VECTOR: 8,
  VCPU_INFO_HVA: 9,
} as const;

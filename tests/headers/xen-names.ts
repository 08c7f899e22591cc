/** How Xen's public headers call what src/abi/xen exports, where its own name does not say it. */
import type { HeaderSet } from "./gcc.js";
import type { Rules } from "./walk.js";

/** Xen's public headers, as libxen-dev installs them. */
export const xenHeaders: HeaderSet = {
  name: "libxen-dev",
  defines: [
    "#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__",
    // Parameters that guests no longer have.
    "#define __XEN_TOOLS__",
  ],
  includes: [
    "xen/xen.h",
    "xen/arch-x86/cpuid.h",
    "xen/arch-x86/hvm/start_info.h",
    "xen/domctl.h",
    "xen/event_channel.h",
    "xen/features.h",
    "xen/grant_table.h",
    "xen/hvm/dm_op.h",
    "xen/hvm/hvm_op.h",
    "xen/hvm/hvm_vcpu.h",
    "xen/hvm/params.h",
    "xen/io/blkif.h",
    "xen/io/console.h",
    "xen/io/netif.h",
    "xen/io/xenbus.h",
    "xen/io/xs_wire.h",
    "xen/memory.h",
    "xen/platform.h",
    "xen/sched.h",
    "xen/sysctl.h",
    "xen/vcpu.h",
    "xen/version.h",
    "xen/errno.h",
  ],
  folders: [],
};

const VCPU_INFO = "struct vcpu_info";
const sharedInfo = (width: 32 | 64): Rules[string] => ({
  prefix: "",
  width,
  names: {
    evtchnPending: "offsetof(struct shared_info, evtchn_pending)",
    evtchnMask: "offsetof(struct shared_info, evtchn_mask)",
    wcVersion: "offsetof(struct shared_info, wc_version)",
    wcSec: "offsetof(struct shared_info, wc_sec)",
    wcNsec: "offsetof(struct shared_info, wc_nsec)",
    wcSecHi: `offsetof(struct shared_info, ${width === 64 ? "wc_sec_hi" : "arch.wc_sec_hi"})`,
    ports: "8 * sizeof(((struct shared_info *)0)->evtchn_pending)",
    selectorBits: "8 * sizeof(xen_ulong_t)",
  },
});
const runstate = (width: 32 | 64): Rules[string] => ({
  prefix: "",
  width,
  names: {
    size: "sizeof(struct vcpu_runstate_info)",
    state: "offsetof(struct vcpu_runstate_info, state)",
    stateEntryTime: "offsetof(struct vcpu_runstate_info, state_entry_time)",
    time: "offsetof(struct vcpu_runstate_info, time)",
  },
});
const schedPoll = (width: 32 | 64): Rules[string] => ({
  prefix: "",
  width,
  names: {
    size: "sizeof(struct sched_poll)",
    ports: "offsetof(struct sched_poll, ports)",
    nrPorts: "offsetof(struct sched_poll, nr_ports)",
    timeout: "offsetof(struct sched_poll, timeout)",
  },
});
const xencons = (field: string): string => `offsetof(struct xencons_interface, ${field})`;
const xenstore = (field: string): string => `offsetof(struct xenstore_domain_interface, ${field})`;
const sring = (field: string): string => `offsetof(struct blkif_sring, ${field})`;
const forWidths = (expression: string): Rules[string] => ({
  prefix: "",
  names: { 32: expression, 64: expression },
  widths: { 32: 32, 64: 64 },
});
const pvclock = (field: string): string => `offsetof(struct vcpu_time_info, ${field})`;

/** Names that came after Xen 4.17, whose headers Debian 12 has. */
export const xenNewer: readonly RegExp[] = [
  /^VCPUOP_register_(runstate|vcpu_time)_phys_area$/,
  /^XENFEAT_(runstate|vcpu_time)_phys_area$/,
  /^XENVER_(extraversion|capabilities|changeset|commandline)2$/,
];

/** By module of src/abi/xen. */
export const xenRules: Readonly<Record<string, Rules>> = {
  blkif: {
    BlkifOp: { prefix: "BLKIF_OP_" },
    BlkifRsp: { prefix: "BLKIF_RSP_" },
    Vdisk: { prefix: "VDISK_" },
    SECTOR_SIZE: { ours: "the header says it in words only" },
    blkif_request_head: { ours: "a part of a structure, whose whole is compared" },
    BLKIF_REQUEST_SIZE: forWidths("sizeof(struct blkif_request)"),
    BLKIF_REQUEST_SEGMENTS: forWidths("offsetof(struct blkif_request, seg)"),
    blkif_request_indirect_head: { ours: "a part of a structure, whose whole is compared" },
    BLKIF_REQUEST_INDIRECT_GREFS: forWidths(
      "offsetof(struct blkif_request_indirect, indirect_grefs)",
    ),
  },
  console: {
    Xencons: {
      prefix: "",
      names: {
        in: xencons("in"),
        IN_SIZE: "sizeof(((struct xencons_interface *)0)->in)",
        out: xencons("out"),
        OUT_SIZE: "sizeof(((struct xencons_interface *)0)->out)",
        in_cons: xencons("in_cons"),
        in_prod: xencons("in_prod"),
        out_cons: xencons("out_cons"),
        out_prod: xencons("out_prod"),
      },
    },
  },
  cpuid: {
    XEN_CPUID_SIGNATURE: {
      is: ["XEN_CPUID_SIGNATURE_EBX", "XEN_CPUID_SIGNATURE_ECX", "XEN_CPUID_SIGNATURE_EDX"],
    },
    XEN_CPUID_TSC_VTSC: { ours: "the header describes leaf 3 in words only" },
    XEN_CPUID_TSC_HOST_RELIABLE: { ours: "the header describes leaf 3 in words only" },
    XEN_CPUID_TSC_RDTSCP: { ours: "the header describes leaf 3 in words only" },
    XenHvmCpuid: { prefix: "XEN_HVM_CPUID_" },
  },
  control: {
    XEN_DOMCTL_INTERFACE_VERSION: { ours: "of Xen 4.17; every release has another one" },
    DM_OP_MAX_BUFFERS: { ours: "a limit inside Xen; the header states none" },
  },
  "event-channel": {
    Evtchnop: { prefix: "EVTCHNOP_" },
    Evtchnstat: { prefix: "EVTCHNSTAT_" },
    evtchn_port: { struct: "struct evtchn_close" },
    evtchn_status: {
      struct: "struct evtchn_status",
      fields: {},
    },
  },
  "grant-table": {
    Gnttabop: { prefix: "GNTTABOP_" },
    Gntst: { prefix: "GNTST_" },
    Gtf: { prefix: "GTF_" },
    Gntmap: { prefix: "GNTMAP_" },
    GRANT_ENTRIES_PER_FRAME_V1: { is: "4096 / sizeof(struct grant_entry_v1)" },
  },
  hvm: {
    Hvmop: { prefix: "HVMOP_" },
    HvmParam: { prefix: "HVM_PARAM_" },
    HvmCallbackType: { prefix: "HVM_PARAM_CALLBACK_TYPE_" },
    XEN_HVM_XENTRACE_EXTRA: { is: "sizeof(((struct xen_hvm_xentrace *)0)->extra)" },
    XEN_HVM_XENTRACE_EVENTS: { is: "1 << TRC_SUBCLS_SHIFT" },
  },
  "kvm-hypercalls": {
    KvmXenHypercall: {
      prefix: "__HYPERVISOR_",
      names: {
        SET_TIMER_OP: "__HYPERVISOR_set_timer_op",
        XEN_VERSION: "__HYPERVISOR_xen_version",
        VCPU_OP: "__HYPERVISOR_vcpu_op",
        SCHED_OP: "__HYPERVISOR_sched_op",
        EVENT_CHANNEL_OP: "__HYPERVISOR_event_channel_op",
      },
    },
    SCHED_POLL_64: schedPoll(64),
    SCHED_POLL_COMPAT: schedPoll(32),
    SCHED_POLL_MAX_PORTS: { ours: "a limit inside Xen and KVM; the header states none" },
    SINGLESHOT_TIMEOUT: { is: "offsetof(struct vcpu_set_singleshot_timer, timeout_abs_ns)" },
    SINGLESHOT_SIZE_64: { is: "sizeof(struct vcpu_set_singleshot_timer)", width: 64 },
    SINGLESHOT_SIZE_COMPAT: { is: "sizeof(struct vcpu_set_singleshot_timer)", width: 32 },
  },
  memory: {
    Xenmem: { prefix: "XENMEM_" },
    MEMOP_EXTENT_SHIFT: { ours: "inside Xen: where a preempted call goes on" },
    Xenmemf: { prefix: "XENMEMF_" },
    XENMEMF_ADDRESS_BITS: { is: "XENMEMF_get_address_bits(~0u)" },
    Xenmapspace: { prefix: "XENMAPSPACE_" },
    xen_domid: { struct: "domid_t", fields: { domid: undefined } },
  },
  pvclock: {
    pvclock_wall_clock: { ours: "in a header inside Linux only" },
    Pvclock: {
      prefix: "",
      names: {
        SIZE: "sizeof(struct vcpu_time_info)",
        VERSION: pvclock("version"),
        PAD0: pvclock("pad0"),
        TSC_TIMESTAMP: pvclock("tsc_timestamp"),
        SYSTEM_TIME: pvclock("system_time"),
        TSC_TO_SYSTEM_MUL: pvclock("tsc_to_system_mul"),
        TSC_SHIFT: pvclock("tsc_shift"),
        FLAGS: pvclock("flags"),
        PAD1: pvclock("pad1"),
        FLAG_TSC_STABLE: "XEN_PVCLOCK_TSC_STABLE_BIT",
        FLAG_GUEST_STOPPED: "XEN_PVCLOCK_GUEST_STOPPED",
      },
    },
  },
  netif: {
    Nettxf: { prefix: "NETTXF_" },
    Netrxf: { prefix: "NETRXF_" },
    XenNetifExtraType: { prefix: "XEN_NETIF_EXTRA_TYPE_" },
    XenNetifExtraFlag: { prefix: "XEN_NETIF_EXTRA_FLAG_" },
    XenNetifGsoType: { prefix: "XEN_NETIF_GSO_TYPE_" },
    NetifRsp: { prefix: "NETIF_RSP_" },
  },
  ring: {
    sring: { struct: "struct blkif_sring", end: "slots follow, which are of many kinds" },
    Sring: {
      prefix: "",
      names: {
        req_prod: sring("req_prod"),
        req_event: sring("req_event"),
        rsp_prod: sring("rsp_prod"),
        rsp_event: sring("rsp_event"),
        HEADER_SIZE: sring("ring"),
      },
    },
  },
  runstate: {
    Runstate: {
      prefix: "RUNSTATE_",
      names: {
        RUNNING: "RUNSTATE_running",
        RUNNABLE: "RUNSTATE_runnable",
        BLOCKED: "RUNSTATE_blocked",
        OFFLINE: "RUNSTATE_offline",
      },
    },
    RUNSTATE_64: runstate(64),
    RUNSTATE_COMPAT: runstate(32),
  },
  sched: {
    Schedop: { prefix: "SCHEDOP_" },
    Shutdown: { prefix: "SHUTDOWN_" },
    NR_DOMAIN_WATCHDOG_TIMERS: { ours: "a limit inside Xen; the header states none" },
  },
  "shared-info": {
    shared_info: { struct: "struct shared_info", width: 64 },
    compat_shared_info: { struct: "struct shared_info", width: 32 },
    SHARED_INFO_64: sharedInfo(64),
    SHARED_INFO_COMPAT: sharedInfo(32),
    MAX_VIRT_CPUS: { is: "XEN_LEGACY_MAX_VCPUS" },
  },
  vcpu: {
    Vcpuop: { prefix: "VCPUOP_" },
    vcpu_register_memory_area: {
      struct: "struct vcpu_register_time_memory_area",
      fields: { p: "addr.p" },
    },
    PERIODIC_TIMER_MIN_NS: { ours: "a limit inside Xen; the header states none" },
    PERIODIC_TIMER_MAX_NS: { ours: "a limit inside Xen; the header states none" },
  },
  "vcpu-info": {
    VcpuInfo: {
      prefix: "",
      names: {
        SIZE: `sizeof(${VCPU_INFO})`,
        EVTCHN_UPCALL_PENDING: `offsetof(${VCPU_INFO}, evtchn_upcall_pending)`,
        EVTCHN_UPCALL_MASK: `offsetof(${VCPU_INFO}, evtchn_upcall_mask)`,
        EVTCHN_PENDING_SEL_64: `offsetof(${VCPU_INFO}, evtchn_pending_sel)`,
        EVTCHN_PENDING_SEL_COMPAT: `offsetof(${VCPU_INFO}, evtchn_pending_sel)`,
        TIME: `offsetof(${VCPU_INFO}, time)`,
      },
      widths: { EVTCHN_PENDING_SEL_64: 64, EVTCHN_PENDING_SEL_COMPAT: 32 },
    },
  },
  version: {
    Xenver: { prefix: "XENVER_" },
    XEN_COMMANDLINE_LEN: { is: "sizeof(xen_commandline_t)" },
    xen_varbuf: { struct: "struct xen_build_id", fields: {} },
    XEN_ENOBUFS: { is: "XEN_ENOBUFS" },
  },
  xen: {
    Hypercall: { prefix: "__HYPERVISOR_" },
    Xenfeat: { prefix: "XENFEAT_" },
    Virq: { prefix: "VIRQ_" },
  },
  xenbus: { XenbusState: { prefix: "XenbusState" } },
  "xs-wire": {
    Xs: { prefix: "XS_" },
    XSD_SOCKMSG_SIZE: { is: "sizeof(struct xsd_sockmsg)" },
    xenstore_domain_interface: {
      struct: "struct xenstore_domain_interface",
      fields: { evtchn_port: undefined },
      end: "evtchn_port is newer than Xen 4.20",
    },
    XSD_ERRORS: { ours: "names, not numbers" },
    XenstoreInterface: {
      prefix: "",
      names: {
        req: xenstore("req"),
        rsp: xenstore("rsp"),
        req_cons: xenstore("req_cons"),
        req_prod: xenstore("req_prod"),
        rsp_cons: xenstore("rsp_cons"),
        rsp_prod: xenstore("rsp_prod"),
        server_features: xenstore("server_features"),
        connection: xenstore("connection"),
        error: xenstore("error"),
      },
      ours: { evtchn_port: "newer than Xen 4.20" },
    },
    XenstoreError: { prefix: "XENSTORE_ERROR_" },
  },
};

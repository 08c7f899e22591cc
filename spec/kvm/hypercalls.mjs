// @ts-check
/**
 * Hypercalls of a HVM guest, by Xen's names: who answers, and which errors a guest can see. What a
 * sub-operation table does not list answers -ENOSYS. tests/reference/hypercalls.test.ts calls every
 * number and sub-operation in both halves and compares.
 *
 * A row is [number, name, errors, note, kernel]: `errors` is null for what is not there (-ENOSYS), `kernel` the
 * condition under which KVM answers at CPL 0 without an exit.
 *
 * @typedef {[number: number, name: string, errors: string | null, note?: string, kernel?: string]} SubRow
 * @typedef {object} HypercallRow
 * @property {number} nr
 * @property {string} name as in `__HYPERVISOR_<name>`
 * @property {string} does
 * @property {string} [table] the table of src/abi/xen whose names the sub-operations have
 * @property {SubRow[]} [subs]
 * @property {string | null} [errors] of a call without sub-operations; null: not there
 * @property {string} [kernel]
 */

const TIMER = "the vCPU's TIMER port is not 0";

/** @type {HypercallRow[]} */
export const HYPERCALLS = [
  { nr: 7, name: "platform_op", does: "dom0's machine control", errors: "EFAULT, EACCES, EPERM" },
  {
    nr: 12,
    name: "memory_op",
    does: "guest-physical memory",
    table: "Xenmem",
    subs: [
      [
        0,
        "increase_reservation",
        "none; gives the number of extents done",
        "more pages: refused for want of them",
      ],
      [1, "decrease_reservation", "none; gives the number of extents done", "gives pages back"],
      [2, "maximum_ram_page", "none", "the first frame above all RAM"],
      [3, "current_reservation", "EFAULT, EPERM, ESRCH"],
      [4, "maximum_reservation", "EFAULT, EPERM, ESRCH"],
      [6, "populate_physmap", "none; gives the number of extents done", "takes pages again"],
      [
        7,
        "add_to_physmap",
        "EFAULT, ESRCH, EINVAL, ENOMEM, EPERM, EOPNOTSUPP, ENOSYS (space)",
        "shared_info and grant frames",
      ],
      [9, "memory_map", "EFAULT", "the map of start_info"],
      [
        11,
        "exchange",
        "EFAULT, EPERM, ESRCH, EINVAL, EOPNOTSUPP",
        "for guests that manage machine frames: never done",
      ],
      [14, "maximum_gpfn", "EFAULT, EPERM, ESRCH"],
      [15, "remove_from_physmap", "EFAULT, ESRCH, ENOENT"],
      [
        23,
        "add_to_physmap_batch",
        "EFAULT, ESRCH, EDOM, EILSEQ (where to go on); one error per entry",
      ],
      [28, "acquire_resource", "EPERM", "for tools"],
    ],
  },
  {
    nr: 13,
    name: "multicall",
    does: "several hypercalls in one",
    errors: "EFAULT",
  },
  {
    nr: 15,
    name: "set_timer_op",
    does: "arms the vCPU's timer, absolute nanoseconds; 0 stops it",
    errors: "none",
    kernel: TIMER,
  },
  {
    nr: 17,
    name: "xen_version",
    does: "what this Xen is",
    table: "Xenver",
    subs: [
      [0, "version", "none", "", "XEN_VERSION is not 0"],
      [1, "extraversion", "EFAULT"],
      [2, "compile_info", "EFAULT"],
      [3, "capabilities", "EFAULT"],
      [4, "changeset", "EFAULT"],
      [5, "platform_parameters", "EFAULT"],
      [6, "get_features", "EFAULT, EINVAL", "submap 0 only"],
      [7, "pagesize", "EINVAL"],
      [8, "guest_handle", "EFAULT"],
      [9, "commandline", "EFAULT"],
      [10, "build_id", "ENODATA", "there is none"],
      [11, "extraversion2", "EFAULT, ENOBUFS"],
      [12, "capabilities2", "EFAULT, ENOBUFS"],
      [13, "changeset2", "EFAULT, ENOBUFS"],
      [14, "commandline2", "EFAULT, ENOBUFS"],
    ],
  },
  {
    nr: 18,
    name: "console_io",
    does: "early console: writes go to the log, reads give nothing",
    errors: "EFAULT, ENOSYS (other commands)",
  },
  {
    nr: 20,
    name: "grant_table_op",
    does: "grant table, version 1; most errors are in the `status` of each element; commands that Xen keeps from HVM guests answer ENOSYS",
    table: "Gnttabop",
    subs: [
      [
        0,
        "map_grant_ref",
        "EFAULT, EINVAL",
        "status only: there is no other guest whose memory could be mapped",
      ],
      [1, "unmap_grant_ref", "EFAULT, EINVAL", "status bad_handle"],
      [2, "setup_table", "EFAULT, EINVAL"],
      [3, "dump_table", null],
      [4, "transfer", null],
      [5, "copy", "EFAULT, EINVAL"],
      [6, "query_size", "EFAULT, EINVAL"],
      [7, "unmap_and_replace", null],
      [8, "set_version", "EFAULT, EINVAL, ENOSYS (2)", "answers 1"],
      [9, "get_status_frames", null],
      [10, "get_version", "EFAULT, EPERM, ESRCH"],
      [11, "swap_grant_ref", "EFAULT, EINVAL"],
      [12, "cache_flush", null],
    ],
  },
  {
    nr: 21,
    name: "vm_assist",
    does: "the runstate update flag; other assists are for PV guests",
    errors: "EINVAL (type), ENOSYS (command)",
  },
  {
    nr: 24,
    name: "vcpu_op",
    does: "of a vCPU, by its Xen id; ENOENT for an id that is not there",
    table: "Vcpuop",
    subs: [
      [0, "initialise", "EFAULT, EEXIST, EINVAL"],
      [1, "up", "EINVAL"],
      [2, "down", "none"],
      [3, "is_up", "none"],
      [4, "get_runstate_info", "EFAULT"],
      [5, "register_runstate_memory_area", "EFAULT", "guest-virtual address, translated once"],
      [6, "set_periodic_timer", "EFAULT, EINVAL (below 1 ms)"],
      [7, "stop_periodic_timer", "none"],
      [
        8,
        "set_singleshot_timer",
        "EFAULT, EINVAL (another vCPU)",
        "a deadline in the past fires at once",
        TIMER,
      ],
      [9, "stop_singleshot_timer", "EINVAL (another vCPU)", "", TIMER],
      [10, "register_vcpu_info", "EFAULT, EINVAL, EBUSY, ENXIO"],
      [11, "send_nmi", "EINVAL"],
      [12, "get_physid", "EINVAL", "vCPUs are not pinned"],
      [13, "register_vcpu_time_memory_area", "EFAULT", "within one page"],
      [14, "register_runstate_phys_area", "EFAULT, EINVAL, ENXIO"],
      [15, "register_vcpu_time_phys_area", "EFAULT, EINVAL, ENXIO"],
    ],
  },
  { nr: 26, name: "mmuext_op", does: "page tables of PV guests", errors: null },
  {
    nr: 29,
    name: "sched_op",
    does: "scheduling and shutdown",
    table: "Schedop",
    subs: [
      [0, "yield", "none", "", "always"],
      [1, "block", "none"],
      [2, "shutdown", "EFAULT, EINVAL"],
      [
        3,
        "poll",
        "EFAULT, EINVAL",
        "may return early",
        "always: waits with an in-kernel LAPIC and the EVTCHN_SEND flag, else yields",
      ],
      [4, "remote_shutdown", "EPERM", "for tools"],
      [5, "shutdown_code", "EFAULT"],
      [6, "watchdog", "EFAULT, EINVAL, ENOSPC"],
      [7, "pin_override", "EPERM", "for dom0"],
    ],
  },
  {
    nr: 32,
    name: "event_channel_op",
    does: "2-level event channels",
    table: "Evtchnop",
    subs: [
      [0, "bind_interdomain", "EFAULT, ESRCH, EINVAL, ENOSPC"],
      [1, "bind_virq", "EFAULT, EINVAL, ENOENT, EEXIST, ENOSPC"],
      [
        2,
        "bind_pirq",
        "EFAULT, EINVAL, EEXIST, ENOSPC",
        "bound as by Xen; a PVH domain's physical interrupts never come",
      ],
      [3, "close", "EFAULT, EINVAL"],
      [
        4,
        "send",
        "EFAULT, EINVAL",
        "",
        "the port is in the EVTCHN table and its target can be reached",
      ],
      [5, "status", "EFAULT, ESRCH, EINVAL"],
      [6, "alloc_unbound", "EFAULT, ESRCH, ENOSPC"],
      [7, "bind_ipi", "EFAULT, ENOENT, ENOSPC"],
      [8, "bind_vcpu", "EFAULT, ENOENT, EINVAL"],
      [9, "unmask", "EFAULT, EINVAL"],
      [10, "reset", "EFAULT, ESRCH"],
      [11, "init_control", null, "FIFO; guests go on with 2-level"],
      [12, "expand_array", "EFAULT, EOPNOTSUPP", "as Xen before init_control"],
      [13, "set_priority", "EFAULT, EINVAL, ENOSYS", "as Xen on 2-level channels"],
    ],
  },
  {
    nr: 33,
    name: "physdev_op",
    does: "physical interrupts and devices; a PVH domain has none",
    errors: null,
  },
  {
    nr: 34,
    name: "hvm_op",
    does: "HVM parameters",
    table: "Hvmop",
    subs: [
      [0, "set_param", "EFAULT, EINVAL, ESRCH, EPERM, EEXIST"],
      [1, "get_param", "EFAULT, EINVAL, ESRCH, EPERM"],
      [5, "flush_tlbs", "EINVAL"],
      [9, "pagetable_dying", "EFAULT, ESRCH, EINVAL", "for shadow page tables"],
      [10, "get_time", "EFAULT"],
      [11, "xentrace", "EFAULT, EINVAL", "tracing is off"],
      [15, "get_mem_type", "EFAULT, ESRCH"],
      [23, "set_evtchn_upcall_vector", "EFAULT, EINVAL (below 0x10), ENOENT"],
      [24, "guest_request_vm_event", "EINVAL", "nobody listens"],
      [25, "altp2m", "EOPNOTSUPP", "on Intel's processors only"],
    ],
  },
  { nr: 35, name: "sysctl", does: "tools", errors: "EFAULT, EACCES, EPERM" },
  { nr: 36, name: "domctl", does: "tools", errors: "EFAULT, EACCES, ESRCH, EPERM" },
  { nr: 39, name: "argo_op", does: "Argo, which Xen is built without as a rule", errors: null },
  { nr: 40, name: "xenpmu_op", does: "performance counters", errors: "EOPNOTSUPP" },
  { nr: 41, name: "dm_op", does: "device models", errors: "E2BIG, EFAULT, EPERM, ESRCH, EINVAL" },
  { nr: 42, name: "hypfs_op", does: "hypervisor file system", errors: "EPERM" },
];

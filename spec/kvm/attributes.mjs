// @ts-check
/**
 * The Xen attributes of VMs and vCPUs. Each claim is a scenario step with its answer. What Linux 6.12
 * answered is in attributes.out (record.mjs asks); tests/reference/attributes.test.ts compares claims,
 * Linux and this library. `N` in a claim's step is the row's number.
 *
 * @typedef {[when: string, step: string, answer: string]} Claim
 * @typedef {object} AttributeRow
 * @property {"hvm" | "vcpu"} of
 * @property {string} name without KVM_XEN_ATTR_TYPE_ or KVM_XEN_VCPU_ATTR_TYPE_
 * @property {number} type
 * @property {string} value the member of the union, unit and range
 * @property {string} does
 * @property {string} initial
 * @property {Claim[]} claims in order, on one VM
 * @property {string[]} [notes]
 */

/** @param {bigint | number} value little-endian, `bytes` of it */
const hex = (value, bytes = 8) =>
  Array.from({ length: bytes }, (_, i) =>
    ((BigInt(value) >> BigInt(8 * i)) & 255n).toString(16).padStart(2, "0"),
  ).join("");
const ALL = "ff".repeat(8);
/** @param {number[]} words u32 each */
const words = (...words) => words.map((word) => hex(word, 4)).join("");
const PRIO = 0xffffffff;

/** Steps before the claims of a row. */
export const SETUP = [
  "vm",
  "irqchip",
  "slot 0 0 0x200000",
  "slot 1 0xc0000000 0x8000 1",
  "vcpu 0",
  "config 0x22 0x40000000",
];

/** @type {AttributeRow[]} */
export const ATTRIBUTES = [
  {
    of: "hvm",
    name: "LONG_MODE",
    type: 0,
    value: "`long_mode`, u8: 0 for the 32-bit layouts, anything else for the 64-bit ones",
    does: "Says which layout shared_info, vcpu_info and runstate areas have, and how many ports there are: 1024 or 4096.",
    initial: "0",
    claims: [
      ["any value", "hvm set N 02", "0"],
      ["shared_info set, its page there", `hvm set SHARED_INFO ${hex(0xc0000)}`, "0"],
      ["the mode again", "hvm set N 00", "0"],
    ],
    notes: [
      "Read as 0 or 1.",
      "Also latched by the write of the hypercall page MSR, from EFER.LMA of the vCPU that writes.",
      "Rewrites the wallclock when shared_info is set; old bitmaps and the old wallclock stay in the page.",
    ],
  },
  {
    of: "hvm",
    name: "SHARED_INFO",
    type: 1,
    value: "`shared_info.gfn`, u64: guest frame; all ones (KVM_XEN_INVALID_GFN) for none",
    does: "Places shared_info and writes the wallclock there.",
    initial: "all ones",
    claims: [
      ["a frame in a slot", `hvm set N ${hex(0xc0000)}`, "0"],
      ["a frame in no slot", `hvm set N ${hex(0x12345)}`, "-EFAULT"],
      ["all ones", `hvm set N ${ALL}`, "0"],
    ],
    notes: [
      "After a refused set the new frame is remembered, and used once there is memory.",
      "Never places vcpu_info: the default one inside shared_info has to be set too.",
      "Exempt from dirty logging.",
    ],
  },
  {
    of: "hvm",
    name: "UPCALL_VECTOR",
    type: 2,
    value: "`vector`, u8: 0 for none, or 0x10 to 0xff",
    does: "The vector that tells of events, injected without the local APIC while evtchn_upcall_pending is set.",
    initial: "0",
    claims: [
      ["a vector", "hvm set N f3", "0"],
      ["0x0f", "hvm set N 0f", "-EINVAL"],
      ["0", "hvm set N 00", "0"],
    ],
  },
  {
    of: "hvm",
    name: "EVTCHN",
    type: 3,
    value:
      "`evtchn`: send_port, type (EVTCHNSTAT_ipi or _interdomain), flags, deliver.port {port, vcpu, priority} or deliver.eventfd {0, fd}",
    does: "What EVTCHNOP_send of a port does inside the kernel: raises a port of a vCPU, or signals an eventfd.",
    initial: "no entries",
    claims: [
      ["reading", "hvm get N", "-ENOENT"],
      ["an interdomain port", `hvm set N ${words(7, 2, 0, 15, 0, PRIO)}`, "0"],
      ["a port that has an entry", `hvm set N ${words(7, 2, 0, 15, 0, PRIO)}`, "-EEXIST"],
      ["a vCPU that does not exist", `hvm set N ${words(8, 2, 0, 15, 9, PRIO)}`, "0"],
      ["send_port 0", `hvm set N ${words(0, 2, 0, 15, 0, PRIO)}`, "-EINVAL"],
      [
        "send_port beyond the mode's ports",
        `hvm set N ${words(1024, 2, 0, 15, 0, PRIO)}`,
        "-EINVAL",
      ],
      [
        "target port beyond the mode's ports",
        `hvm set N ${words(9, 2, 0, 1024, 0, PRIO)}`,
        "-EINVAL",
      ],
      ["another priority than 0xffffffff", `hvm set N ${words(9, 2, 0, 15, 0, 0)}`, "-EINVAL"],
      ["IPI to another port than its own", `hvm set N ${words(9, 5, 0, 15, 0, PRIO)}`, "-EINVAL"],
      ["an unbound port", `hvm set N ${words(9, 1, 0, 15, 0, PRIO)}`, "-EINVAL"],
      ["several flags at once", `hvm set N ${words(7, 2, 3, 15, 0, PRIO)}`, "-EINVAL"],
      ["UPDATE of the vCPU", `hvm set N ${words(7, 2, 2, 15, 1, PRIO)}`, "0"],
      ["UPDATE of the port", `hvm set N ${words(7, 2, 2, 16, 0, PRIO)}`, "-EINVAL"],
      ["UPDATE of no entry", `hvm set N ${words(9, 2, 2, 15, 0, PRIO)}`, "-ENOENT"],
      ["DEASSIGN", `hvm set N ${words(7, 2, 1, 0, 0, 0)}`, "0"],
      ["DEASSIGN of no entry", `hvm set N ${words(7, 2, 1, 0, 0, 0)}`, "-ENOENT"],
      ["RESET, whatever the port", `hvm set N ${words(0, 0, 4, 0, 0, 0)}`, "0"],
    ],
    notes: [
      "The table cannot be read: a client keeps its own.",
      "A bad descriptor is EBADF, one that is no eventfd EINVAL.",
    ],
  },
  {
    of: "hvm",
    name: "XEN_VERSION",
    type: 4,
    value: "`xen_version`, u32: (major << 16) | minor; 0 leaves XENVER_version to the client",
    does: "What XENVER_version answers inside the kernel.",
    initial: "0",
    claims: [["any value", `hvm set N ${words(0x40011)}`, "0"]],
  },
  {
    of: "hvm",
    name: "RUNSTATE_UPDATE_FLAG",
    type: 5,
    value: "`runstate_update_flag`, u8: 0 or not 0",
    does: "Whether runstate areas announce their updates in bit 63 of state_entry_time.",
    initial: "0",
    claims: [["any value", "hvm set N 02", "0"]],
    notes: ["Areas are not rewritten at once."],
  },
  {
    of: "hvm",
    name: "SHARED_INFO_HVA",
    type: 6,
    value: "`shared_info.hva`, u64: address in the client, a multiple of 4096; 0 for none",
    does: "As SHARED_INFO, by the client's address, which survives changes of memory slots.",
    initial: "0",
    claims: [
      ["a page of the client", "hvm set N @0xc0000000", "0"],
      ["not at a page's start", "hvm set N @0xc0000008", "-EINVAL"],
      ["no page of the client", "hvm set N 0010000000000000", "-EFAULT"],
      ["beyond the user's addresses", "hvm set N 00f0ffffffffffff", "-EINVAL"],
      ["0", `hvm set N ${hex(0)}`, "0"],
    ],
    notes: ["SHARED_INFO and SHARED_INFO_HVA replace each other; the other one reads as not set."],
  },
  {
    of: "vcpu",
    name: "VCPU_INFO",
    type: 0,
    value: "`gpa`, u64: 64 bytes within a page; all ones (KVM_XEN_INVALID_GPA) for none",
    does: "Places vcpu_info. Its pvclock is written when the vCPU enters next.",
    initial: "all ones",
    claims: [
      ["in a slot", `v0 set N ${hex(0xc0000040)}`, "0"],
      ["across a page's end", `v0 set N ${hex(0xc0000fc4)}`, "-EINVAL"],
      ["not aligned by 4", `v0 set N ${hex(0xc0000fc1)}`, "-ENXIO"],
      ["in no slot", `v0 set N ${hex(0x12345000)}`, "-EFAULT"],
      ["all ones", `v0 set N ${ALL}`, "0"],
    ],
    notes: [
      "Events that come while it is not there wait in the kernel, and keep the vCPU from sleeping.",
    ],
  },
  {
    of: "vcpu",
    name: "VCPU_TIME_INFO",
    type: 1,
    value: "`gpa`, u64: 32 bytes within a page; all ones for none",
    does: "A second pvclock area.",
    initial: "all ones",
    claims: [
      ["in a slot", `v0 set N ${hex(0xc0000040)}`, "0"],
      ["across a page's end", `v0 set N ${hex(0xc0000fe1)}`, "-EINVAL"],
      ["in no slot", `v0 set N ${hex(0x12345000)}`, "-EFAULT"],
      ["all ones", `v0 set N ${ALL}`, "0"],
    ],
  },
  {
    of: "vcpu",
    name: "RUNSTATE_ADDR",
    type: 2,
    value:
      "`gpa`, u64: 48 bytes (44 in the 32-bit layout), which may lie on two pages; all ones for none",
    does: "The runstate area; written at once, and at each change of state.",
    initial: "not set",
    claims: [
      ["reading while it is not set", "v0 get N", "-ENOENT"],
      ["on two pages", `v0 set N ${hex(0xc0000ff1)}`, "0"],
      ["in no slot", `v0 set N ${hex(0x12345000)}`, "-EFAULT"],
      ["second page in no slot", `v0 set N ${hex(0xc0007ff1)}`, "-EFAULT"],
      ["reading after a refused set", "v0 get N", "-ENOENT"],
      ["all ones", `v0 set N ${ALL}`, "0"],
    ],
    notes: ["A refused set switches off what was set before."],
  },
  {
    of: "vcpu",
    name: "RUNSTATE_CURRENT",
    type: 3,
    value: "`runstate.state`, u64: 0 running, 1 runnable, 2 blocked, 3 offline",
    does: "Changes the state now; the time since the last change goes to the old state.",
    initial: "0",
    claims: [
      ["a state", `v0 set N ${hex(2)}`, "0"],
      ["4", `v0 set N ${hex(4)}`, "-EINVAL"],
    ],
  },
  {
    of: "vcpu",
    name: "RUNSTATE_DATA",
    type: 4,
    value: "`runstate`: state, state_entry_time and four times, u64 ns each",
    does: "Sets everything; for restoring a vCPU.",
    initial: "all 0",
    claims: [
      [
        "times that add up to state_entry_time",
        `v0 set N ${hex(1)}${hex(10)}${hex(1)}${hex(2)}${hex(3)}${hex(4)}`,
        "0",
      ],
      [
        "times that do not",
        `v0 set N ${hex(1)}${hex(10)}${hex(1)}${hex(2)}${hex(3)}${hex(5)}`,
        "-EINVAL",
      ],
      ["state 4", `v0 set N ${hex(4)}${hex(10)}${hex(1)}${hex(2)}${hex(3)}${hex(4)}`, "-EINVAL"],
      [
        "state_entry_time in the future",
        `v0 set N ${hex(0)}${hex(1n << 62n)}${hex(1n << 62n)}${hex(0)}${hex(0)}${hex(0)}`,
        "-EINVAL",
      ],
    ],
    notes: ["The guest's area is not rewritten before the next change of state."],
  },
  {
    of: "vcpu",
    name: "RUNSTATE_ADJUST",
    type: 5,
    value:
      "`runstate`: differences, u64 modulo 2^64; state as RUNSTATE_CURRENT, or all ones to keep it",
    does: "Adds to the times, and then changes the state; for downtime after a migration.",
    initial: "cannot be read",
    claims: [
      ["reading", "v0 get N", "-EINVAL"],
      ["differences that add up, state kept", `v0 set N ${ALL}${hex(0).repeat(5)}`, "0"],
      ["differences that do not", `v0 set N ${ALL}${hex(1)}${hex(0).repeat(4)}`, "-EINVAL"],
      ["state 4", `v0 set N ${hex(4)}${hex(0).repeat(5)}`, "-EINVAL"],
    ],
  },
  {
    of: "vcpu",
    name: "VCPU_ID",
    type: 6,
    value: "`vcpu_id`, u32: below the largest number of vCPUs (4096 as Debian builds Linux)",
    does: "The Xen vCPU id by which the timer operations of vcpu_op name this vCPU.",
    initial: "0, for every vCPU",
    claims: [
      ["an id", `v0 set N ${words(5)}`, "0"],
      ["4096", `v0 set N ${words(4096)}`, "-EINVAL"],
    ],
    notes: ["Two vCPUs may have the same id."],
  },
  {
    of: "vcpu",
    name: "TIMER",
    type: 7,
    value:
      "`timer`: port u32 (0 leaves timers to the client), priority u32, expires_ns u64 (kvmclock; 0 for not armed)",
    does: "The port that timer hypercalls raise, and the timer itself; for saving and restoring.",
    initial: "port 0, not armed",
    claims: [
      ["a port", `v0 set N ${words(3, PRIO)}${hex(0)}`, "0"],
      ["another priority than 0xffffffff", `v0 set N ${words(3, 0)}${hex(0)}`, "-EINVAL"],
      ["port 0, whatever the priority", `v0 set N ${words(0, 0)}${hex(0)}`, "0"],
      ["a port beyond all", `v0 set N ${words(5000, PRIO)}${hex(0)}`, "0"],
    ],
    notes: ["A deadline in the past fires inside the call.", "Reading delivers what is due first."],
  },
  {
    of: "vcpu",
    name: "UPCALL_VECTOR",
    type: 8,
    value: "`vector`, u8: 0 for none, or 0x10 to 0xff",
    does: "The vector that tells of this vCPU's events, through its local APIC: the guest acknowledges it there.",
    initial: "0",
    claims: [
      ["a vector", "v0 set N f3", "0"],
      ["0x0f", "v0 set N 0f", "-EINVAL"],
      ["0", "v0 set N 00", "0"],
    ],
    notes: ["An event that is already pending is not told again."],
  },
  {
    of: "vcpu",
    name: "VCPU_INFO_HVA",
    type: 9,
    value: "`hva`, u64: address in the client, 64 bytes within a page; 0 for none",
    does: "As VCPU_INFO, by the client's address.",
    initial: "0",
    claims: [
      ["in the client", "v0 set N @0xc0000040", "0"],
      ["across a page's end", "v0 set N @0xc0000fc4", "-EINVAL"],
      ["not aligned by 4", "v0 set N @0xc0000041", "-ENXIO"],
      ["0", `v0 set N ${hex(0)}`, "0"],
    ],
    notes: ["VCPU_INFO and VCPU_INFO_HVA replace each other; the other one reads as not set."],
  },
];

/** The scenario step of a claim. @param {AttributeRow} row @param {Claim} claim */
export const stepOf = (row, [, step]) => step.replace(" N", ` ${row.type}`);

/** The claims of a row as a scenario file. @param {AttributeRow} row */
export function rowScenario(row) {
  const lines = [
    `# ${row.of} ${row.name}`,
    ...SETUP,
    `${row.of === "hvm" ? "hvm" : "v0"} get ${row.type}`,
    ...row.claims.map((claim) => stepOf(row, claim)),
  ];
  return `${lines.join("\n")}\n`;
}

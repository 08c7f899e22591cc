// @ts-check
/**
 * What Linux does about Xen and its documentation (api.rst: `Documentation/virt/kvm/api.rst`, or Xen's
 * public headers) says otherwise or leaves open. Each is a scenario. Linux 6.12's answers are in
 * quirks.out (record.mjs asks), and docs/QUIRKS.md shows both. tests/reference/quirks.test.ts plays them.
 *
 * @typedef {object} Quirk
 * @property {string} title
 * @property {string} says what documentation says, or leaves open
 * @property {string} does what Linux does
 * @property {string[]} [setUp] instead of SETUP
 * @property {string[]} steps
 */

/** Steps before those of most quirks: two vCPUs, 64-bit layout, hypercalls intercepted. */
export const SETUP = [
  "vm",
  "irqchip",
  "slot 0 0 0x200000",
  "slot 1 0xc0000000 0x8000 1",
  "vcpu 0",
  "vcpu 1",
  "config 0x22 0x40000000",
  "hvm set LONG_MODE 01",
];

/** @param {bigint | number} value little-endian, `bytes` of it */
const hex = (value, bytes = 8) =>
  Array.from({ length: bytes }, (_, i) =>
    ((BigInt.asUintN(64, BigInt(value)) >> BigInt(8 * i)) & 255n).toString(16).padStart(2, "0"),
  ).join("");
/** @param {number[]} list u32 each */
const words = (...list) => list.map((word) => hex(word, 4)).join("");
const ALL = "ff".repeat(8);
const PRIO = 0xffffffff;
/** The evtchn member: an interdomain port. @param {number} send @param {number} flags */
const evtchn = (send, flags, port = 15, vcpu = 0, priority = PRIO) =>
  `hvm set EVTCHN ${words(send, 2, flags, port, vcpu, priority)}`;

/** Machine code: a hypercall with RDI, RSI and RDX, whose result goes to port 0x10. */
const hypercall = (/** @type {number} */ nr, /** @type {(bigint | number)[]} */ ...args) =>
  `b8${hex(nr, 4)}${args.map((value, i) => ["48bf", "48be", "48ba"][i] + hex(value)).join("")}0f01d9e710`;
const HLT = "f4";
/** Puts code at 0x1000 and a 64-bit vCPU there. @param {string[]} code */
const program = (...code) => ["v0 mode64", `poke 0x1000 ${code.join("")}`, "v0 regs rip=0x1000"];
const PAGES = [`hvm set SHARED_INFO ${hex(0xc0000)}`, `v0 set VCPU_INFO ${hex(0xc0000040)}`];

/** @type {Quirk[]} */
export const QUIRKS = [
  {
    title: "The priority of an event channel route",
    says: "api.rst 4.52 names KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL (0x10) as the only priority that is supported.",
    does: "It has to be KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL (0xffffffff).",
    steps: ["routing 24:15:0:16", "routing 24:15:0:4294967295", "evtchn_send 15 0 0x10"],
  },
  {
    title: "A GSI has one event channel",
    says: "Open.",
    does: "A GSI with an event channel has no second route of any kind.",
    steps: [
      "routing 24:15:0:4294967295 24:16:0:4294967295",
      "routing 24:15:0:4294967295 25:15:0:4294967295",
    ],
  },
  {
    title: "Flags of KVM_XEN_HVM_CONFIG",
    says: "api.rst 4.28 has two flags, and says that there are no others.",
    does: "PVCLOCK_TSC_UNSTABLE (0x80) is a third. The other bits of the capability are refused, HYPERCALL_MSR (1) among them.",
    steps: [
      "config 0x80 0x40000000",
      "config 0xa2 0x40000000",
      "config 0x1 0x40000000",
      "config 0x4 0x40000000",
    ],
  },
  {
    title: "A ninth bit of the capability",
    says: "api.rst 8.30 lists eight flags of KVM_CAP_XEN_HVM.",
    does: "SHARED_INFO_HVA (0x100) is there too; api.rst 4.126 speaks of it.",
    setUp: [],
    steps: ["cap 38"],
  },
  {
    title: "Any MSR may be the hypercall page MSR",
    says: "api.rst 4.28 does not limit it. Newer kernels do: to 0x40000000 to 0x4fffffff.",
    does: "Even a register that the processor has, such as the TSC (0x10).",
    steps: ["config 0x2 0x10", "config 0x2 0xffffffff", "config 0x2 0"],
  },
  {
    title: "The client's own write of the MSR fills the page",
    says: 'api.rst 4.28: the page is written "when the guest writes the MSR".',
    does: "KVM_SET_MSRS does it too, and latches LONG_MODE. Newer kernels ignore the client.",
    steps: [
      "v0 mode64",
      "hvm set LONG_MODE 00",
      "v0 msr 0x40000000 0x10000",
      "peek 0x10000 16",
      "hvm get LONG_MODE",
    ],
  },
  {
    title: "The hypercall page takes the VM back to the 32-bit layout",
    says: "api.rst 4.28 has the vCPU's mode choose a blob; it does not speak of LONG_MODE.",
    does: "Each write stores EFER.LMA of that vCPU as LONG_MODE, also from 1 back to 0.",
    steps: [
      "v0 mode64",
      "v0 msr 0x40000000 0x10000",
      "hvm get LONG_MODE",
      "v0 mode32",
      "v0 msr 0x40000000 0x10000",
      "hvm get LONG_MODE",
    ],
  },
  {
    title: "Reading the hypercall page MSR",
    says: "Open.",
    does: "Xen's part of KVM does not answer. 0x40000000 is read as Hyper-V's MSR of that number: 0 for a client.",
    steps: ["v0 msr 0x40000000 0x10000", "v0 msr 0x40000000"],
  },
  {
    title: "Attributes without KVM_XEN_HVM_CONFIG",
    says: "Open.",
    does: "All attributes, and KVM_XEN_HVM_EVTCHN_SEND, work before KVM_XEN_HVM_CONFIG; upcalls, hypercalls and runstates do not.",
    setUp: ["vm", "irqchip", "slot 1 0xc0000000 0x8000 1", "vcpu 0"],
    steps: [...PAGES, "evtchn_send 15 0 0xffffffff", "peek 0xc0000800 8", "peek 0xc0000040 8"],
  },
  {
    title: "An unknown attribute",
    says: 'api.rst 4.126 to 4.129: "< 0 on error".',
    does: "ENOENT, for reading and for setting.",
    steps: ["hvm set 7", "hvm get 7", "v0 set 10", "v0 get 10"],
  },
  {
    title: "Reading what is not set",
    says: "Open.",
    does: "Pages that are not set read as all ones, addresses as 0, but RUNSTATE_ADDR gives ENOENT.",
    steps: [
      "hvm get SHARED_INFO",
      "hvm get SHARED_INFO_HVA",
      "v0 get VCPU_INFO",
      "v0 get RUNSTATE_ADDR",
    ],
  },
  {
    title: "A refused SHARED_INFO is kept",
    says: "Open.",
    does: "The call fails, the frame is read back all the same, and events find it once there is memory.",
    steps: [
      `hvm set SHARED_INFO ${hex(0x12345)}`,
      "hvm get SHARED_INFO",
      "evtchn_send 15 0 0xffffffff",
      "slot 2 0x12345000 0x1000",
      "evtchn_send 15 0 0xffffffff",
      "peek 0x12345800 8",
    ],
  },
  {
    title: "A refused RUNSTATE_ADDR drops the old area",
    says: "Open.",
    does: "The area that was set before is gone.",
    steps: [
      `v0 set RUNSTATE_ADDR ${hex(0xc0001000)}`,
      `v0 set RUNSTATE_ADDR ${hex(0x12345000)}`,
      "v0 get RUNSTATE_ADDR",
    ],
  },
  {
    title: "LONG_MODE is stored although the call fails",
    says: "Open.",
    does: "The new mode is stored first; then the wallclock is written, whose failure is the answer.",
    steps: [PAGES[0] ?? "", "slot 1 0xc0000000 0", "hvm set LONG_MODE 00", "hvm get LONG_MODE"],
  },
  {
    title: "Frames beyond the address width",
    says: "Open.",
    does: "The bits of a frame number that leave 64 bits as an address are lost, and the call succeeds.",
    steps: [`hvm set SHARED_INFO ${hex(0x10_0000_000c_0000n)}`, "hvm get SHARED_INFO"],
  },
  {
    title: "Alignment of addresses",
    says: "Open.",
    does: "SHARED_INFO_HVA has to be the start of a page, vcpu_info a multiple of 4: else ENXIO, before anything else.",
    steps: [
      "hvm set SHARED_INFO_HVA @0xc0000008",
      "v0 set VCPU_INFO_HVA @0xc0000041",
      "v0 set VCPU_INFO_HVA @0xc0000044",
      `v0 set VCPU_INFO ${hex(0xc0000041)}`,
      `v0 set VCPU_INFO ${hex(0xc0000044)}`,
      `v0 set VCPU_INFO ${hex(0xc0000fc1)}`,
      `v0 set VCPU_INFO ${hex(0xc0000fc4)}`,
    ],
  },
  {
    title: "The Xen vCPU id at first",
    says: "Open.",
    does: "0 for every vCPU, whatever its number.",
    steps: ["v0 get VCPU_ID", "v1 get VCPU_ID"],
  },
  {
    title: "Two vCPUs with the same Xen vCPU id",
    says: "Open.",
    does: "Nobody minds.",
    steps: ["v0 set VCPU_ID 03000000", "v1 set VCPU_ID 03000000"],
  },
  {
    title: "UPDATE of a priority",
    says: "api.rst 4.126: vCPU and priority of an entry can be changed.",
    does: "Only to the priority that it has, as there is only one.",
    steps: [evtchn(7, 0), evtchn(7, 2, 15, 1), evtchn(7, 2, 15, 1, 0)],
  },
  {
    title: "Entries for vCPUs that do not exist",
    says: "Open.",
    does: "They are accepted. A send through one goes to the client as an exit.",
    steps: [
      ...PAGES,
      evtchn(7, 0, 15, 9),
      "poke 0x9000 07000000",
      ...program(hypercall(32, 4, 0x9000), HLT),
      "v0 run",
    ],
  },
  {
    title: "Ports that the 32-bit layout does not have",
    says: "Open.",
    does: "Made in the 64-bit layout, entries of ports from 1024 on stay, and only RESET removes them.",
    steps: [
      evtchn(2000, 0),
      "hvm set LONG_MODE 00",
      evtchn(2000, 1),
      evtchn(2000, 4),
      "hvm set LONG_MODE 01",
      evtchn(2000, 1),
    ],
  },
  {
    title: "EVTCHNOP_send with a bad pointer",
    says: "api.rst 4.126 speaks of ports; the client might expect to see a send that KVM cannot read.",
    does: "The guest gets EFAULT at once, also when no port is in the table: the client never sees it.",
    steps: [...program(hypercall(32, 4, 0x7fff_0000_0000n), HLT), "v0 run"],
  },
  {
    title: "What KVM_XEN_HVM_EVTCHN_SEND tells",
    says: 'api.rst 4.135: the ioctl "injects" an interrupt; 0 is success.',
    does: "0 for an event that was delivered, for one that was pending already, and for one that is masked.",
    steps: [
      ...PAGES,
      `poke 0xc0000a00 ${hex(1 << 16)}`,
      "evtchn_send 15 0 0xffffffff",
      "evtchn_send 15 0 0xffffffff",
      "evtchn_send 16 0 0xffffffff",
      "peek 0xc0000800 8",
      "evtchn_send 15 2 0xffffffff",
      "evtchn_send 0 0 0xffffffff",
    ],
  },
  {
    title: "An upcall that is taken for told",
    says: "Open; Xen sets evtchn_upcall_pending whenever it sets a bit of the selector.",
    does: "As Xen: when the port's bit of evtchn_pending_sel is set already, evtchn_upcall_pending is not written.",
    steps: [
      ...PAGES,
      `poke 0xc0000048 ${hex(1)}`,
      "evtchn_send 15 0 0xffffffff",
      "peek 0xc0000040 16",
    ],
  },
  {
    title: "Events before vcpu_info is there",
    says: "Open.",
    does: "The port's bit is set, the rest waits in the kernel, and is made up for when vcpu_info is there and the vCPU runs. Nothing can read it, and switching vcpu_info off does not drop it.",
    steps: [
      PAGES[0] ?? "",
      "evtchn_send 15 0 0xffffffff",
      "peek 0xc0000800 8",
      "peek 0xc0000040 16",
      PAGES[1] ?? "",
      ...program("e610", HLT),
      "v0 run",
      "peek 0xc0000040 16",
    ],
  },
  {
    title: "Sending without interrupt controllers",
    says: "Open.",
    does: "KVM_XEN_HVM_EVTCHN_SEND needs none; routes and irqfds do.",
    setUp: ["vm", "slot 1 0xc0000000 0x8000 1", "vcpu 0", "config 0x22 0x40000000"],
    steps: [
      ...PAGES,
      "evtchn_send 15 0 0xffffffff",
      "peek 0xc0000040 8",
      "routing 24:15:0:4294967295",
    ],
  },
  {
    title: "SCHEDOP_poll without the EVTCHN_SEND promise",
    says: "api.rst 4.28: the promise may let KVM intercept SCHEDOP_poll; one would expect an exit without it.",
    does: "There is no exit: KVM treats it as SCHEDOP_yield, and answers 0 even to a bad pointer.",
    steps: [
      "config 0x2 0x40000000",
      ...PAGES,
      ...program(hypercall(29, 3, 0x7fff_0000_0000n), HLT),
      "v0 run",
    ],
  },
  {
    title: "The timeout of SCHEDOP_poll",
    says: "Xen's public/sched.h leaves open what it counts from; Xen takes an absolute system time.",
    does: "It counts from the call. Half a second after the VM's start lies in the past here, yet the vCPU waits.",
    steps: [
      ...PAGES,
      "sleep 600",
      `poke 0x9000 ${hex(0x9100)}${hex(1)}${hex(500_000_000)}`,
      "poke 0x9100 0d000000",
      ...program(hypercall(29, 3, 0x9000), HLT),
      "v0 run 100",
    ],
  },
  {
    title: "SCHEDOP_poll that is interrupted",
    says: "Open; Xen wakes for an event or for the timeout only.",
    does: "A signal for the client ends the wait: the guest gets 0 without an event when the vCPU runs again.",
    steps: [
      ...PAGES,
      `poke 0x9000 ${hex(0x9100)}${hex(1)}${hex(0)}`,
      "poke 0x9100 0d000000",
      ...program(hypercall(29, 3, 0x9000), HLT),
      "v0 run 50",
      "v0 run",
      "peek 0xc0000800 8",
    ],
  },
  {
    title: "Timers that must be in the future",
    says: "Xen's public/vcpu.h: VCPU_SSHOTTMR_future asks for ETIME when the deadline has passed, which a hypervisor may ignore.",
    does: "The flag is ignored; the timer fires at once.",
    steps: [
      ...PAGES,
      `v0 set TIMER ${words(13, PRIO)}${hex(0)}`,
      `poke 0x9000 ${hex(1)}${words(1, 0)}`,
      ...program(hypercall(24, 8, 0, 0x9000), HLT),
      "v0 run",
      "peek 0xc0000800 8",
    ],
  },
  {
    title: "set_timer_op far in the future",
    says: "Open; Xen takes an absolute time, whatever its distance.",
    does: "More than 2^50 ns (13 days) ahead, or negative: 100 ms from now. A 32-bit Linux of old mistook the units. VCPUOP_set_singleshot_timer takes the time as it is.",
    steps: [
      ...PAGES,
      `v0 set TIMER ${words(13, PRIO)}${hex(0)}`,
      ...program(hypercall(15, 1n << 51n), HLT),
      "v0 run",
      "sleep 300",
      "peek 0xc0000800 8",
    ],
  },
  {
    title: "A TIMER whose time has passed",
    says: "Open.",
    does: "It fires inside the call that sets it, and reads as not armed.",
    steps: [
      ...PAGES,
      `v0 set TIMER ${words(13, PRIO)}${hex(1)}`,
      "peek 0xc0000800 8",
      "v0 get TIMER",
    ],
  },
  {
    title: "The port of a TIMER is not checked",
    says: "Open.",
    does: "Any number is stored; only the priority is looked at, and not for port 0.",
    steps: [
      `v0 set TIMER ${words(0xffff, PRIO)}${hex(0)}`,
      `v0 set TIMER ${words(13, 0)}${hex(0)}`,
      `v0 set TIMER ${words(0, 0)}${hex(0)}`,
    ],
  },
  {
    title: "RUNSTATE_DATA does not show in the guest",
    says: "Open.",
    does: "The area keeps what it had until the next change of state; RUNSTATE_ADJUST writes it at once.",
    steps: [
      `v0 set RUNSTATE_ADDR ${hex(0xc0001000)}`,
      `poke 0xc0001000 ${"00".repeat(48)}`,
      `v0 set RUNSTATE_DATA ${[2, 100, 10, 20, 30, 40].map((value) => hex(value)).join("")}`,
      "peek 0xc0001000 48",
      `v0 set RUNSTATE_ADJUST ${ALL}${hex(0).repeat(5)}`,
      "peek 0xc0001000 48",
    ],
  },
  {
    title: "XENVER_version at other privilege levels",
    says: "api.rst 4.126: XEN_VERSION is what the guest gets.",
    does: "Only at CPL 0. Everything else is an exit, with the CPL in it.",
    steps: [
      "hvm set XEN_VERSION 11000400",
      "v0 mode64 user",
      `poke 0x1000 ${hypercall(17, 0)}${HLT}`,
      "v0 regs rip=0x1000",
      "v0 run",
    ],
  },
  {
    title: "A result for a vCPU that has moved",
    says: "api.rst 5: the result is placed before KVM_RUN.",
    does: "It is written only while RIP is where the exit left it, at the hypercall: RAX keeps its value otherwise.",
    steps: [
      ...program(hypercall(34, 0), "e710", HLT),
      "v0 run",
      "v0 result 0x55",
      "v0 regs rip=0x1012",
      "v0 run",
    ],
  },
  {
    title: "Registers written while a device read waits",
    says: "api.rst 5: the instruction is only complete after KVM_RUN is called again.",
    does: "That KVM_RUN ends the instruction as it was decoded, wherever RIP points by now, and goes on behind it. What it was to put into a register is lost after KVM_SET_REGS. (tests/vectors/in-flight has a hundred such cases.)",
    steps: [
      "v0 mode64",
      `poke 0x1000 8b03e710${HLT}`,
      `poke 0x1800 e755${HLT}`,
      "v0 regs rip=0x1000 rbx=0xd0000000 rax=0x1234",
      "v0 run",
      "v0 regs rip=0x1800",
      "v0 run",
    ],
  },
];

/** What newer kernels want before EFER has long mode, NX and SYSCALL. */
const CPUID = "v0 cpuid 1:0:0:0:200201:178bfbff 80000001:0:0:0:0:20100800";

/** The scenario of a quirk. @param {Pick<Quirk, "title" | "setUp" | "steps">} quirk */
export function quirkScenario({ title, setUp = SETUP, steps }) {
  const isLong = steps.some((step) => step.startsWith("v0 mode64"));
  return `${[`# ${title}`, ...setUp, ...(isLong ? [CPUID] : []), ...steps].join("\n")}\n`;
}

/**
 * Others, held by tests of their own: [what documentation says, what is so, the test].
 * @type {[says: string, is: string, test: string][]}
 */
export const ELSEWHERE = [
  [
    "api.rst 4.128 shows `struct kvm_xen_vcpu_attr` with `pad[4]` and without `hva`.",
    "The header has `pad[8]`, 72 bytes in all, and `hva`.",
    "tests/headers",
  ],
  [
    "api.rst 5 calls the member of `struct kvm_run` for KVM_EXIT_XEN a `struct kvm_hyperv_exit`.",
    "It is a `struct kvm_xen_exit`; its hcall begins at offset 8, which the page's text leaves to the compiler.",
    "tests/headers",
  ],
  [
    "api.rst 5 has port accesses complete only after userspace has re-entered the kernel.",
    "OUTS, and OUT to port 0x7e, are complete at the exit; of a repetition RIP stays, RF is set, RCX counts down to 0.",
    "src/ioctl/recorded/string-io",
  ],
];

// @ts-check
/**
 * Rules of KVM that differ between the releases of Linux that were asked: one row each, with what every
 * recorded kernel does. `KvmOptions.linux`, `play --linux` and `exec --linux` choose one.
 * tests/reference/releases.test.ts plays the steps and compares with releases-NAME.out.
 */

/** By the name that options take: the version that was asked. */
export const RECORDED = /** @type {const} */ ({ 6.12: "6.12.117", 7.2: "7.2.12" });

/** The Debian release that has the kernel. */
export const SUITES = /** @type {const} */ ({ 6.12: "trixie", 7.2: "forky" });

/**
 * `rule` is the field of LinuxRules (src/kvm/linux.ts) that the code follows. What shows it: scenario `steps` of its own, or
 * `recorded`, which names parts of recordings that the kernels answer differently: `ioctls/NAME` of src/ioctl/recorded,
 * `answers/LINE` of recorded.txt (what its line begins with), or `differences/TITLE` of shown.mjs.
 * @typedef {keyof typeof RECORDED} Release
 * @typedef {{ rule: string, title: string, does: Record<Release, string>, steps?: string[], recorded?: string[] }} ReleaseRow
 * @type {ReleaseRow[]}
 */
export const RELEASES = [
  {
    rule: "alignsVcpuInfo",
    title: "A vcpu_info that is not aligned by 4",
    does: {
      6.12: "VCPU_INFO and VCPU_INFO_HVA refuse it with ENXIO, before anything else is looked at.",
      7.2: "It may lie anywhere within a page.",
    },
    recorded: ["ioctls/xen"],
    steps: [
      "v0 set VCPU_INFO 410000c000000000",
      "v0 set VCPU_INFO c10f00c000000000",
      "v0 set VCPU_INFO c40f00c000000000",
      "v0 get VCPU_INFO",
      "v0 set VCPU_INFO ffffffffffffffff",
      "v0 set VCPU_INFO_HVA @0xc0000041",
      "v0 set VCPU_INFO_HVA 0100000000000080",
      "v0 set VCPU_INFO_HVA 0000000000000080",
    ],
  },
  {
    rule: "clientWritesHypercallPage",
    title: "The client's write of the hypercall page MSR",
    does: {
      6.12: "KVM_SET_MSRS writes the page and latches LONG_MODE, as the guest's WRMSR does.",
      7.2: "Only the guest's WRMSR writes the page; for KVM_SET_MSRS the index has its other meaning.",
    },
    steps: [
      "v0 mode64",
      "hvm set LONG_MODE 00",
      "v0 msr 0x40000000 0x10000",
      "peek 0x10000 16",
      "hvm get LONG_MODE",
      "v0 msr 0x40000000",
      "poke 0x1000 b900000040b80000010031d20f30e610",
      "v0 regs rip=0x1000",
      "v0 run",
      "peek 0x10000 16",
      "hvm get LONG_MODE",
    ],
  },
  {
    rule: "limitsHypercallMsr",
    title: "The number of the hypercall page MSR",
    does: {
      6.12: "KVM_XEN_HVM_CONFIG takes any.",
      7.2: "KVM_XEN_HVM_CONFIG takes 0x40000000 to 0x4fffffff, and 0 for none; else EINVAL.",
    },
    steps: [
      "config 0x2 0x10",
      "config 0x2 0x3fffffff",
      "config 0x2 0x40000000",
      "config 0x2 0x4fffffff",
      "config 0x2 0x50000000",
      "config 0x2 0xffffffff",
      "config 0x2 0",
      "config 0 0x10",
    ],
  },
  {
    rule: "quirks",
    title: "Quirks that KVM_CAP_DISABLE_QUIRKS2 can switch off",
    does: {
      6.12: "0x7ff.",
      7.2: "0xfff: KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT too, which changes nothing here.",
    },
    recorded: ["ioctls/generic-caps", "answers/cap 213"],
  },
  {
    rule: "x2apicApi",
    title: "Flags of KVM_CAP_X2APIC_API",
    does: {
      6.12: "3. With a split irqchip, guests whose CPUID has the x2APIC may switch EOI broadcasts off (SPIV), and they come all the same.",
      7.2: "15, and 11 on a VM whose irqchip is not split: KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST switches them off indeed, KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST does not offer it; both at once are EINVAL. Else as before.",
    },
    recorded: ["ioctls/suppress-eoi", "answers/cap 129"],
  },
  {
    rule: "showsHypercallResult",
    title: "`kvm_run.hypercall.ret`",
    does: {
      6.12: "Only the client writes it.",
      7.2: "Every hypercall of KVM's own interface leaves its result there, and KVM_EXIT_HYPERCALL comes with 0.",
    },
    recorded: ["ioctls/generic-hypercall-exit"],
  },
  {
    rule: "vmTscKhzComesFirst",
    title: "KVM_SET_TSC_KHZ of a VM behind its first vCPU",
    does: {
      6.12: "0, for vCPUs to come.",
      7.2: "EINVAL.",
    },
    recorded: ["ioctls/irq", "answers/ioctl KVM_SET_TSC_KHZ"],
  },
  {
    rule: "hasOneReg",
    title: "KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST",
    does: {
      6.12: "They do not exist: EINVAL.",
      7.2: "MSRs by an id of type KVM_X86_REG_TYPE_MSR. The list holds registers of type KVM_X86_REG_TYPE_KVM only: the shadow stack pointer, where CPUID has shadow stacks, so that it is empty here. KVM_CAP_ONE_REG is 1.",
    },
    recorded: [
      "ioctls/one-reg",
      "ioctls/vcpu",
      "answers/cap 70",
      "answers/ioctl KVM_GET_ONE_REG",
      "answers/ioctl KVM_SET_ONE_REG",
      "answers/ioctl KVM_GET_REG_LIST",
    ],
  },
  {
    rule: "checksCr4WithoutCpuid",
    title: "CR4 of a vCPU without a CPUID table",
    does: {
      6.12: "All bits that KVM has.",
      7.2: "Only bits that need no feature, as with an empty table.",
    },
    recorded: ["ioctls/before-cpuid", "ioctls/generic-sregs"],
  },
  {
    rule: "hidesMsrsFromClient",
    title:
      "IA32_ARCH_CAPABILITIES, IA32_PERF_CAPABILITIES and writes of IA32_XSS without their CPUID bit",
    does: {
      6.12: "The client has them; a guest's access is invalid (KVM_MSR_EXIT_REASON_INVAL).",
      7.2: "Unknown (KVM_MSR_EXIT_REASON_UNKNOWN), to the client as well: it reads 0 and may write 0, but not to IA32_XSS. A bit of CPUID that KVM does not have does not count.",
    },
    recorded: ["ioctls/before-cpuid", "ioctls/feature-msrs", "ioctls/settings"],
  },
  {
    rule: "emulatesOsvw",
    title: "OSVW_ID_LENGTH and OSVW_STATUS where the host has no OSVW",
    does: {
      6.12: "The bit of the guest's CPUID brings them.",
      7.2: "They are not there, whatever the guest's CPUID says.",
    },
    recorded: ["ioctls/osvw"],
  },
  {
    rule: "namesPlatformInfo",
    title: "IA32_PLATFORM_INFO of the system",
    does: {
      6.12: "It is no feature MSR; KVM_GET_MSRS of the system gives 0.",
      7.2: "KVM_GET_MSR_FEATURE_INDEX_LIST names it, and its value is 0x80000000.",
    },
    recorded: ["ioctls/feature-msrs"],
  },
  {
    rule: "disableExitsComesFirst",
    title: "KVM_CAP_X86_DISABLE_EXITS behind the first vCPU",
    does: {
      6.12: "0, for vCPUs to come.",
      7.2: "EINVAL.",
    },
    recorded: ["ioctls/settings"],
  },
  {
    rule: "showsBusCycle",
    title: "KVM_CHECK_EXTENSION of KVM_CAP_X86_APIC_BUS_CYCLES_NS on a VM",
    does: {
      6.12: "1.",
      7.2: "What the VM has.",
    },
    recorded: ["ioctls/settings"],
  },
  {
    rule: "irqfdsAreExclusive",
    title: "An eventfd in KVM_IRQFD of two VMs",
    does: {
      6.12: "Each VM has it.",
      7.2: "EBUSY for the second.",
    },
    recorded: ["ioctls/settings"],
  },
  {
    rule: "failsDelivery",
    title: "An event whose table or stack is in no slot",
    does: {
      6.12: "KVM_RUN tries for ever (here: KVM_EXIT_MMIO, see [differences](differences.md)).",
      7.2: "KVM_EXIT_INTERNAL_ERROR with KVM_INTERNAL_ERROR_DELIVERY_EV; KVM_RUN again tries for ever (here: the same exit again).",
    },
    recorded: ["differences/Delivery of an event whose table or stack is in no slot"],
  },
  {
    rule: "debuggerTakesEmulatedTraps",
    title:
      "Single steps of the guest (TF) behind instructions that KVM skips or emulates, while a debugger has breakpoints (KVM_GUESTDBG_USE_HW_BP)",
    does: {
      6.12: "The guest gets its #DB.",
      7.2: "The debugger gets it: KVM_EXIT_DEBUG.",
    },
    recorded: ["ioctls/debug-own"],
  },
  {
    rule: "emulatesMovntdqa",
    title: "MOVNTDQA with an operand in no memory",
    does: {
      6.12: "KVM_EXIT_INTERNAL_ERROR with KVM_INTERNAL_ERROR_EMULATION.",
      7.2: "KVM_EXIT_MMIO, twice.",
    },
    recorded: ["edges/device_operands"],
  },
  {
    rule: "vcpuEncrypts",
    title: "KVM_MEMORY_ENCRYPT_OP on a vCPU, without memory encryption",
    does: {
      6.12: "EINVAL, as numbers that do not exist.",
      7.2: "ENOTTY.",
    },
    recorded: ["answers/ioctl KVM_MEMORY_ENCRYPT_OP"],
  },
];

/**
 * Where the newer kernel's answers differ and the code has no rule: parts of recordings, as above.
 * @type {[part: string, why: string][]}
 */
export const NOT_FOLLOWED = [
  ["answers/cap 234", "KVM_CAP_GUEST_MEMFD is 1 on VMs too: there is no guest_memfd"],
  [
    "differences/pvclock areas after a vCPU's first KVM_RUN",
    "pvclock areas are not written again 100 ms after a vCPU's first KVM_RUN, as in Linux 7.2, whatever is chosen",
  ],
  ["answers/cap 244", "KVM_CAP_GUEST_MEMFD_FLAGS: there is no guest_memfd"],
];

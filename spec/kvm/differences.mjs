/**
 * Every known difference between this library and Linux 6.12 on an AMD processor, apart from ioctls
 * and capabilities that are not there (ioctls.mjs, capabilities.mjs): [what, here, Linux, why].
 * Add a row with the change that makes a difference. Those that a call shows are held by
 * tests/reference/differences.test.ts.
 * @typedef {[what: string, here: string, linux: string, why: string]} DifferenceRow
 * @type {{ title: string, rows: DifferenceRow[] }[]}
 */
export const DIFFERENCES = [
  {
    title: "Processor",
    rows: [
      [
        "Model",
        "AuthenticAMD, family 0x1a; [these instructions](instructions.md), and CPUID says so",
        "the host's",
        "there is no host processor below",
      ],
      [
        "KVM_GET_EMULATED_CPUID",
        "no features",
        "MOVBE and RDPID",
        "the engine has neither: they raise #UD",
      ],
      ["Addresses", "48 bits, physical and linear", "the host's", "4-level page tables"],
      [
        "MWAIT with KVM_X86_DISABLE_EXITS_MWAIT",
        "ends at once; other vCPUs get their turn",
        "waits for a store to the monitored line",
        "nothing watches stores; a wait may end at any time",
      ],
      [
        "Other processors of the kind",
        "nested virtualization, system management mode, performance counters, SGX and memory encryption do not exist",
        "as the host has them",
        "not built",
      ],
      [
        "KVM_SET_GUEST_DEBUG, emulation failures",
        "every instruction is emulated, so that none fails to be",
        "KVM_INTERNAL_ERROR_EMULATION for what its emulator lacks",
        "one engine for everything",
      ],
    ],
  },
  {
    title: "Time",
    rows: [
      [
        "Frequency of the TSC",
        "1 GHz; KVM_SET_TSC_KHZ of a vCPU refuses others (EINVAL), and that of a VM keeps them without effect",
        "the host's; higher ones are made up for even without scaling",
        "one tick is one nanosecond of the clock",
      ],
      [
        "kvmclock and the TSC",
        "the same clock: they never drift, and nothing moves kvmclock but KVM_SET_CLOCK",
        "two clocks; setting SHARED_INFO or LONG_MODE may move kvmclock a little",
        "one clock below both",
      ],
      [
        "KVM_GET_CLOCK flags",
        "always TSC_STABLE, REALTIME and HOST_TSC",
        "as the host's clock source allows",
        "the same",
      ],
      [
        "KVM_CAP_HALT_POLL",
        "accepted, without effect",
        "how long to poll before sleeping",
        "a halted vCPU costs nothing",
      ],
    ],
  },
  {
    title: "Running",
    rows: [
      [
        "vCPUs of a VM",
        "take turns of 200,000 instructions on one thread; KVM_CAP_NR_VCPUS recommends 1",
        "run at the same time",
        "[one VM, one thread](../ARCHITECTURE.md)",
      ],
      [
        "Steal time and RUNSTATE_runnable",
        "what a vCPU waits for the others of its VM",
        "what the host's scheduler takes from its thread",
        "there is no scheduler below",
      ],
      [
        "Methods of a vCPU whose run() is under way",
        "are answered between turns; ioctls and a second run() wait until the run ends",
        "everything waits until KVM_RUN returns",
        "a method that answers at once cannot wait in a single thread",
      ],
      [
        "Signals and KVM_SET_SIGNAL_MASK",
        "`interrupt(fd)` ends a run with EINTR; masks are stored",
        "signals that the mask lets through",
        "a client inside the program has no signals",
      ],
      [
        "Another VM that uses Xen",
        "does not matter",
        "switches upcalls and interception on for VMs without a hypercall MSR too, up to a second after its end",
        "Linux has one switch for all VMs of a host",
      ],
      [
        "Delivery of an event whose table or stack is in no slot",
        "KVM_EXIT_MMIO for each access of the delivery",
        "emulates the instruction at RIP instead; the event comes again, an exception may be lost",
        "KVM cannot tell whose access it was",
      ],
      [
        "KVM_RUN after KVM_EXIT_SHUTDOWN, when paging was off",
        "goes on at the reset vector",
        "hangs, or worse, until the control registers are set to other values: the processor works without KVM's page tables",
        "an error of KVM for AMD; what happens depends on the host's first page",
      ],
      [
        "An instruction that reads from a device and then writes to one",
        "what an entry does (runstate, pvclock) comes before the exit of the write",
        "after it, at the next entry",
        "the rest of the instruction is executed by the entry",
      ],
      [
        "REP MOVS that reads from a device",
        "ends with its last element",
        "is decoded once more behind it",
        "seen only when the client changes the code meanwhile",
      ],
      [
        "Blocking of NMIs after KVM_EXIT_SHUTDOWN",
        "ended, as by a processor with virtual NMIs",
        "kept by processors without those",
        "either is right, depending on the host",
      ],
      [
        "Events that were put off, and a timer of Xen that is due",
        "looked at after exits that KVM handles itself, and at the first entry after a slot was deleted or moved",
        "also after faults on pages that the host had not mapped for the guest, or not for writing",
        "the engine has no such faults, and which pages are mapped depends on the host",
      ],
      [
        "The error code in `internal.data` of KVM_INTERNAL_ERROR_EMULATION",
        "0x100000014",
        "0x10000001c when the guest has been to that page before",
        "there are no page tables in which KVM marks such a page",
      ],
      [
        "pvclock areas after a vCPU's first KVM_RUN",
        "written at that entry, and when something about the clock changes",
        "once more for all vCPUs about 100 ms later, at their next entries",
        "there are no two clocks that drift",
      ],
    ],
  },
  {
    title: "Memory",
    rows: [
      [
        "Client memory in slots of two VMs",
        "the second slot is refused (ENOMEM)",
        "both VMs see the same memory",
        "a VM's memory is its own WebAssembly memory",
      ],
      [
        "Memory of a VM",
        "below 4 GiB in all (ENOMEM)",
        "what the host has",
        "32-bit WebAssembly memory",
      ],
      [
        "Slots beyond the first 512",
        "their memory is looked for when it is first accessed; KVM_RUN gives EFAULT when there is no room",
        "the host's memory is as large as it is",
        "32764 slots may name more than 4 GiB, most of it never used",
      ],
      [
        "KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_NR_MMU_PAGES",
        "checked, without effect",
        "used on some processors",
        "real mode and page tables need no help here",
      ],
      [
        "Asynchronous page faults",
        "MSRs are kept; there are no such faults",
        "told when the host swaps",
        "guest memory is never swapped out",
      ],
    ],
  },
  {
    title: "Xen, user half",
    rows: [
      [
        "Callbacks by GSI or PCI interrupt",
        "accepted, without effect, as in a PVH domain of Xen",
        "not KVM's matter",
        "no such lines",
      ],
      [
        "FIFO event channels",
        "ENOSYS",
        "not KVM's matter: KVM's delivery is 2-level",
        "guests go on with 2-level",
      ],
    ],
  },
];

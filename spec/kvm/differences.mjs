// @ts-check
/**
 * Every known difference between this library and Linux 6.12 on an AMD processor, apart from ioctls
 * and capabilities that are not there (ioctls.mjs, capabilities.mjs): [what, here, Linux, why, test].
 * Add a row with the change that makes a difference. The last member is the test that holds what the
 * row says of this library, `FILE > NAME`, or `untestable: REASON`; tests/reference/differences.test.ts
 * looks that it is there. A scenario that Linux answers otherwise is best: shown.mjs.
 * @typedef {[what: string, here: string, linux: string, why: string, test: string]} DifferenceRow
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
        "src/kvm/cpu/cpuid.test.ts > is an AMD processor of family 0x1a that knows of the hypervisor",
      ],
      [
        "CR4.VME and CR4.PVI",
        "can be set, without effect",
        "virtual interrupts in virtual-8086 mode, and at CPL 3",
        "KVM lets every guest set them; CPUID does not offer VME",
        "src/engine/tests/hidden.test.ts > CR4.VME and PVI have no effect",
      ],
      [
        "Addresses",
        "48 bits, physical and linear",
        "the host's",
        "4-level page tables",
        "src/kvm/cpu/cpuid.test.ts > has no AVX, no PCID, no LA57, and x87 and SSE in XSAVE",
      ],
      [
        "MWAIT with KVM_X86_DISABLE_EXITS_MWAIT",
        "ends at once; other vCPUs get their turn",
        "waits for a store to the monitored line",
        "nothing watches stores; a wait may end at any time",
        "tests/reference/differences.test.ts > MWAIT ends at once",
      ],
      [
        "A return to an outer level (IRET, RET far) with ES, DS, FS or GS of an inner level",
        "clears the selector and the present bit, and keeps base and limit",
        "as the host's processor: AMD's manual says that the register becomes null, and no more; the one that Linux was recorded on does the same as here",
        "CPUID's NULL_SEL_CLR_BASE, which is offered, is about loads of null selectors: those clear the base",
        "src/engine/tests/segments.test.ts > data segments that a return may not keep",
      ],
      [
        "Other processors of the kind",
        "nested virtualization, system management mode, performance counters, SGX and memory encryption do not exist",
        "as the host has them",
        "not built",
        "src/kvm/caps.test.ts > answers as Linux, and 0 for what is not there",
      ],
      [
        "KVM_SET_GUEST_DEBUG, emulation failures",
        "every instruction is emulated, so that none fails to be",
        "KVM_INTERNAL_ERROR_EMULATION for what its emulator lacks",
        "one engine for everything",
        "untestable: no instruction is known that would fail",
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
        "tests/reference/differences.test.ts > the TSC has 1 GHz",
      ],
      [
        "kvmclock and the TSC",
        "the same clock: they never drift, and nothing moves kvmclock but KVM_SET_CLOCK",
        "two clocks; setting SHARED_INFO or LONG_MODE may move kvmclock a little",
        "one clock below both",
        "tests/reference/differences.test.ts > nothing but KVM_SET_CLOCK moves kvmclock",
      ],
      [
        "KVM_GET_CLOCK flags",
        "always TSC_STABLE, REALTIME and HOST_TSC",
        "as the host's clock source allows",
        "the same",
        "tests/reference/differences.test.ts > nothing but KVM_SET_CLOCK moves kvmclock",
      ],
      [
        "KVM_CAP_HALT_POLL",
        "accepted, without effect",
        "how long to poll before sleeping",
        "a halted vCPU costs nothing",
        "tests/reference/differences.test.ts > KVM_CAP_HALT_POLL is accepted",
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
        "src/kvm/run/entry.test.ts > take turns, and give theirs up for PAUSE",
      ],
      [
        "Steal time and RUNSTATE_runnable",
        "what a vCPU waits for the others of its VM",
        "what the host's scheduler takes from its thread",
        "there is no scheduler below",
        "src/kvm/run/entry.test.ts > count the wait for the thread as steal time",
      ],
      [
        "Methods of a vCPU whose run() is under way",
        "are answered between turns; ioctls and a second run() wait until the run ends",
        "everything waits until KVM_RUN returns",
        "a method that answers at once cannot wait in a single thread",
        "tests/reference/differences.test.ts > methods are answered while the vCPU runs",
      ],
      [
        "Signals and KVM_SET_SIGNAL_MASK",
        "`interrupt(fd)` ends a run with EINTR; masks are stored",
        "signals that the mask lets through",
        "a client inside the program has no signals",
        "src/ioctl/run.test.ts > interrupt() ends a run that halts in the kernel",
      ],
      [
        "Another VM that uses Xen",
        "matters when it is a VM of the same `Kvm` (of the same program, or of one `kvm-xen exec`)",
        "matters: one switch for all VMs of a host",
        "a switch beyond the process would let programs disturb each other. While any VM has a hypercall MSR, and up to a second longer, upcalls and interception work in VMs without one too",
        "tests/reference/differences.test.ts > a VM of another Kvm that uses Xen does not matter",
      ],
      [
        "Delivery of an event whose table or stack is in no slot",
        "KVM_EXIT_MMIO for each access of the delivery",
        "emulates the instruction at RIP instead; the event comes again, an exception may be lost",
        "KVM cannot tell whose access it was",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "Operands in device memory, taken by KVM's emulator its own way",
        "as the processor takes them",
        "SLDT and STR read before they write; far pointers are read in one piece (4, 6 or 8 + 2 bytes); MOV from a segment register writes 8 bytes with REX.W; near jumps and calls through memory ignore the prefix 66 in 64-bit code; REP INS writes its elements in one piece. With the stack there: PUSH and POP of segment registers access 2 bytes, PUSHA and POPA miss most of their registers, ENTER with levels is KVM_INTERNAL_ERROR_EMULATION. SGDT, SIDT, LGDT, LIDT and RETF try for ever",
        "instructions that the emulator does not know end as with Linux ([table](../../spec/insn-emulated.mjs)); of those that it knows its own errors are not repeated",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "KVM_RUN after KVM_EXIT_SHUTDOWN, when paging was off",
        "goes on at the reset vector",
        "hangs, or worse, until the control registers are set to other values: the processor works without KVM's page tables",
        "an error of KVM for AMD; what happens depends on the host's first page",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "An instruction that reads from a device and then writes to one",
        "what an entry does (runstate, pvclock) comes before the exit of the write",
        "after it, at the next entry",
        "the rest of the instruction is executed by the entry",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "REP MOVS that reads from a device",
        "ends with its last element",
        "is decoded once more behind it",
        "seen only when the client changes the code meanwhile",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "Blocking of NMIs after KVM_EXIT_SHUTDOWN",
        "ended, as by a processor with virtual NMIs",
        "kept by processors without those",
        "either is right, depending on the host",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "Events that were put off, and a timer of Xen that is due",
        "looked at after exits that KVM handles itself, and at the first entry after a slot was deleted or moved",
        "also after faults on pages that the host had not mapped for the guest, or not for writing",
        "the engine has no such faults, and which pages are mapped depends on the host",
        "untestable: what the engine has no faults for cannot be made to happen here",
      ],
      [
        "The error code in `internal.data` of KVM_INTERNAL_ERROR_EMULATION",
        "0x100000014",
        "0x10000001c when the guest has been to that page before",
        "there are no page tables in which KVM marks such a page",
        "tests/reference/differences.test.ts > the error code of an instruction in no memory",
      ],
      [
        "pvclock areas after a vCPU's first KVM_RUN",
        "written at that entry, and when something about the clock changes",
        "once more for all vCPUs about 100 ms later, at their next entries",
        "there are no two clocks that drift",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
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
        "tests/reference/differences.test.ts > client memory belongs to one VM",
      ],
      [
        "A page of a slot that logs writes, read or executed by the guest",
        "not written, and not in the log",
        "in the log once, when the client had written to it before: KVM maps it writable at the first access, and notes that; once more after any slot of the VM was deleted or moved, or the host moved the page",
        "there are no page tables whose entries are made ahead of a write, and which pages the host lets KVM map so is the host's affair",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "VMCALL of a guest whose CPUID names Intel, in code that it may not write",
        "is the hypercall",
        "#PF: an AMD processor's KVM writes VMMCALL over it, as the guest",
        "QEMU takes the vendor of `-cpu host` and `max` from the machine that it runs on: Linux on an Intel machine would lose a guest to it that it does not lose with its own KVM",
        "tests/reference/shown.test.ts > is other than Linux answered, in these answers only",
      ],
      [
        "Memory of a VM",
        "below 4 GiB in all (ENOMEM)",
        "what the host has",
        "32-bit WebAssembly memory",
        "tests/reference/differences.test.ts > a VM has less than 4 GiB",
      ],
      [
        "Slots beyond the first 512",
        "their memory is looked for when it is first accessed; KVM_RUN gives EFAULT when there is no room",
        "the host's memory is as large as it is",
        "32764 slots may name more than 4 GiB, most of it never used",
        "tests/reference/differences.test.ts > slots beyond the first 512 take memory when it is used",
      ],
      [
        "KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_NR_MMU_PAGES",
        "checked, without effect",
        "used on some processors",
        "real mode and page tables need no help here",
        "tests/reference/differences.test.ts > addresses of the TSS and of the identity map change no memory",
      ],
      [
        "Asynchronous page faults",
        "MSRs are kept; there are no such faults",
        "told when the host swaps",
        "guest memory is never swapped out",
        "tests/reference/differences.test.ts > the MSR of asynchronous page faults is kept",
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
        "src/vmm/xen/hypercalls/hypercalls.test.ts > sets the callback vector; lines change nothing",
      ],
      [
        "FIFO event channels",
        "init_control answers ENOSYS",
        "not KVM's matter: KVM's delivery is 2-level",
        "guests go on with 2-level, as on a Xen before 4.4",
        "src/vmm/xen/hypercalls/privileged-ops.test.ts > FIFO event channels are not offered",
      ],
    ],
  },
];

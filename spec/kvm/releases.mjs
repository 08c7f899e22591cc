// @ts-check
/**
 * Rules of KVM that differ between the releases of Linux that were asked: one row each, with what every
 * recorded kernel does. `KvmOptions.linux`, `play --linux` and `exec --linux` choose one.
 * tests/reference/releases.test.ts plays the steps and compares with releases-NAME.out.
 */

/** By the name that options take: the version that was asked. */
export const RECORDED = /** @type {const} */ ({ 6.12: "6.12.117", 7.2: "7.2.12" });

/**
 * @typedef {keyof typeof RECORDED} Release
 * @typedef {{ title: string, does: Record<Release, string>, steps: string[] }} ReleaseRow
 * @type {ReleaseRow[]}
 */
export const RELEASES = [
  {
    title: "A vcpu_info that is not aligned by 4",
    does: {
      6.12: "VCPU_INFO and VCPU_INFO_HVA refuse it with ENXIO, before anything else is looked at.",
      7.2: "It may lie anywhere within a page.",
    },
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
];

/**
 * Answers of the newer release that are known to differ and that `--linux 7.2` does not follow: they were found
 * by asking it src/ioctl/recorded, capabilities included.
 * @type {[where: string, old: string, now: string][]}
 */
export const NOT_FOLLOWED = [
  ["KVM_CAP_DISABLE_QUIRKS2", "2048 is refused", "2048 is a quirk that can be switched off"],
  ["KVM_EXIT_HYPERCALL", "`hypercall.ret` keeps what was there", "`hypercall.ret` is 0 at first"],
  ["KVM_SET_TSC_KHZ of a VM, behind its first vCPU", "0", "EINVAL"],
  ["KVM_GET_ONE_REG, KVM_GET_REG_LIST", "EINVAL: there are none on x86", "exist"],
];

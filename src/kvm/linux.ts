import type { LinuxRelease } from "../base/index.js";

export { LINUX_RELEASES, type LinuxRelease } from "../base/index.js";

/** What differs between releases. A field is a row of spec/kvm/releases.mjs. */
export interface LinuxRules {
  readonly release: LinuxRelease;
  /** A vcpu_info that is not aligned by 4 is refused, before anything else. */
  readonly alignsVcpuInfo: boolean;
  /** KVM_SET_MSRS of the hypercall page MSR writes the page, not only the guest's WRMSR. */
  readonly clientWritesHypercallPage: boolean;
  /** Numbers of the hypercall page MSR lie in Xen's range. */
  readonly limitsHypercallMsr: boolean;
  /** Quirks that KVM_CAP_DISABLE_QUIRKS2 can switch off (`KVM_X86_VALID_QUIRKS`). */
  readonly quirks: number;
  /** Flags of KVM_CAP_X2APIC_API; {@link X2apicApi.ENABLE_SUPPRESS_EOI} for split irqchips only. */
  readonly x2apicApi: number;
  /** Every hypercall of KVM's own leaves its result in `kvm_run.hypercall.ret`, 0 for the client's. */
  readonly showsHypercallResult: boolean;
  /** KVM_SET_TSC_KHZ of a VM is refused behind its first vCPU. */
  readonly vmTscKhzComesFirst: boolean;
  /** KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST exist. */
  readonly hasOneReg: boolean;
  /** A vCPU without a CPUID table has CR4 bits that need no feature only. */
  readonly checksCr4WithoutCpuid: boolean;
  /** MSRs that the guest's CPUID does not have are unknown to the client, too. */
  readonly hidesMsrsFromClient: boolean;
  /** The MSRs of OSVW are there when the guest's CPUID says so, whatever the host has. */
  readonly emulatesOsvw: boolean;
  /** IA32_PLATFORM_INFO is a feature MSR of the system. */
  readonly namesPlatformInfo: boolean;
  /** KVM_CAP_X86_DISABLE_EXITS cannot be enabled behind the first vCPU. */
  readonly disableExitsComesFirst: boolean;
  /** KVM_CHECK_EXTENSION of a VM gives its own KVM_CAP_X86_APIC_BUS_CYCLES_NS. */
  readonly showsBusCycle: boolean;
  /** An eventfd raises interrupts in one VM only. */
  readonly irqfdsAreExclusive: boolean;
  /** An event whose delivery needs KVM's emulator is KVM_INTERNAL_ERROR_DELIVERY_EV. */
  readonly failsDelivery: boolean;
  /** A debugger with breakpoints takes the guest's traps behind instructions that KVM skips or emulates. */
  readonly debuggerTakesEmulatedTraps: boolean;
  /** The emulator knows MOVNTDQA: its operand may lie in device memory. */
  readonly emulatesMovntdqa: boolean;
  /** KVM_MEMORY_ENCRYPT_OP is an ioctl of vCPUs too. */
  readonly vcpuEncrypts: boolean;
}

/** `KVM_X2APIC_*`: flags of KVM_CAP_X2APIC_API. */
export const X2apicApi = {
  USE_32BIT_IDS: 1,
  DISABLE_BROADCAST_QUIRK: 2,
  /** The guest may suppress the broadcast of EOIs, and that is done. */
  ENABLE_SUPPRESS_EOI: 4,
  /** It may not. */
  DISABLE_SUPPRESS_EOI: 8,
} as const;

/** What a release does. */
export function linuxRules(release: LinuxRelease): LinuxRules {
  const is6 = release === "6.12";
  return {
    release,
    alignsVcpuInfo: is6,
    clientWritesHypercallPage: is6,
    limitsHypercallMsr: !is6,
    quirks: is6 ? 0x7ff : 0xfff,
    x2apicApi: is6 ? 3 : 15,
    showsHypercallResult: !is6,
    vmTscKhzComesFirst: !is6,
    hasOneReg: !is6,
    checksCr4WithoutCpuid: !is6,
    hidesMsrsFromClient: !is6,
    emulatesOsvw: is6,
    namesPlatformInfo: !is6,
    disableExitsComesFirst: !is6,
    showsBusCycle: !is6,
    irqfdsAreExclusive: !is6,
    failsDelivery: !is6,
    debuggerTakesEmulatedTraps: !is6,
    emulatesMovntdqa: !is6,
    vcpuEncrypts: !is6,
  };
}

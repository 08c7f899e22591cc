import {
  Cpuid1Ecx,
  Cpuid7Ecx,
  Cpuid7Edx,
  CpuidD1Eax,
  CpuidExt1Ecx,
  CpuidExt1Edx,
  CpuidExt8Ebx,
  CpuidExt21Eax,
  Msr,
} from "../../abi/x86/index.js";
import type { FeatureBits } from "./cpuid.js";

/** What becomes of a write to an MSR with a fixed value. */
export type FixedWrite =
  /** There is no such register to write. */
  | "none"
  /** Accepted and forgotten. */
  | "ignored"
  /** Zero is accepted, anything else is refused. */
  | "zero";

/** An MSR with a fixed value; undefined when it cannot be read. */
export interface FixedMsr {
  readonly value: bigint | undefined;
  readonly write: FixedWrite;
}

const fixed = (value: bigint | undefined, write: FixedWrite): FixedMsr => ({ value, write });

const ZERO_IGNORED = fixed(0n, "ignored");
const ZERO_READONLY = fixed(0n, "none");
const WRITE_ONLY = fixed(undefined, "ignored");

/** Registers with fixed values, as KVM shows them on AMD (recorded from Linux 6.12). */
export const FIXED_MSRS = new Map<number, FixedMsr>([
  // PLATFORM_ID, EBL_CR_POWERON, EBC_FREQUENCY_ID
  [0x17, ZERO_READONLY],
  [0x2a, ZERO_READONLY],
  [0x2c, fixed(1n << 24n, "none")],
  // UCODE_WRITE
  [0x79, WRITE_ONLY],
  // Performance counters of the P6
  [0xc1, ZERO_IGNORED],
  [0xc2, ZERO_IGNORED],
  [0x186, ZERO_IGNORED],
  [0x187, ZERO_IGNORED],
  // Frequency of the bus, MTRRcap is elsewhere
  [0xcd, fixed(3n, "none")],
  // BBL_CR_CTL3
  [0x11e, fixed(0xbe702111n, "ignored")],
  // PERF_STATUS, PERF_CTL
  [0x198, fixed(0x400000003e8n, "none")],
  [0x199, ZERO_READONLY],
  [Msr.IA32_DEBUGCTL, ZERO_IGNORED],
  [Msr.LAST_BRANCH_FROM_IP, ZERO_READONLY],
  [Msr.LAST_BRANCH_TO_IP, ZERO_READONLY],
  [Msr.LAST_INT_FROM_IP, ZERO_READONLY],
  [Msr.LAST_INT_TO_IP, ZERO_READONLY],
  // RAPL
  [0x606, ZERO_READONLY],
  [0x611, ZERO_READONLY],
  [0x619, ZERO_READONLY],
  [0x639, ZERO_READONLY],
  [0x641, ZERO_READONLY],
  ...Array.from({ length: 8 }, (_, i): [number, FixedMsr] => [Msr.K7_EVNTSEL0 + i, ZERO_IGNORED]),
  [Msr.AMD64_SYSCFG, ZERO_READONLY],
  [Msr.K7_CLK_CTL, fixed(0x20000000n, "ignored")],
  [Msr.AMD64_NB_CFG, ZERO_IGNORED],
  [Msr.AMD64_PATCH_LOADER, WRITE_ONLY],
  [Msr.K8_INT_PENDING_MSG, ZERO_READONLY],
  [Msr.FAM10H_MMIO_CONF_BASE, fixed(0n, "zero")],
  // TSEG_ADDR, TSEG_MASK
  [0xc0010112, ZERO_READONLY],
  [0xc0010113, ZERO_READONLY],
  // VM_IGNNE
  [0xc0010115, WRITE_ONLY],
  [Msr.AMD64_DC_CFG, ZERO_IGNORED],
  [Msr.AMD64_TW_CFG, ZERO_IGNORED],
  [Msr.AMD64_BU_CFG2, ZERO_IGNORED],
  // F15H_EX_CFG
  [0xc001102c, ZERO_IGNORED],
]);

const XFD: readonly FeatureBits[] = [[0xd, 1, "eax", CpuidD1Eax.XFD]];
const { IBPB, IBRS, SSBD, STIBP, VIRT_SSBD } = CpuidExt8Ebx;

/**
 * MSRs that the guest has only with one of these features; see docs/reference/guest-cpuid.md. The client has them
 * always, but for those of OSVW.
 */
export const MSR_FEATURES = new Map<number, readonly FeatureBits[]>([
  [
    Msr.TSC_AUX,
    [
      [0x80000001, 0, "edx", CpuidExt1Edx.RDTSCP],
      [7, 0, "ecx", Cpuid7Ecx.RDPID],
    ],
  ],
  [
    Msr.IA32_SPEC_CTRL,
    [
      [7, 0, "edx", Cpuid7Edx.SPEC_CTRL],
      [0x80000008, 0, "ebx", IBRS | STIBP | SSBD],
    ],
  ],
  [
    Msr.IA32_PRED_CMD,
    [
      [7, 0, "edx", Cpuid7Edx.SPEC_CTRL],
      [0x80000008, 0, "ebx", IBPB],
      [0x80000021, 0, "eax", CpuidExt21Eax.SBPB],
    ],
  ],
  [Msr.AMD64_VIRT_SPEC_CTRL, [[0x80000008, 0, "ebx", VIRT_SSBD]]],
  [Msr.IA32_XSS, [[0xd, 1, "eax", CpuidD1Eax.XSAVES]]],
  [Msr.IA32_XFD, XFD],
  [Msr.IA32_XFD_ERR, XFD],
  [Msr.IA32_ARCH_CAPABILITIES, [[7, 0, "edx", Cpuid7Edx.ARCH_CAPABILITIES]]],
  [Msr.IA32_PERF_CAPABILITIES, [[1, 0, "ecx", Cpuid1Ecx.PDCM]]],
  [Msr.AMD64_OSVW_ID_LENGTH, [[0x80000001, 0, "ecx", CpuidExt1Ecx.OSVW]]],
  [Msr.AMD64_OSVW_STATUS, [[0x80000001, 0, "ecx", CpuidExt1Ecx.OSVW]]],
]);

/**
 * KVM_GET_MSR_INDEX_LIST: MSRs that carry state of a vCPU, to be saved and restored. Linux names those of Hyper-V and SMM
 * too. What a vCPU lacks of them is read as 0 by the client, which may also write 0.
 */
export const MSR_INDICES: readonly number[] = [
  Msr.IA32_SYSENTER_CS,
  Msr.IA32_SYSENTER_ESP,
  Msr.IA32_SYSENTER_EIP,
  Msr.STAR,
  Msr.CSTAR,
  Msr.KERNEL_GS_BASE,
  Msr.SYSCALL_MASK,
  Msr.LSTAR,
  Msr.IA32_TSC,
  Msr.IA32_PAT,
  Msr.VM_HSAVE_PA,
  Msr.IA32_FEATURE_CONTROL,
  Msr.TSC_AUX,
  Msr.KVM_SYSTEM_TIME,
  Msr.KVM_WALL_CLOCK,
  Msr.KVM_SYSTEM_TIME_NEW,
  Msr.KVM_WALL_CLOCK_NEW,
  Msr.KVM_ASYNC_PF_EN,
  Msr.KVM_STEAL_TIME,
  Msr.KVM_PV_EOI_EN,
  Msr.KVM_ASYNC_PF_INT,
  Msr.KVM_ASYNC_PF_ACK,
  Msr.IA32_TSC_ADJUST,
  Msr.IA32_TSC_DEADLINE,
  Msr.IA32_ARCH_CAPABILITIES,
  Msr.IA32_PERF_CAPABILITIES,
  Msr.IA32_MISC_ENABLE,
  Msr.IA32_MCG_STATUS,
  Msr.IA32_MCG_CTL,
  Msr.SMI_COUNT,
  Msr.PLATFORM_INFO,
  Msr.MISC_FEATURES_ENABLES,
  Msr.AMD64_VIRT_SPEC_CTRL,
  Msr.AMD64_TSC_RATIO,
  Msr.IA32_POWER_CTL,
  Msr.IA32_BIOS_SIGN_ID,
  Msr.K7_HWCR,
  Msr.KVM_POLL_CONTROL,
];

/** KVM_GET_MSR_FEATURE_INDEX_LIST: MSRs that say what the processor can do. */
export const FEATURE_MSR_INDICES: readonly number[] = [
  Msr.AMD64_DE_CFG,
  Msr.IA32_BIOS_SIGN_ID,
  Msr.IA32_ARCH_CAPABILITIES,
  Msr.IA32_PERF_CAPABILITIES,
];

/** Those of {@link MSR_INDICES}. */
export const ADVERTISED_MSRS: ReadonlySet<number> = new Set(MSR_INDICES);

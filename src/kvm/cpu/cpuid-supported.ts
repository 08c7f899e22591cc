import {
  Cpuid1Ecx,
  Cpuid1Edx,
  Cpuid7Ebx,
  Cpuid7Ecx,
  Cpuid7Edx,
  Cpuid71Eax,
  type CpuidEntry2,
  CpuidExt1Ecx,
  CpuidExt1Edx,
  CpuidExt8Ebx,
  CpuidExt21Eax,
  CpuidExt21Ecx,
  cpuidText,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
  KvmFeature,
} from "../../abi/x86/index.js";

/**
 * Family 0x1a (Zen 5), model 0x44. Linux treats this family as free of the flaws for which older
 * ones get retpolines, return thunks and buffer clearing; an interpreter has none of them.
 */
const SIGNATURE = 0x00b40f40;

const F1 = Cpuid1Edx;
const FEATURES_1_EDX =
  F1.FPU |
  F1.DE |
  F1.PSE |
  F1.TSC |
  F1.MSR |
  F1.PAE |
  F1.MCE |
  F1.CX8 |
  F1.APIC |
  F1.SEP |
  F1.MTRR |
  F1.PGE |
  F1.MCA |
  F1.CMOV |
  F1.PAT |
  F1.PSE36 |
  F1.CLFLUSH |
  F1.MMX |
  F1.FXSR |
  F1.SSE |
  F1.SSE2;

const C1 = Cpuid1Ecx;
const FEATURES_1_ECX =
  C1.SSE3 |
  C1.SSSE3 |
  C1.CX16 |
  C1.SSE4_1 |
  C1.SSE4_2 |
  C1.X2APIC |
  C1.POPCNT |
  C1.TSC_DEADLINE |
  C1.XSAVE |
  C1.RDRAND |
  C1.HYPERVISOR;

/** Bits of 0x80000001 EDX that repeat leaf 1. */
const REPEATED_EDX = FEATURES_1_EDX & 0x0183f3ff;

/** FXSAVE and XSAVE always store the x87 error pointers. */
const EXT8_EBX = CpuidExt8Ebx.XSAVEERPTR | CpuidExt8Ebx.AMD_SSB_NO | CpuidExt8Ebx.BTC_NO;

const B7 = Cpuid7Ebx;
const FEATURES_7_EBX =
  B7.FSGSBASE | B7.TSC_ADJUST | B7.FDP_EXCPTN_ONLY | B7.SMEP | B7.ERMS | B7.ZERO_FCS_FDS | B7.SMAP;
/** Leaf 0xd sub-leaf 1 EAX. */
const XSAVEOPT = 1;

function leaf(
  fn: number,
  eax: number,
  ebx: number,
  ecx: number,
  edx: number,
  index?: number,
): CpuidEntry2 {
  return {
    function: fn >>> 0,
    index: index ?? 0,
    flags: index === undefined ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax: eax >>> 0,
    ebx: ebx >>> 0,
    ecx: ecx >>> 0,
    edx: edx >>> 0,
  };
}

/** Brand string leaves 0x80000002 to 0x80000004. */
function brand(text: string): CpuidEntry2[] {
  const padded = text.padEnd(48, "\0");
  const word = (i: number) => cpuidText(padded.slice(i * 4, i * 4 + 4));
  return [0, 1, 2].map((i) =>
    leaf(0x80000002 + i, word(i * 4), word(i * 4 + 1), word(i * 4 + 2), word(i * 4 + 3)),
  );
}

/**
 * KVM_GET_SUPPORTED_CPUID: what the engine does, no more and no less. The APIC id fields are zero
 * (a VMM fills them per vCPU); KVM's own leaves at 0x40000000 are included as KVM includes them: a
 * VMM that shows Xen leaves leaves them out. INVPCID works where the guest's CPUID has it, but is not named: there is no PCID.
 * @param onlineCpus processors of the host
 */
export function supportedCpuid(onlineCpus = 1): CpuidEntry2[] {
  // AMD's processors with several cores say so; KVM passes the host's bit on.
  const cores = onlineCpus > 1 ? CpuidExt1Ecx.CMP_LEGACY : 0;
  const vendor = [cpuidText("Auth"), cpuidText("cAMD"), cpuidText("enti")] as const;
  return [
    leaf(0, 0xd, vendor[0], vendor[1], vendor[2]),
    // EBX: CLFLUSH line of 8 quadwords
    leaf(1, SIGNATURE, 0x0800, FEATURES_1_ECX, FEATURES_1_EDX),
    leaf(2, 0, 0, 0, 0),
    leaf(3, 0, 0, 0, 0),
    leaf(4, 0, 0, 0, 0, 0),
    leaf(5, 0, 0, 0, 0),
    // Always-running APIC timer
    leaf(6, 4, 0, 0, 0),
    leaf(7, 1, FEATURES_7_EBX, Cpuid7Ecx.UMIP, Cpuid7Edx.FSRM | Cpuid7Edx.ARCH_CAPABILITIES, 0),
    leaf(7, Cpuid71Eax.FZRM | Cpuid71Eax.FSRS | Cpuid71Eax.FSRC, 0, 0, 0, 1),
    leaf(0xb, 0, 0, 0, 0, 0),
    // x87 and SSE, 512 + 64 bytes
    leaf(0xd, 3, 576, 576, 0, 0),
    leaf(0xd, XSAVEOPT, 0, 0, 0, 1),
    leaf(0x80000000, 0x80000021, vendor[0], vendor[1], vendor[2]),
    leaf(
      0x80000001,
      SIGNATURE,
      0,
      CpuidExt1Ecx.LAHF_LM | cores,
      REPEATED_EDX |
        CpuidExt1Edx.SYSCALL |
        CpuidExt1Edx.NX |
        CpuidExt1Edx.PDPE1GB |
        CpuidExt1Edx.RDTSCP |
        CpuidExt1Edx.LM,
    ),
    ...brand("kvm-xen Virtual Processor"),
    // L1 caches and TLBs, L2 and L3: the figures KVM shows for an EPYC.
    leaf(0x80000005, 0x01ff01ff, 0x01ff01ff, 0x20080140, 0x40040140),
    leaf(0x80000006, 0, 0x42004200, 0x02006140, 0x00408140),
    // Invariant TSC
    leaf(0x80000007, 0, 0, 0, 1 << 8),
    // 48 bits physical and linear
    leaf(0x80000008, 0x3030, EXT8_EBX, 0, 0),
    leaf(
      0x80000021,
      CpuidExt21Eax.NO_NESTED_DATA_BP |
        CpuidExt21Eax.LFENCE_RDTSC |
        CpuidExt21Eax.NULL_SEL_CLR_BASE |
        CpuidExt21Eax.AUTOIBRS |
        CpuidExt21Eax.SRSO_NO,
      0,
      // A processor of this family is not affected by transient scheduler attacks: Linux tells guests so.
      CpuidExt21Ecx.TSA_SQ_NO | CpuidExt21Ecx.TSA_L1_NO,
      0,
    ),
    leaf(0x40000000, 0x40000001, cpuidText("KVMK"), cpuidText("VMKV"), cpuidText("M")),
    leaf(
      0x40000001,
      Object.values(KvmFeature).reduce((all, bit) => all | bit, 0),
      0,
      0,
      0,
    ),
  ];
}

/**
 * KVM_GET_EMULATED_CPUID: instructions that work when the guest's CPUID has them although
 * KVM_GET_SUPPORTED_CPUID does not name them.
 */
export function emulatedCpuid(): CpuidEntry2[] {
  return [leaf(0, 7, 0, 0, 0), leaf(1, 0, 0, C1.MOVBE, 0), leaf(7, 0, 0, Cpuid7Ecx.RDPID, 0, 0)];
}

/** A CPUID result with the input that selects it, as `struct kvm_cpuid_entry2` has it. All u32. */
export interface CpuidEntry2 {
  readonly function: number;
  readonly index: number;
  /** Bit 0 (KVM_CPUID_FLAG_SIGNIFCANT_INDEX): the entry answers this `index` only. */
  readonly flags: number;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** `KVM_CPUID_FLAG_SIGNIFCANT_INDEX`, spelled as the header does. */
export const KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1;

/** Leaf 1 EDX. */
export const Cpuid1Edx = {
  FPU: 1 << 0,
  VME: 1 << 1,
  DE: 1 << 2,
  PSE: 1 << 3,
  TSC: 1 << 4,
  MSR: 1 << 5,
  PAE: 1 << 6,
  MCE: 1 << 7,
  CX8: 1 << 8,
  APIC: 1 << 9,
  SEP: 1 << 11,
  MTRR: 1 << 12,
  PGE: 1 << 13,
  MCA: 1 << 14,
  CMOV: 1 << 15,
  PAT: 1 << 16,
  PSE36: 1 << 17,
  CLFLUSH: 1 << 19,
  MMX: 1 << 23,
  FXSR: 1 << 24,
  SSE: 1 << 25,
  SSE2: 1 << 26,
  HTT: 1 << 28,
} as const;

/** Leaf 1 ECX. */
export const Cpuid1Ecx = {
  SSE3: 1 << 0,
  MONITOR: 1 << 3,
  SSSE3: 1 << 9,
  CX16: 1 << 13,
  PDCM: 1 << 15,
  PCID: 1 << 17,
  SSE4_1: 1 << 19,
  SSE4_2: 1 << 20,
  X2APIC: 1 << 21,
  MOVBE: 1 << 22,
  POPCNT: 1 << 23,
  TSC_DEADLINE: 1 << 24,
  XSAVE: 1 << 26,
  OSXSAVE: 1 << 27,
  RDRAND: 1 << 30,
  HYPERVISOR: 1 << 31,
} as const;

/** Leaf 7 subleaf 0 EBX. */
export const Cpuid7Ebx = {
  FSGSBASE: 1 << 0,
  TSC_ADJUST: 1 << 1,
  FDP_EXCPTN_ONLY: 1 << 6,
  SMEP: 1 << 7,
  ERMS: 1 << 9,
  INVPCID: 1 << 10,
  ZERO_FCS_FDS: 1 << 13,
  SMAP: 1 << 20,
} as const;

/** Leaf 7 subleaf 0 ECX. */
export const Cpuid7Ecx = { UMIP: 1 << 2, RDPID: 1 << 22 } as const;

/** Leaf 7 subleaf 0 EDX. */
export const Cpuid7Edx = { FSRM: 1 << 4, SPEC_CTRL: 1 << 26, ARCH_CAPABILITIES: 1 << 29 } as const;

/** Leaf 7 subleaf 1 EAX: REP MOVSB, STOSB and CMPSB/SCASB are fast for short and zero lengths. */
export const Cpuid71Eax = { FZRM: 1 << 10, FSRS: 1 << 11, FSRC: 1 << 12 } as const;

/** Leaf 0xd subleaf 1 EAX. */
export const CpuidD1Eax = { XSAVEOPT: 1 << 0, XSAVES: 1 << 3, XFD: 1 << 4 } as const;

/** Leaf 0x80000001 EDX, apart from the copies of leaf 1. */
export const CpuidExt1Edx = {
  SYSCALL: 1 << 11,
  NX: 1 << 20,
  PDPE1GB: 1 << 26,
  RDTSCP: 1 << 27,
  LM: 1 << 29,
} as const;

/** Leaf 0x80000001 ECX. */
export const CpuidExt1Ecx = {
  LAHF_LM: 1 << 0,
  CMP_LEGACY: 1 << 1,
  SVM: 1 << 2,
  OSVW: 1 << 9,
} as const;

/** Leaf 0x80000008 EBX. */
export const CpuidExt8Ebx = {
  XSAVEERPTR: 1 << 2,
  IBPB: 1 << 12,
  IBRS: 1 << 14,
  STIBP: 1 << 15,
  SSBD: 1 << 24,
  VIRT_SSBD: 1 << 25,
  AMD_SSB_NO: 1 << 26,
  BTC_NO: 1 << 29,
} as const;

/** Leaf 0x80000021 EAX. */
export const CpuidExt21Eax = {
  NO_NESTED_DATA_BP: 1 << 0,
  LFENCE_RDTSC: 1 << 2,
  NULL_SEL_CLR_BASE: 1 << 6,
  AUTOIBRS: 1 << 8,
  SBPB: 1 << 27,
  SRSO_NO: 1 << 29,
} as const;

/** Leaf 0x80000021 ECX. */
export const CpuidExt21Ecx = {
  TSA_SQ_NO: 1 << 1,
  TSA_L1_NO: 1 << 2,
} as const;

/** Leaf 0x40000001 EAX of KVM's own leaves (`asm/kvm_para.h`). */
export const KvmFeature = {
  CLOCKSOURCE: 1 << 0,
  NOP_IO_DELAY: 1 << 1,
  CLOCKSOURCE2: 1 << 3,
  ASYNC_PF: 1 << 4,
  STEAL_TIME: 1 << 5,
  PV_EOI: 1 << 6,
  PV_UNHALT: 1 << 7,
  PV_TLB_FLUSH: 1 << 9,
  ASYNC_PF_VMEXIT: 1 << 10,
  PV_SEND_IPI: 1 << 11,
  POLL_CONTROL: 1 << 12,
  PV_SCHED_YIELD: 1 << 13,
  ASYNC_PF_INT: 1 << 14,
  CLOCKSOURCE_STABLE_BIT: 1 << 24,
} as const;

/** The four bytes of an ASCII text as CPUID puts them into a register. */
export function cpuidText(text: string): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = (value * 256 + (text.charCodeAt(i) || 0)) >>> 0;
  return value;
}

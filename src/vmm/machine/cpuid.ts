/** What CPUID answers on a vCPU: what KVM supports, the topology, and Xen's leaves. */

import {
  Cpuid1Ecx,
  Cpuid1Edx,
  type CpuidEntry2,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
} from "../../abi/x86/index.js";
import {
  XEN_CPUID_FIRST_LEAF,
  XEN_CPUID_SIGNATURE,
  XEN_CPUID_TSC_HOST_RELIABLE,
  XEN_CPUID_TSC_RDTSCP,
  XenHvmCpuid,
} from "../../abi/xen/cpuid.js";

/** A vCPU and its machine. */
export interface CpuidConfig {
  readonly apicId: number;
  readonly xenVcpuId: number;
  readonly cpus: number;
  readonly domid: number;
  readonly xenVersion: number;
  /** Index of the MSR that makes a hypercall page. */
  readonly hypercallMsr: number;
  readonly tscKhz: number;
}

/** Leaf 0x80000001 ECX: several cores and no simultaneous threads. */
const CMP_LEGACY = 1 << 1;
const LEVEL_THREAD = 1;
const LEVEL_CORE = 2;

type Registers = readonly [eax: number, ebx: number, ecx: number, edx: number];

function leaf(fn: number, [eax, ebx, ecx, edx]: Registers, index?: number): CpuidEntry2 {
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

/**
 * The table of one vCPU. KVM's own leaves are left out: Linux takes the hypervisor interface with
 * the highest base, and that must be Xen.
 */
export function vcpuCpuid(supported: readonly CpuidEntry2[], config: CpuidConfig): CpuidEntry2[] {
  const isHypervisor = (fn: number): boolean => fn >= 0x40000000 && fn < 0x50000000;
  const kept = supported.filter((e) => !isHypervisor(e.function) && e.function !== 0xb);
  return [
    ...kept.map((entry) => withTopology(entry, config)),
    ...topologyLeaves(config),
    ...xenLeaves(config),
  ];
}

/** Bits of an APIC id that number the cores. */
const coreBits = (cpus: number): number => Math.ceil(Math.log2(cpus));

/** All vCPUs are cores of one package. */
function withTopology(entry: CpuidEntry2, { apicId, cpus }: CpuidConfig): CpuidEntry2 {
  const several = cpus > 1;
  switch (entry.function) {
    case 1: {
      const ebx = (entry.ebx & 0xffff) | (cpus << 16) | ((apicId & 0xff) << 24);
      const ecx = entry.ecx | Cpuid1Ecx.HYPERVISOR;
      const edx = several ? entry.edx | Cpuid1Edx.HTT : entry.edx;
      return { ...entry, ebx: ebx >>> 0, ecx: ecx >>> 0, edx: edx >>> 0 };
    }
    case 0x80000001:
      return several ? { ...entry, ecx: (entry.ecx | CMP_LEGACY) >>> 0 } : entry;
    case 0x80000008:
      return { ...entry, ecx: (cpus - 1) | (coreBits(cpus) << 12) };
    default:
      return entry;
  }
}

/** Leaf 0xb (extended topology): one thread a core, all cores in one package. */
function topologyLeaves({ apicId, cpus }: CpuidConfig): CpuidEntry2[] {
  return [
    leaf(0xb, [0, 1, (LEVEL_THREAD << 8) | 0, apicId], 0),
    leaf(0xb, [coreBits(cpus), cpus, (LEVEL_CORE << 8) | 1, apicId], 1),
    leaf(0xb, [0, 0, 2, apicId], 2),
  ];
}

function xenLeaves(config: CpuidConfig): CpuidEntry2[] {
  const base = XEN_CPUID_FIRST_LEAF;
  const tsc = XEN_CPUID_TSC_HOST_RELIABLE | XEN_CPUID_TSC_RDTSCP;
  const hvm = XenHvmCpuid.VCPU_ID_PRESENT | XenHvmCpuid.DOMID_PRESENT | XenHvmCpuid.UPCALL_VECTOR;
  const [ebx, ecx, edx] = XEN_CPUID_SIGNATURE;
  return [
    leaf(base, [base + 5, ebx, ecx, edx]),
    leaf(base + 1, [config.xenVersion, 0, 0, 0]),
    leaf(base + 2, [1, config.hypercallMsr, 0, 0]),
    // TSC mode 0: the TSC is not emulated as long as its frequency stays what it is.
    leaf(base + 3, [tsc, 0, config.tscKhz, 0], 0),
    // KVM fills in multiplier, shift and frequency.
    leaf(base + 3, [0, 0, 0, 0], 1),
    leaf(base + 3, [config.tscKhz, 0, 0, 0], 2),
    leaf(base + 4, [hvm, config.xenVcpuId, config.domid, 0]),
    // Width of machine addresses, for PV guests.
    leaf(base + 5, [0, 48, 0, 0]),
  ];
}

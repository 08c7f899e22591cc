import { KvmLimit } from "../../abi/kvm/index.js";
import {
  Cpuid1Ecx,
  Cpuid1Edx,
  type CpuidEntry2,
  cpuidText,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
} from "../../abi/x86/index.js";
import { refuse } from "../error.js";

/** What of a vCPU's state shows in CPUID. */
export interface CpuidState {
  readonly osxsave: boolean;
  readonly apicEnabled: boolean;
}

/** The four result registers, u32. */
export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

const ZERO: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const AMD = cpuidText("Auth");
const HYGON = cpuidText("Hygo");

/** The CPUID table of a vCPU, as KVM_SET_CPUID2 sets it. */
export class CpuidTable {
  #entries: CpuidEntry2[] = [];

  /** Physical address width of the guest: leaf 0x80000008, else 36. */
  maxPhysicalBits = 36;
  hasX2apic = false;
  hasTscDeadline = false;

  /**
   * Replaces the table. @throws KvmError E2BIG more than 256 entries; EINVAL a linear address width
   * other than 48 or 57.
   */
  set(entries: readonly CpuidEntry2[]): void {
    if (entries.length > KvmLimit.MAX_CPUID_ENTRIES) refuse("E2BIG", "too many CPUID entries");
    const ext8 = findEntry(entries, 0x80000008, 0);
    if (ext8 !== undefined) {
      const linear = (ext8.eax >>> 8) & 0xff;
      if (linear !== 0 && linear !== 48 && linear !== 57) refuse("EINVAL", "linear address width");
    }
    this.#entries = entries.map((entry) => ({ ...entry }));
    const max = findEntry(entries, 0x80000000, 0)?.eax ?? 0;
    this.maxPhysicalBits = max >= 0x80000008 && ext8 !== undefined ? ext8.eax & 0xff : 36;
    const features = findEntry(entries, 1, 0)?.ecx ?? 0;
    this.hasX2apic = (features & Cpuid1Ecx.X2APIC) !== 0;
    this.hasTscDeadline = (features & Cpuid1Ecx.TSC_DEADLINE) !== 0;
  }

  /** The table with the bits that follow the vCPU's state (KVM_GET_CPUID2). */
  get(state: CpuidState): CpuidEntry2[] {
    return this.#entries.map((entry) => ({ ...entry, ...dynamic(entry, state) }));
  }

  /** Replaces results of one entry, if it exists (u32, those not given stay). */
  patch(fn: number, index: number, values: Partial<CpuidResult>): void {
    const at = this.#entries.findIndex((entry) => entry.function === fn && entry.index === index);
    const old = this.#entries[at];
    if (old !== undefined) this.#entries[at] = { ...old, ...values };
  }

  /** The entry that answers an input, if any. */
  find(fn: number, index: number): CpuidEntry2 | undefined {
    return findEntry(this.#entries, fn, index);
  }

  /** What CPUID answers; an input outside of the table gives zeros, or on Intel the last leaf. */
  lookup(fn: number, index: number, state: CpuidState): CpuidResult {
    const entry = this.find(fn, index) ?? this.#outOfRange(fn, index);
    if (entry !== undefined) return dynamic(entry, state);
    if (fn === 0xb || fn === 0x1f) {
      // Topology leaves answer the x2APIC id at every level.
      const first = this.find(fn, 1);
      if (first !== undefined) return { ...ZERO, ecx: index & 0xff, edx: first.edx };
    }
    return ZERO;
  }

  #outOfRange(fn: number, index: number): CpuidEntry2 | undefined {
    const basic = this.find(0, 0);
    if (basic === undefined || basic.ebx === AMD || basic.ebx === HYGON) return undefined;
    const hypervisor = fn >= 0x40000000 && fn <= 0x4fffffff;
    const base = hypervisor ? (fn & 0xffffff00) >>> 0 : fn >= 0x80000000 ? 0x80000000 : 0;
    const range = this.find(base, 0);
    if (range !== undefined && fn <= range.eax) return undefined;
    return this.find(basic.eax, index);
  }
}

function findEntry(
  entries: readonly CpuidEntry2[],
  fn: number,
  index: number,
): CpuidEntry2 | undefined {
  for (const entry of entries) {
    if (entry.function !== fn) continue;
    const any = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) === 0;
    if (any || entry.index === index) return entry;
  }
  return undefined;
}

function dynamic(entry: CpuidEntry2, state: CpuidState): CpuidResult {
  let { ecx, edx } = entry;
  if (entry.function === 1) {
    ecx = state.osxsave ? ecx | Cpuid1Ecx.OSXSAVE : ecx & ~Cpuid1Ecx.OSXSAVE;
    edx = state.apicEnabled ? edx | Cpuid1Edx.APIC : edx & ~Cpuid1Edx.APIC;
  }
  return { eax: entry.eax, ebx: entry.ebx, ecx: ecx >>> 0, edx: edx >>> 0 };
}

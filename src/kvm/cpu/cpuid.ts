import { KvmLimit } from "../../abi/kvm/index.js";
import {
  Cpuid1Ecx,
  Cpuid1Edx,
  Cpuid7Ebx,
  Cpuid7Ecx,
  type CpuidEntry2,
  CpuidExt1Ecx,
  CpuidExt1Edx,
  CpuidExt21Eax,
  Cr4,
  cpuidText,
  Efer,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
  KvmFeature,
} from "../../abi/x86/index.js";
import { type HiddenFeatures, HiddenInstruction } from "../../engine/bridge/port.js";
import { refuse } from "../error.js";

/** What of a vCPU's state shows in CPUID. */
export interface CpuidState {
  readonly osxsave: boolean;
  readonly apicEnabled: boolean;
  /** MONITOR as IA32_MISC_ENABLE rules it; undefined when it does not. */
  readonly monitor?: boolean | undefined;
  /** HLT does not exit: no kicks by hypercall. */
  readonly haltInGuest?: boolean;
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
const INTEL = cpuidText("Genu");

const { MONITOR } = Cpuid1Ecx;

/** XCR0 bits that exist: x87 and SSE. */
const SUPPORTED_XCR0 = 3n;

/** CR4 bits that every guest may set. */
const CR4_ALWAYS =
  Cr4.VME |
  Cr4.PVI |
  Cr4.TSD |
  Cr4.DE |
  Cr4.PSE |
  Cr4.PAE |
  Cr4.MCE |
  Cr4.PGE |
  Cr4.PCE |
  Cr4.OSFXSR |
  Cr4.OSXMMEXCPT;

export type Register = "eax" | "ebx" | "ecx" | "edx";

/** Bits of a result of CPUID: function, index, register, mask. */
export type FeatureBits = readonly [fn: number, index: number, register: Register, mask: number];

/** A result of CPUID that features are in: 0 where the table has none. */
type Words = (fn: number, index: number, register: Register) => number;

/** What KVM hides from a guest without the feature; KVM for AMD cannot hide other instructions. */
const HIDEABLE: readonly (readonly [instruction: number, ...feature: FeatureBits])[] = [
  [HiddenInstruction.RDTSCP, 0x80000001, 0, "edx", CpuidExt1Edx.RDTSCP],
  [HiddenInstruction.INVPCID, 7, 0, "ebx", Cpuid7Ebx.INVPCID],
  // KVM emulates these two on processors without them, as this one counts as.
  [HiddenInstruction.RDPID, 7, 0, "ecx", Cpuid7Ecx.RDPID],
  [HiddenInstruction.MOVBE, 1, 0, "ecx", Cpuid1Ecx.MOVBE],
];

function hiddenInstructions(word: Words): number {
  let hidden = 0;
  for (const [instruction, fn, index, register, mask] of HIDEABLE) {
    if ((word(fn, index, register) & mask) === 0) hidden |= instruction;
  }
  return hidden;
}

/** CR4 bits that need a feature, as far as the processor has it. */
function cr4Of(word: Words): bigint {
  let allowed = CR4_ALWAYS;
  const basic = word(1, 0, "ecx");
  const extended = word(7, 0, "ebx");
  if ((basic & Cpuid1Ecx.XSAVE) !== 0) allowed |= Cr4.OSXSAVE;
  if ((extended & Cpuid7Ebx.SMEP) !== 0) allowed |= Cr4.SMEP;
  if ((extended & Cpuid7Ebx.SMAP) !== 0) allowed |= Cr4.SMAP;
  if ((extended & Cpuid7Ebx.FSGSBASE) !== 0) allowed |= Cr4.FSGSBASE;
  if ((word(7, 0, "ecx") & Cpuid7Ecx.UMIP) !== 0) allowed |= Cr4.UMIP;
  return allowed;
}

/**
 * EFER bits that the guest's CPUID allows, as KVM of Linux 6.12 on AMD: SCE and LMSLE need none. None but them
 * before there is a table.
 */
function eferOf(word: Words): bigint {
  let allowed = Efer.SCE | Efer.LMSLE;
  const edx = word(0x80000001, 0, "edx");
  if ((edx & CpuidExt1Edx.LM) !== 0) allowed |= Efer.LME | Efer.LMA;
  if ((edx & CpuidExt1Edx.NX) !== 0) allowed |= Efer.NX;
  if ((word(0x80000001, 0, "ecx") & CpuidExt1Ecx.SVM) !== 0) allowed |= Efer.SVME;
  if ((word(0x80000021, 0, "eax") & CpuidExt21Eax.AUTOIBRS) !== 0) allowed |= Efer.AUTOIBRS;
  return allowed;
}

/**
 * The leaf of KVM's paravirtual features: behind the lowest leaf, at 0x40000000 or a multiple of 0x100 above, that says
 * KVMKVMKVM. Of several entries of a leaf only the first counts.
 */
function pvFeatureLeaf(entries: readonly CpuidEntry2[]): CpuidEntry2 | undefined {
  const first = (fn: number) => entries.find((entry) => entry.function === fn);
  let base: number | undefined;
  for (const { function: fn } of entries) {
    if (fn < 0x40000000 || fn >= 0x40010000 || (fn & 0xff) !== 0) continue;
    const { ebx, ecx, edx } = first(fn) ?? ZERO;
    const isKvm = ebx === cpuidText("KVMK") && ecx === cpuidText("VMKV") && edx === cpuidText("M");
    if (isKvm && (base === undefined || fn < base)) base = fn;
  }
  return base === undefined ? undefined : first(base + 1);
}

/** The CPUID table of a vCPU, as KVM_SET_CPUID2 sets it. */
export class CpuidTable {
  #entries: CpuidEntry2[] = [];

  /** Physical address width of the guest: leaf 0x80000008, else 36. */
  maxPhysicalBits = 36;
  hasX2apic = false;
  hasTscDeadline = false;
  hasSse3 = false;
  hasTscAdjust = false;
  hasMonitor = false;
  /** AMD's or Hygon's; a table without a vendor counts as Intel's. */
  isAmd = false;
  /** The table says that it is Intel's. */
  isIntel = false;
  /** Family and model are known. */
  hasModel = false;
  /** XCR0 bits that the guest may set, besides x87. */
  xcr0 = 0n;
  /** CR4 bits that the guest's features allow. */
  cr4Allowed: bigint;
  /** EFER bits that the guest's features allow: few, before there is a table. */
  eferAllowed = eferOf(() => 0);
  /** KVM's paravirtual features, from KVM's own leaf wherever it is; 0 without. */
  #pvFeatures = 0;
  /** KVM_CAP_ENFORCE_PV_FEATURE_CPUID. */
  enforcePvFeatures = false;

  /** @param checksAtOnce before there is a table, CR4 bits need features that nobody has; else all are allowed */
  constructor(checksAtOnce = false) {
    this.cr4Allowed = cr4Of(() => (checksAtOnce ? 0 : 0xffffffff));
  }

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
    this.hasSse3 = (features & Cpuid1Ecx.SSE3) !== 0;
    this.hasMonitor = (features & MONITOR) !== 0;
    this.#derive();
  }

  readonly #word: Words = (fn, index, register) =>
    findEntry(this.#entries, fn, index)?.[register] ?? 0;

  /** The guest has one of these features. */
  hasAny(features: readonly FeatureBits[]): boolean {
    return features.some(([fn, index, register, mask]) => {
      return (this.#word(fn, index, register) & mask) !== 0;
    });
  }

  /** What the engine must not let the guest use. */
  get hidden(): HiddenFeatures {
    return {
      instructions: hiddenInstructions(this.#word),
      cr4: BigInt.asUintN(64, ~this.cr4Allowed),
      xcr0: BigInt.asUintN(64, ~(this.xcr0 | 1n)),
    };
  }

  #derive(): void {
    const word = this.#word;
    const vendor = word(0, 0, "ebx");
    this.isAmd = vendor === AMD || vendor === HYGON;
    this.isIntel = vendor === INTEL;
    this.hasModel = this.find(1, 0) !== undefined;
    this.hasTscAdjust = (word(7, 0, "ebx") & Cpuid7Ebx.TSC_ADJUST) !== 0;
    this.xcr0 = BigInt(word(0xd, 0, "eax")) & SUPPORTED_XCR0;
    this.cr4Allowed = cr4Of(word);
    this.eferAllowed = eferOf(word);
    this.#pvFeatures = pvFeatureLeaf(this.#entries)?.eax ?? 0;
  }

  /** Whether the guest may use a paravirtual feature: all, unless enforced (`KvmFeature` bit). */
  hasPvFeature(feature: number): boolean {
    return !this.enforcePvFeatures || (this.#pvFeatures & feature) !== 0;
  }

  /** The table with the bits that follow the vCPU's state (KVM_GET_CPUID2). */
  get(state: CpuidState): CpuidEntry2[] {
    return this.#entries.map((entry) => {
      const { eax, ebx, ecx, edx } = dynamic(entry, state, this.#entries);
      const { function: fn, index, flags } = entry;
      return { function: fn, index, flags, eax, ebx, ecx, edx };
    });
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
    if (entry !== undefined) return dynamic(entry, state, this.#entries);
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

/** Size of the XSAVE area for XCR0 as it can be: legacy area and header. */
const XSAVE_SIZE = 576;

/** An entry of a table as the vCPU's state makes it. */
function dynamic(
  entry: CpuidEntry2,
  state: CpuidState,
  table: readonly CpuidEntry2[],
): CpuidResult {
  let { eax, ebx, ecx, edx } = entry;
  if (entry.function === 1) {
    ecx = state.osxsave ? ecx | Cpuid1Ecx.OSXSAVE : ecx & ~Cpuid1Ecx.OSXSAVE;
    edx = state.apicEnabled ? edx | Cpuid1Edx.APIC : edx & ~Cpuid1Edx.APIC;
    if (state.monitor !== undefined) ecx = state.monitor ? ecx | MONITOR : ecx & ~MONITOR;
  } else if (entry.function === 0xd && entry.index === 0) ebx = XSAVE_SIZE;
  else if (state.haltInGuest === true && entry === pvFeatureLeaf(table)) {
    eax &= ~KvmFeature.PV_UNHALT;
  }
  return { eax: eax >>> 0, ebx: ebx >>> 0, ecx: ecx >>> 0, edx: edx >>> 0 };
}

/** Whether two tables say the same, but for what follows the vCPU's state. */
export function sameTable(
  a: readonly CpuidEntry2[],
  b: readonly CpuidEntry2[],
  state: CpuidState,
): boolean {
  if (a.length !== b.length) return false;
  return a.every((entry, i) => {
    const other = b[i];
    if (other === undefined) return false;
    const [x, y] = [dynamic(entry, state, a), dynamic(other, state, b)];
    return (
      entry.function === other.function &&
      entry.index === other.index &&
      entry.flags === other.flags &&
      x.eax === y.eax &&
      x.ebx === y.ebx &&
      x.ecx === y.ecx &&
      x.edx === y.edx
    );
  });
}

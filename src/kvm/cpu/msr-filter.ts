import { Msr } from "../../abi/x86/index.js";
import { refuse } from "../error.js";

/** `KVM_MSR_FILTER_*` flags of ranges, and of the filter. */
export const KvmMsrFilterFlag = { READ: 1, WRITE: 2, DEFAULT_DENY: 1 } as const;

/**
 * `KVM_MSR_FILTER_MAX_RANGES` and `KVM_MSR_FILTER_MAX_BITMAP_SIZE` (bytes).
 * @limit client | ranges of an MSR filter | ranges | EINVAL, as Linux
 */
const MAX_RANGES = 16;
/** @limit client | bitmap of one range of an MSR filter | bytes | EINVAL, as Linux */
const MAX_BITMAP = 0x600;

/** `struct kvm_msr_filter_range`. */
export interface KvmMsrFilterRange {
  /** READ and WRITE bits of {@link KvmMsrFilterFlag}. */
  readonly flags: number;
  readonly nmsrs: number;
  /** First MSR index. */
  readonly base: number;
  /** One bit per MSR, rounded up to 8 bytes: set means allowed. */
  readonly bitmap: Uint8Array;
}

/** `struct kvm_msr_filter`: at most 16 ranges, the first that matches decides. */
export interface KvmMsrFilter {
  /** 0 (allow) or DEFAULT_DENY, for MSRs in no range. */
  readonly flags: number;
  readonly ranges: readonly KvmMsrFilterRange[];
}

/** Bytes of the bitmap of a range: whole longs. */
export const msrBitmapBytes = (nmsrs: number): number => Math.ceil(nmsrs / 64) * 8;

/** Which MSRs a guest may access without #GP (or an exit): KVM_X86_SET_MSR_FILTER. */
export class MsrFilter {
  readonly #deny: boolean;
  readonly #ranges: readonly KvmMsrFilterRange[];

  /** @throws KvmError EINVAL for unknown flags, no flags, too long a range, or a filter of nothing. */
  constructor(filter: KvmMsrFilter) {
    if ((filter.flags & ~KvmMsrFilterFlag.DEFAULT_DENY) !== 0) refuse("EINVAL", "filter flags");
    if (filter.ranges.length > MAX_RANGES) refuse("EINVAL", "filter ranges");
    this.#deny = filter.flags !== 0;
    this.#ranges = filter.ranges.filter((range) => range.nmsrs !== 0);
    if (this.#deny && this.#ranges.length === 0) refuse("EINVAL", "filter without ranges");
    for (const range of this.#ranges) {
      if (range.flags === 0 || (range.flags & ~3) !== 0) refuse("EINVAL", "filter range flags");
      if (msrBitmapBytes(range.nmsrs) > MAX_BITMAP) refuse("EINVAL", "filter range length");
      if (range.bitmap.length < Math.ceil(range.nmsrs / 8)) refuse("EINVAL", "filter bitmap");
    }
  }

  /** Whether some access may be refused. */
  get restricts(): boolean {
    return this.#deny || this.#ranges.length > 0;
  }

  /** Whether the guest may read (flag READ) or write an MSR; x2APIC registers always. */
  allows(index: number, flag: number): boolean {
    if (index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST) return true;
    for (const { flags, base, nmsrs, bitmap } of this.#ranges) {
      const bit = index - base;
      if (bit < 0 || bit >= nmsrs || (flags & flag) === 0) continue;
      return (((bitmap[bit >> 3] as number) >> (bit & 7)) & 1) !== 0;
    }
    return !this.#deny;
  }
}

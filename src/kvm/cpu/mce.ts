import type { KvmX86Mce } from "../../abi/kvm/index.js";
import { Msr } from "../../abi/x86/index.js";
import { refuse } from "../error.js";

/**
 * `KVM_MAX_MCE_BANKS`.
 * @limit client | machine check banks | banks | EINVAL, as Linux
 */
const MAX_BANKS = 32;

/** Bits of MCG_CAP and of a bank's status (Intel SDM volume 3, "Machine-Check Architecture"). */
const MCG_CTL_P = 0x100n;
const MCG_CMCI_P = 0x400n;
const MCG_SER_P = 1n << 24n;
const MCG_STATUS_MCIP = 4n;
const STATUS = { VAL: 1n << 63n, OVER: 1n << 62n, UC: 1n << 61n, PCC: 1n << 57n } as const;
const STATUS_SIGNALLED = 1n << 56n;
const STATUS_ACTION_REQUIRED = 1n << 55n;

/** KVM_X86_GET_MCE_CAP_SUPPORTED: what AMD processors have. */
export const MCE_CAP_SUPPORTED = MCG_CTL_P | MCG_SER_P;

const ALL_ONES = 0xffffffffffffffffn;
const MCG_CTL2_FIRST = 0x280;

/** What a machine check does to the vCPU. */
export type MceOutcome = "nothing" | "exception" | "triple-fault";

/** The machine check registers of a vCPU. Reads and writes answer undefined and false for #GP. */
export class MceBanks {
  #cap = BigInt(MAX_BANKS);
  #ctl = 0n;
  #status = 0n;
  readonly #banks = new Array<bigint>(MAX_BANKS * 4).fill(0n);
  readonly #ctl2 = new Array<bigint>(MAX_BANKS).fill(0n);

  /** Whether an MSR is one of them. */
  static claims(index: number): boolean {
    return (
      (index >= Msr.IA32_MC0_CTL && index < Msr.IA32_MC0_CTL + MAX_BANKS * 4) ||
      (index >= MCG_CTL2_FIRST && index < MCG_CTL2_FIRST + MAX_BANKS) ||
      (index >= Msr.IA32_MCG_CAP && index <= Msr.IA32_MCG_CTL) ||
      index < 2
    );
  }

  get #count(): number {
    return Number(this.#cap & 0xffn);
  }

  /** Reads a register that {@link claims} named. */
  read(index: number, fromHost: boolean): bigint | undefined {
    switch (index) {
      case 0:
      case 1:
        return 0n;
      case Msr.IA32_MCG_CAP:
        return this.#cap;
      case Msr.IA32_MCG_STATUS:
        return this.#status;
      case Msr.IA32_MCG_CTL:
        return (this.#cap & MCG_CTL_P) === 0n && !fromHost ? undefined : this.#ctl;
      default:
    }
    if (index < Msr.IA32_MC0_CTL) {
      const bank = index - MCG_CTL2_FIRST;
      if (bank >= this.#count || ((this.#cap & MCG_CMCI_P) === 0n && !fromHost)) return undefined;
      return this.#ctl2[bank];
    }
    const at = index - Msr.IA32_MC0_CTL;
    return at < this.#count * 4 ? this.#banks[at] : undefined;
  }

  /** Writes one. `statusWritable`: HWCR lets the guest write status registers. */
  write(index: number, value: bigint, fromHost: boolean, statusWritable: boolean): boolean {
    switch (index) {
      case Msr.IA32_MCG_STATUS:
        this.#status = value;
        return true;
      case Msr.IA32_MCG_CTL:
        if ((this.#cap & MCG_CTL_P) === 0n && (value !== 0n || !fromHost)) return false;
        if (value !== 0n && value !== ALL_ONES) return false;
        this.#ctl = value;
        return true;
      case 0:
      case 1:
      case Msr.IA32_MCG_CAP:
        return false;
      default:
    }
    if (index < Msr.IA32_MC0_CTL) return this.#writeCtl2(index - MCG_CTL2_FIRST, value, fromHost);
    const at = index - Msr.IA32_MC0_CTL;
    if (at >= this.#count * 4) return false;
    // Linux leaves bit 10 of bank 4 clear and old AMD processors bit 0.
    if ((at & 3) === 0 && value !== 0n && (value | 0x401n) !== ALL_ONES) return false;
    if ((at & 3) === 1 && value !== 0n && !fromHost && !statusWritable) return false;
    this.#banks[at] = value;
    return true;
  }

  #writeCtl2(bank: number, value: bigint, fromHost: boolean): boolean {
    if (bank >= this.#count) return false;
    if ((this.#cap & MCG_CMCI_P) === 0n && (value !== 0n || !fromHost)) return false;
    // Enable bit and threshold
    if ((value & ~0x40007fffn) !== 0n) return false;
    this.#ctl2[bank] = value;
    return true;
  }

  /** KVM_X86_SETUP_MCE. @throws KvmError EINVAL for no or too many banks, or unknown bits. */
  setUp(cap: bigint): void {
    const count = Number(cap & 0xffn);
    if (count === 0 || count > MAX_BANKS) refuse("EINVAL", "machine check banks");
    if ((cap & ~(MCE_CAP_SUPPORTED | 0xffn | 0xff0000n)) !== 0n) refuse("EINVAL", "MCG_CAP");
    // AMD has nothing above MCG_CTL_P.
    this.#cap = cap & 0x1ffn;
    if ((cap & MCG_CTL_P) !== 0n) this.#ctl = ALL_ONES;
    for (let bank = 0; bank < count; bank++) this.#banks[bank * 4] = ALL_ONES;
  }

  /**
   * KVM_X86_SET_MCE: puts an error into a bank.
   * @returns what the vCPU gets. `enabled` is CR4.MCE. @throws KvmError EINVAL bank or status.
   */
  raise(mce: KvmX86Mce, enabled: boolean): MceOutcome {
    if (mce.bank >= this.#count || (mce.status & STATUS.VAL) === 0n) refuse("EINVAL", "bank");
    const at = mce.bank * 4;
    const uncorrected = (mce.status & STATUS.UC) !== 0n;
    if (isNoActionRequired(mce)) {
      this.#record(at, mce, mce.status);
      this.#status = mce.mcgStatus;
      return "nothing";
    }
    if (uncorrected) {
      // Reporting is off unless all control bits are set.
      if ((this.#cap & MCG_CTL_P) !== 0n && this.#ctl !== ALL_ONES) return "nothing";
      if (this.#banks[at] !== ALL_ONES) return "nothing";
      if ((this.#status & MCG_STATUS_MCIP) !== 0n || !enabled) return "triple-fault";
    }
    const old = this.#banks[at + 1] as bigint;
    const occupied = (old & STATUS.VAL) !== 0n;
    if (!uncorrected && occupied && (old & STATUS.UC) !== 0n) {
      this.#banks[at + 1] = old | STATUS.OVER;
      return "nothing";
    }
    this.#record(at, mce, occupied ? mce.status | STATUS.OVER : mce.status);
    if (!uncorrected) return "nothing";
    this.#status = mce.mcgStatus;
    return "exception";
  }

  #record(at: number, mce: KvmX86Mce, status: bigint): void {
    this.#banks[at + 1] = status;
    this.#banks[at + 2] = mce.addr;
    this.#banks[at + 3] = mce.misc;
  }
}

/** An uncorrected error that asks for nothing (UCNA): reported without an exception. */
function isNoActionRequired({ status, mcgStatus }: KvmX86Mce): boolean {
  const asks = STATUS.PCC | STATUS_SIGNALLED | STATUS_ACTION_REQUIRED;
  return mcgStatus === 0n && (status & asks) === 0n && (status & STATUS.UC) !== 0n;
}

import { ApicBase, Msr } from "../../abi/x86/index.js";
import { Mtrrs } from "./mtrr.js";

/** What the MSR file of a vCPU reaches outside of itself. */
export interface MsrHost {
  /** An MSR the engine keeps: undefined when it does not. */
  engineRead(index: number): bigint | undefined;
  engineWrite(index: number, value: bigint): boolean;
  readTsc(): bigint;
  writeTsc(value: bigint): void;
  /** IA32_TSC_ADJUST was written: the TSC moves by the difference. */
  adjustTsc(delta: bigint): void;
  apicBase(): bigint;
  setApicBase(value: bigint, fromHost: boolean): boolean;
  /** x2APIC registers and the TSC deadline. */
  apicRead(index: number): bigint | undefined;
  apicWrite(index: number, value: bigint): boolean;
  tscDeadline(): bigint;
  setTscDeadline(value: bigint): void;
  /** The hypercall page MSR: undefined when it is none. */
  xenWrite(index: number, value: bigint): boolean | undefined;
  /** KVM's clock and steal time areas: called after a valid write. */
  kvmMsrWritten(index: number, value: bigint): void;
  readonly physicalBits: number;
  readonly isBsp: boolean;
}

/** Read-only or write-ignored registers with a fixed value, as KVM shows them on AMD. */
const CONSTANT = new Map<number, bigint>([
  [0x17, 0n],
  [0xcd, 3n],
  [0x198, 0x400000003e8n],
  [0x199, 0n],
  [Msr.PLATFORM_INFO, 0x80000000n],
  [Msr.IA32_FEATURE_CONTROL, 0n],
  [Msr.IA32_DEBUGCTL, 0n],
  [Msr.LAST_BRANCH_FROM_IP, 0n],
  [Msr.LAST_BRANCH_TO_IP, 0n],
  [Msr.LAST_INT_FROM_IP, 0n],
  [Msr.LAST_INT_TO_IP, 0n],
  [Msr.AMD64_SYSCFG, 0n],
  [Msr.K8_TOP_MEM1, 0n],
  [Msr.K8_TOP_MEM2, 0n],
  [Msr.K7_CLK_CTL, 0x20000000n],
  [Msr.AMD64_NB_CFG, 0n],
  [Msr.K8_INT_PENDING_MSG, 0n],
  [Msr.FAM10H_MMIO_CONF_BASE, 0n],
  [Msr.VM_CR, 0n],
  [Msr.AMD64_BU_CFG2, 0n],
  [Msr.AMD64_DC_CFG, 0n],
  [Msr.AMD64_TW_CFG, 0n],
]);

/** Registers that keep what is written, with the bits that may be set and the first value. */
const PLAIN = new Map<number, { allowed: bigint; reset: bigint }>([
  [Msr.IA32_MISC_ENABLE, { allowed: ~0n, reset: 0x1800n }],
  [Msr.MISC_FEATURES_ENABLES, { allowed: 1n, reset: 0n }],
  [Msr.IA32_MCG_STATUS, { allowed: ~0n, reset: 0n }],
  [Msr.IA32_XSS, { allowed: 0n, reset: 0n }],
  [Msr.AMD64_DE_CFG, { allowed: 2n, reset: 2n }],
  [Msr.KVM_WALL_CLOCK, { allowed: ~0n, reset: 0n }],
  [Msr.KVM_WALL_CLOCK_NEW, { allowed: ~0n, reset: 0n }],
  [Msr.KVM_SYSTEM_TIME, { allowed: ~0n, reset: 0n }],
  [Msr.KVM_SYSTEM_TIME_NEW, { allowed: ~0n, reset: 0n }],
  // KVM_STEAL_RESERVED_MASK
  [Msr.KVM_STEAL_TIME, { allowed: ~0x3en, reset: 0n }],
  [Msr.KVM_POLL_CONTROL, { allowed: 1n, reset: 1n }],
]);

/** MSRs whose writing has an effect outside of this file. */
const KVM_MSRS = new Set<number>([
  Msr.KVM_WALL_CLOCK,
  Msr.KVM_WALL_CLOCK_NEW,
  Msr.KVM_SYSTEM_TIME,
  Msr.KVM_SYSTEM_TIME_NEW,
  Msr.KVM_STEAL_TIME,
]);

/** Default of IA32_ARCH_CAPABILITIES: not affected by anything that has a bit and is not Intel's. */
const ARCH_CAPABILITIES = 0x400000000c000069n;

/** HV_X64_MSR_GUEST_OS_ID: there for the host, hidden from guests without Hyper-V leaves. */
const HV_GUEST_OS_ID = 0x40000000;

/** Machine check banks, as KVM gives before KVM_X86_SETUP_MCE. */
const MCE_BANKS = 32;

const isMceBank = (index: number): boolean =>
  index >= Msr.IA32_MC0_CTL && index < Msr.IA32_MC0_CTL + MCE_BANKS * 4;

/** Default microcode revision, as KVM shows on AMD. */
const PATCH_LEVEL = 0x01000065n;

/**
 * The model-specific registers of a vCPU that the engine does not keep. Unknown ones answer
 * undefined and false: #GP for the guest, "not set" for the host.
 */
export class MsrFile {
  readonly #host: MsrHost;
  readonly #plain = new Map<number, bigint>();
  readonly #mtrrs = new Mtrrs();
  readonly #mceBanks: bigint[] = [];
  #tscAdjust = 0n;
  #archCapabilities = ARCH_CAPABILITIES;
  #patchLevel = PATCH_LEVEL;
  #hwcr = 0n;
  #guestOsId = 0n;

  constructor(host: MsrHost) {
    this.#host = host;
    for (const [index, { reset }] of PLAIN) this.#plain.set(index, reset);
  }

  /** The value, or undefined when there is no such MSR. */
  read(index: number, fromHost: boolean): bigint | undefined {
    if (index === HV_GUEST_OS_ID) return fromHost ? this.#guestOsId : undefined;
    const kept = this.#plain.get(index) ?? CONSTANT.get(index);
    if (kept !== undefined) return kept;
    if (Mtrrs.claims(index)) return this.#mtrrs.read(index);
    if (index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST) return this.#host.apicRead(index);
    if (index >= Msr.K7_EVNTSEL0 && index <= Msr.K7_PERFCTR3) return 0n;
    if (isMceBank(index)) return this.#mceBanks[index - Msr.IA32_MC0_CTL] ?? 0n;
    switch (index) {
      case Msr.IA32_TSC:
        return this.#host.readTsc();
      case Msr.IA32_TSC_ADJUST:
        return this.#tscAdjust;
      case Msr.IA32_APIC_BASE:
        return this.#host.apicBase();
      case Msr.IA32_TSC_DEADLINE:
        return this.#host.tscDeadline();
      case Msr.IA32_BIOS_SIGN_ID:
        return this.#patchLevel;
      case Msr.IA32_ARCH_CAPABILITIES:
        return this.#archCapabilities;
      case Msr.IA32_MCG_CAP:
        return BigInt(MCE_BANKS);
      case Msr.IA32_MCG_CTL:
        return 0n;
      case Msr.K7_HWCR:
        return this.#hwcr;
      default:
        return this.#host.engineRead(index);
    }
  }

  /** Sets a value; false when there is no such MSR or the value is refused. */
  write(index: number, value: bigint, fromHost: boolean): boolean {
    const xen = this.#host.xenWrite(index, value);
    if (xen !== undefined) return xen;
    if (index === HV_GUEST_OS_ID && fromHost) {
      this.#guestOsId = value;
      return true;
    }
    const plain = PLAIN.get(index);
    if (plain !== undefined) {
      if ((value & ~plain.allowed) !== 0n) return false;
      this.#plain.set(index, value);
      if (KVM_MSRS.has(index)) this.#host.kvmMsrWritten(index, value);
      return true;
    }
    if (Mtrrs.claims(index)) return this.#mtrrs.write(index, value, this.#host.physicalBits);
    if (index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST) {
      return this.#host.apicWrite(index, value);
    }
    if (index >= Msr.K7_EVNTSEL0 && index <= Msr.K7_PERFCTR3) return true;
    if (isMceBank(index)) return this.#writeMceBank(index, value, fromHost);
    return this.#writeSpecial(index, value, fromHost);
  }

  #writeSpecial(index: number, value: bigint, fromHost: boolean): boolean {
    switch (index) {
      case Msr.IA32_TSC:
        if (!fromHost) this.#tscAdjust += value - this.#host.readTsc();
        this.#host.writeTsc(value);
        return true;
      case Msr.IA32_TSC_ADJUST:
        if (!fromHost) this.#host.adjustTsc(value - this.#tscAdjust);
        this.#tscAdjust = value;
        return true;
      case Msr.IA32_APIC_BASE:
        return this.#host.setApicBase(value, fromHost);
      case Msr.IA32_TSC_DEADLINE:
        this.#host.setTscDeadline(value);
        return true;
      case Msr.IA32_BIOS_SIGN_ID:
        if (fromHost) this.#patchLevel = value;
        return true;
      case Msr.IA32_ARCH_CAPABILITIES:
        if (!fromHost) return false;
        this.#archCapabilities = value;
        return true;
      case Msr.IA32_MCG_CTL:
        return fromHost && value === 0n;
      case Msr.K7_HWCR:
        return this.#writeHwcr(value);
      case Msr.AMD64_PATCH_LOADER:
      case Msr.AMD64_NB_CFG:
      case Msr.AMD64_DC_CFG:
      case Msr.AMD64_TW_CFG:
      case Msr.AMD64_BU_CFG2:
        return true; // accepted and forgotten, whatever the value
      case Msr.IA32_FEATURE_CONTROL:
      case Msr.PLATFORM_INFO:
        return fromHost;
      case Msr.KVM_ASYNC_PF_EN:
      case Msr.KVM_PV_EOI_EN:
        return false;
      default:
        if (CONSTANT.has(index)) return value === CONSTANT.get(index) || value === 0n;
        return this.#host.engineWrite(index, value);
    }
  }

  /** Control registers take all or nothing; status registers can only be cleared by the guest. */
  #writeMceBank(index: number, value: bigint, fromHost: boolean): boolean {
    const kind = index & 3;
    // Linux leaves bit 10 of bank 4 clear and old AMD processors bit 0.
    if (kind === 0 && value !== 0n && (value | 0x401n) !== 0xffffffffffffffffn) return false;
    const mayset = fromHost || (this.#hwcr & (1n << 18n)) !== 0n;
    if (kind === 1 && value !== 0n && !mayset) return false;
    this.#mceBanks[index - Msr.IA32_MC0_CTL] = value;
    return true;
  }

  /** HWCR: three bits are ignored, two are kept, anything else is refused (as KVM does). */
  #writeHwcr(value: bigint): boolean {
    const kept = value & ~(0x40n | 0x100n | 0x8n);
    if ((kept & ~((1n << 18n) | (1n << 24n))) !== 0n) return false;
    this.#hwcr = kept;
    return true;
  }

  /** What IA32_APIC_BASE may hold: see {@link checkApicBase}. */
  static checkApicBase(
    old: bigint,
    value: bigint,
    options: { physicalBits: number; x2apic: boolean; fromHost: boolean },
  ): boolean {
    const x2apicBit = BigInt(ApicBase.X2APIC);
    const enableBit = BigInt(ApicBase.ENABLE);
    let reserved = (~0n << BigInt(options.physicalBits)) | 0x2ffn;
    if (!options.x2apic) reserved |= x2apicBit;
    if ((BigInt.asUintN(64, value) & BigInt.asUintN(64, reserved)) !== 0n) return false;
    const mode = (base: bigint) => base & (x2apicBit | enableBit);
    if (mode(value) === x2apicBit) return false;
    if (options.fromHost) return true;
    const both = x2apicBit | enableBit;
    if (mode(old) === both && mode(value) === enableBit) return false;
    return !(mode(old) === 0n && mode(value) === both);
  }
}

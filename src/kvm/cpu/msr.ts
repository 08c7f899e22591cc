import { ApicBase, Efer, Msr } from "../../abi/x86/index.js";
import type { LinuxRules } from "../linux.js";
import { Quirk, type VmSettings } from "../vm-settings.js";
import type { CpuidTable } from "./cpuid.js";
import { HvMsr } from "./hyperv.js";
import { MceBanks } from "./mce.js";
import { ADVERTISED_MSRS, FIXED_MSRS, MSR_FEATURES } from "./msr-tables.js";
import { Mtrrs } from "./mtrr.js";
import type { PvMsrs } from "./pv-msrs.js";

/** What the MSR file of a vCPU reaches outside of itself. */
export interface MsrHost {
  readonly linux: LinuxRules;
  readonly cpuid: CpuidTable;
  readonly settings: VmSettings;
  readonly pv: PvMsrs;
  /** It has been in the guest: its model may not change any more. */
  readonly hasRun: boolean;
  /** An MSR the engine keeps: undefined when it does not. */
  engineRead(index: number): bigint | undefined;
  engineWrite(index: number, value: bigint): boolean;
  /** EFER, with bits that the engine has no use for, too. */
  setEfer(value: bigint): void;
  /** CR0.PG: the mode cannot change. */
  readonly paging: boolean;
  readTsc(): bigint;
  /** IA32_TSC was written from outside. */
  synchronizeTsc(value: bigint): void;
  /** The guest moved its TSC; only IA32_TSC_ADJUST has its pvclock areas rewritten (`tellsClock`). */
  adjustTsc(delta: bigint, tellsClock: boolean): void;
  apicBase(): bigint;
  setApicBase(value: bigint, fromHost: boolean): boolean;
  /** x2APIC registers and the TSC deadline. */
  apicRead(index: number): bigint | undefined;
  apicWrite(index: number, value: bigint): boolean;
  tscDeadline(): bigint;
  setTscDeadline(value: bigint): void;
  /** MSRs of Hyper-V: 0x40000000 to 0x40000002. */
  readonly hyperv: {
    read(index: number, fromHost: boolean): bigint | undefined;
    write(index: number, value: bigint, fromHost: boolean): boolean;
  };
  /** The hypercall page MSR: undefined when it is none. */
  xenWrite(index: number, value: bigint, fromHost: boolean): boolean | undefined;
}

/** MSRs that KVM's AMD half answers itself; those that it passes on to the common half are not here. */
const VENDOR_MSRS = new Set<number>([
  Msr.STAR,
  Msr.LSTAR,
  Msr.CSTAR,
  Msr.SYSCALL_MASK,
  Msr.FS_BASE,
  Msr.GS_BASE,
  Msr.KERNEL_GS_BASE,
  Msr.TSC_AUX,
  Msr.IA32_SYSENTER_CS,
  Msr.IA32_SYSENTER_ESP,
  Msr.IA32_SYSENTER_EIP,
  Msr.IA32_SPEC_CTRL,
  Msr.AMD64_VIRT_SPEC_CTRL,
  Msr.IA32_DEBUGCTL,
  Msr.VM_CR,
  Msr.AMD64_DE_CFG,
]);

/** EFER bits that are not reserved, with the processor that Linux was asked on and this one. */
const EFER_KNOWN =
  Efer.SCE | Efer.LME | Efer.LMA | Efer.NX | Efer.SVME | Efer.LMSLE | Efer.AUTOIBRS;

/** Default of IA32_ARCH_CAPABILITIES: not affected by anything that has a bit and is not Intel's. */
const ARCH_CAPABILITIES = 0x400000000c000069n;

/** MSR_PLATFORM_INFO: CPUID faulting can be had; and its switch in MISC_FEATURES_ENABLES. */
const PLATFORM_CPUID_FAULT = 0x80000000n;
const CPUID_FAULT = 1n;

/** Default microcode revision, as KVM shows on AMD. */
const PATCH_LEVEL = 0x01000065n;

/** AMD64_DE_CFG: LFENCE serializes. */
const DE_CFG = 2n;

const isHyperv = (index: number): boolean => index >= HvMsr.GUEST_OS_ID && index <= HvMsr.VP_INDEX;

/** MISC_ENABLE: bits the guest cannot change, a bit it can write in vain, and MONITOR's. */
const MISC_PMU_RO = 0x1800n;
const MISC_EMON = 0x80n;
const MISC_MWAIT = 1n << 18n;
const MISC_RESET = 0x1800n;

/** VM_CR: valid bits; LOCK and SVMDIS stay once SVMDIS is set. */
const VM_CR_VALID = 0x1fn;
const VM_CR_DISABLED = 0x10n;
const VM_CR_LOCKED = 0x18n;

const VIRT_SPEC_CTRL_SSBD = 4n;

/** TSC scaling of 1. */
const TSC_RATIO = 1n << 32n;

/** HWCR: writable status of machine checks; the TSC's frequency is that of P0; bits ignored. */
const HWCR_MC_STATUS = 1n << 18n;
const HWCR_TSC_FREQ_SEL = 1n << 24n;
const HWCR_IGNORED = 0x148n;

/** OSVW: what the client may see of it depends on the guest, too. */
const OSVW: ReadonlySet<number> = new Set([Msr.AMD64_OSVW_ID_LENGTH, Msr.AMD64_OSVW_STATUS]);

/** MSRs that do not exist without their feature for newer releases; before, the access is invalid, and the client has them. */
function isUnknownWithout(index: number, isWrite: boolean): boolean {
  if (index === Msr.IA32_XSS) return isWrite;
  return index === Msr.IA32_ARCH_CAPABILITIES || index === Msr.IA32_PERF_CAPABILITIES;
}

/** Why an access was refused: no such MSR, or a value (or state) that does not allow it. */
export type MsrFault = "unknown" | "invalid";

/** KVM_GET_MSRS on the system: a feature MSR, or undefined. */
export function featureMsr(index: number, linux: LinuxRules): bigint | undefined {
  switch (index) {
    case Msr.PLATFORM_INFO:
      return linux.namesPlatformInfo ? PLATFORM_CPUID_FAULT : 0n;
    case Msr.AMD64_DE_CFG:
      return DE_CFG;
    case Msr.IA32_BIOS_SIGN_ID:
      return PATCH_LEVEL;
    case Msr.IA32_ARCH_CAPABILITIES:
      return ARCH_CAPABILITIES;
    default:
      return ADVERTISED_MSRS.has(index) ? 0n : undefined;
  }
}

const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

/**
 * The model-specific registers of a vCPU that the engine does not keep, and the rules for those it
 * keeps. Unknown ones answer undefined and false: #GP for the guest, "not set" for the host.
 */
export class MsrFile {
  readonly #host: MsrHost;
  readonly #mtrrs = new Mtrrs();
  readonly mce = new MceBanks();
  /** Registers that only keep their value. */
  readonly #kept = new Map<number, bigint>([
    [Msr.SMI_COUNT, 0n],
    [Msr.IA32_POWER_CTL, 0n],
    [Msr.IA32_SPEC_CTRL, 0n],
    [Msr.AMD64_VIRT_SPEC_CTRL, 0n],
    [Msr.VM_HSAVE_PA, 0n],
    // The erratum that its first bits are about is worked around by KVM.
    [Msr.AMD64_OSVW_ID_LENGTH, 3n],
    [Msr.AMD64_OSVW_STATUS, 0n],
  ]);
  #tscAdjust = 0n;
  #archCapabilities: bigint;
  #platformInfo: bigint;
  #deCfg = 0n;
  #patchLevel: bigint;
  #miscFeatures = 0n;
  #miscEnable = MISC_RESET;
  #hwcr = 0n;
  #vmCr = 0n;
  /** Why the last access failed. */
  fault: MsrFault = "unknown";

  constructor(host: MsrHost) {
    this.#host = host;
    const stuffs = host.settings.hasQuirk(Quirk.STUFF_FEATURE_MSRS);
    this.#archCapabilities = stuffs ? ARCH_CAPABILITIES : 0n;
    this.#platformInfo = stuffs ? PLATFORM_CPUID_FAULT : 0n;
    this.#patchLevel = stuffs ? PATCH_LEVEL : 0n;
  }

  /** CPUID outside of privilege level 0 raises #GP. */
  get cpuidFaults(): boolean {
    return (this.#miscFeatures & CPUID_FAULT) !== 0n;
  }

  /** IA32_MISC_ENABLE allows MONITOR. */
  get monitorEnabled(): boolean {
    return (this.#miscEnable & MISC_MWAIT) !== 0n;
  }

  /** The value, or undefined when there is no such MSR; {@link fault} says why. */
  read(index: number, fromHost: boolean): bigint | undefined {
    this.fault = "invalid";
    const value = this.#read(index, fromHost);
    if (value !== undefined || this.fault === "invalid") return value;
    return fromHost && ADVERTISED_MSRS.has(index) ? 0n : undefined;
  }

  /** Sets a value; false when there is no such MSR or the value is refused. */
  write(index: number, value: bigint, fromHost: boolean): boolean {
    this.fault = "invalid";
    const done = this.#write(index, value, fromHost);
    if (done || this.fault === "invalid") return done;
    return fromHost && value === 0n && ADVERTISED_MSRS.has(index);
  }

  #unknown(): undefined {
    this.fault = "unknown";
    return undefined;
  }

  /** The guest's CPUID has what an MSR needs; most of the client's accesses need nothing. */
  #exists(index: number, fromHost: boolean, isWrite: boolean): boolean {
    const features = MSR_FEATURES.get(index);
    // What cannot be read at all is unknown.
    if (features === undefined || (index === Msr.IA32_PRED_CMD && !isWrite)) return true;
    const { cpuid, linux } = this.#host;
    if (linux.hidesMsrsFromClient && isUnknownWithout(index, isWrite)) {
      // The guest has this feature only where KVM has it, which needs a PMU.
      if (index !== Msr.IA32_PERF_CAPABILITIES && cpuid.hasAny(features)) return true;
      this.#unknown();
      return false;
    }
    // Linux 7.2 has OSVW for a guest only where the host has it.
    if (!linux.emulatesOsvw && OSVW.has(index)) return false;
    return (fromHost && !OSVW.has(index)) || cpuid.hasAny(features);
  }

  #read(index: number, fromHost: boolean): bigint | undefined {
    const host = this.#host;
    if (!this.#exists(index, fromHost, false)) return undefined;
    if (host.pv.claims(index)) return host.pv.read(index);
    const fixed = FIXED_MSRS.get(index);
    if (fixed !== undefined) return fixed.value ?? this.#unknown();
    if (Mtrrs.claims(index)) return this.#mtrrs.read(index);
    if (index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST) return host.apicRead(index);
    if (MceBanks.claims(index)) return this.mce.read(index, fromHost);
    if (isHyperv(index)) return host.hyperv.read(index, fromHost);
    const kept = this.#kept.get(index);
    if (kept !== undefined) return kept;
    switch (index) {
      case Msr.IA32_TSC:
        return host.readTsc();
      case Msr.IA32_TSC_ADJUST:
        return this.#tscAdjust;
      case Msr.IA32_APIC_BASE:
        return host.apicBase();
      case Msr.IA32_TSC_DEADLINE:
        return host.tscDeadline();
      case Msr.IA32_BIOS_SIGN_ID:
        return this.#patchLevel;
      case Msr.IA32_ARCH_CAPABILITIES:
        return this.#archCapabilities;
      case Msr.IA32_PERF_CAPABILITIES:
      case Msr.IA32_XSS:
      case Msr.IA32_XFD:
      case Msr.IA32_XFD_ERR:
        return 0n;
      case Msr.IA32_MISC_ENABLE:
        return this.#miscEnable;
      case Msr.MISC_FEATURES_ENABLES:
        return this.#miscFeatures;
      case Msr.PLATFORM_INFO:
        return fromHost || host.settings.platformInfoReadable ? this.#platformInfo : undefined;
      case Msr.K7_HWCR:
        return this.#hwcr;
      case Msr.VM_CR:
        return this.#vmCr;
      case Msr.AMD64_TSC_RATIO:
        return fromHost ? TSC_RATIO : undefined;
      case Msr.AMD64_DE_CFG:
        return this.#deCfg;
      case Msr.AMD64_IC_CFG:
        return host.cpuid.hasModel ? 0n : this.#unknown();
      default:
        return host.engineRead(index) ?? this.#unknown();
    }
  }

  #write(index: number, value: bigint, fromHost: boolean): boolean {
    const host = this.#host;
    // MSRs of which the processor's own module takes care come before the rest of KVM hears of them.
    const xen = VENDOR_MSRS.has(index) ? undefined : host.xenWrite(index, value, fromHost);
    if (xen !== undefined) return xen;
    if (!this.#exists(index, fromHost, true)) return false;
    if (host.pv.claims(index)) return host.pv.write(index, value);
    const fixed = FIXED_MSRS.get(index);
    if (fixed !== undefined) {
      if (fixed.write === "none") this.#unknown();
      return fixed.write === "ignored" || (fixed.write === "zero" && value === 0n);
    }
    if (Mtrrs.claims(index)) return this.#mtrrs.write(index, value, host.cpuid.maxPhysicalBits);
    if (index >= Msr.X2APIC_FIRST && index <= Msr.X2APIC_LAST) return host.apicWrite(index, value);
    if (MceBanks.claims(index)) {
      if (index < 2) this.#unknown();
      return this.mce.write(index, value, fromHost, (this.#hwcr & HWCR_MC_STATUS) !== 0n);
    }
    if (isHyperv(index)) return host.hyperv.write(index, value, fromHost);
    if (this.#kept.has(index)) return this.#writeKept(index, value, fromHost);
    if (fromHost && host.hasRun && this.#isModel(index)) return this.#read(index, true) === value;
    return this.#writeSpecial(index, value, fromHost);
  }

  /** Registers that describe the processor, which keeps its model once it ran. */
  #isModel(index: number): boolean {
    return (
      index === Msr.AMD64_DE_CFG ||
      index === Msr.IA32_ARCH_CAPABILITIES ||
      index === Msr.IA32_PERF_CAPABILITIES
    );
  }

  #writeKept(index: number, value: bigint, fromHost: boolean): boolean {
    let kept = value;
    switch (index) {
      case Msr.SMI_COUNT:
        if (!fromHost) return false;
        break;
      case Msr.AMD64_VIRT_SPEC_CTRL:
        if ((value & ~VIRT_SPEC_CTRL_SSBD) !== 0n) return false;
        break;
      case Msr.VM_HSAVE_PA:
        if (!fromHost && (value & 0xfffn) !== 0n) return false;
        kept = value & ~0xfffn;
        break;
      default:
    }
    this.#kept.set(index, kept);
    return true;
  }

  #writeSpecial(index: number, value: bigint, fromHost: boolean): boolean {
    const host = this.#host;
    switch (index) {
      case Msr.IA32_TSC:
        if (fromHost) host.synchronizeTsc(value);
        else {
          const delta = BigInt.asIntN(64, value - host.readTsc());
          this.#tscAdjust = BigInt.asUintN(64, this.#tscAdjust + delta);
          host.adjustTsc(delta, false);
        }
        return true;
      case Msr.IA32_TSC_ADJUST:
        if (!host.cpuid.hasTscAdjust) return true;
        if (!fromHost) host.adjustTsc(BigInt.asIntN(64, value - this.#tscAdjust), true);
        this.#tscAdjust = value;
        return true;
      case Msr.IA32_APIC_BASE:
        return host.setApicBase(value, fromHost);
      case Msr.IA32_TSC_DEADLINE:
        host.setTscDeadline(value);
        return true;
      case Msr.IA32_BIOS_SIGN_ID:
        if (fromHost) this.#patchLevel = value;
        return true;
      case Msr.IA32_ARCH_CAPABILITIES:
        if (fromHost) this.#archCapabilities = value;
        else if (host.linux.hidesMsrsFromClient) this.#unknown();
        return fromHost;
      case Msr.IA32_PERF_CAPABILITIES:
        return fromHost && value === 0n;
      case Msr.IA32_XSS:
        // There is no XSAVES.
        return value === 0n;
      case Msr.IA32_XFD:
      case Msr.IA32_XFD_ERR:
      case Msr.IA32_PRED_CMD:
        return value === 0n;
      case Msr.IA32_MISC_ENABLE:
        return this.#writeMiscEnable(value, fromHost);
      case Msr.MISC_FEATURES_ENABLES:
        if ((value & ~CPUID_FAULT) !== 0n) return false;
        if (value !== 0n && (this.#platformInfo & PLATFORM_CPUID_FAULT) === 0n) return false;
        this.#miscFeatures = value;
        return true;
      case Msr.PLATFORM_INFO:
        if (!fromHost || ((value & PLATFORM_CPUID_FAULT) === 0n && this.cpuidFaults)) return false;
        this.#platformInfo = value;
        return true;
      case Msr.K7_HWCR: {
        // Three bits are ignored, two are kept, anything else is refused.
        const kept = value & ~HWCR_IGNORED;
        if ((kept & ~(HWCR_MC_STATUS | HWCR_TSC_FREQ_SEL)) !== 0n) return false;
        this.#hwcr = kept;
        return true;
      }
      case Msr.VM_CR: {
        if ((value & ~VM_CR_VALID) !== 0n) return false;
        const stays = (this.#vmCr & VM_CR_DISABLED) !== 0n ? this.#vmCr & VM_CR_LOCKED : 0n;
        this.#vmCr = stays === 0n ? value : stays | (value & ~VM_CR_LOCKED);
        return true;
      }
      case Msr.AMD64_TSC_RATIO:
        return fromHost && (value === 0n || value === TSC_RATIO);
      case Msr.AMD64_DE_CFG:
        if ((value & ~DE_CFG) !== 0n) return false;
        this.#deCfg = value;
        return true;
      default:
        return this.#writeEngine(index, value, fromHost);
    }
  }

  #writeMiscEnable(value: bigint, fromHost: boolean): boolean {
    const old = this.#miscEnable;
    let next = value;
    if (!fromHost) {
      if (((old ^ value) & MISC_PMU_RO) !== 0n) return false;
      next = (value & ~MISC_EMON) | (old & MISC_EMON);
    }
    const { settings, cpuid } = this.#host;
    const rulesMonitor = !settings.hasQuirk(Quirk.MISC_ENABLE_NO_MWAIT);
    if (rulesMonitor && ((old ^ next) & MISC_MWAIT) !== 0n && !cpuid.hasSse3) return false;
    this.#miscEnable = next;
    return true;
  }

  /** Registers that the engine keeps. */
  #writeEngine(index: number, value: bigint, fromHost: boolean): boolean {
    const host = this.#host;
    const old = host.engineRead(index);
    if (old === undefined) {
      this.#unknown();
      return false;
    }
    switch (index) {
      case Msr.EFER: {
        // A client may set bits that the guest's CPUID does not have.
        const allowed = fromHost ? EFER_KNOWN : host.cpuid.eferAllowed;
        if ((value & ~allowed) !== 0n) return false;
        if (!fromHost && host.paging && ((old ^ value) & Efer.LME) !== 0n) return false;
        const kept = (value & ~Efer.LMA) | (old & Efer.LMA);
        host.setEfer(kept);
        return true;
      }
      case Msr.IA32_SYSENTER_EIP:
      case Msr.IA32_SYSENTER_ESP: {
        const address = BigInt.asUintN(64, BigInt.asIntN(48, value));
        return host.engineWrite(index, host.cpuid.isAmd ? address & 0xffffffffn : address);
      }
      case Msr.LSTAR:
      case Msr.CSTAR:
      case Msr.FS_BASE:
      case Msr.GS_BASE:
      case Msr.KERNEL_GS_BASE:
        return isCanonical(value) && host.engineWrite(index, value);
      case Msr.TSC_AUX:
        if (!host.cpuid.isAmd && value >> 32n !== 0n) return false;
        return host.engineWrite(index, value & 0xffffffffn);
      default:
        return host.engineWrite(index, value);
    }
  }

  /** What IA32_APIC_BASE may hold: reserved bits, and the order of modes for the guest. */
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

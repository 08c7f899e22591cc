import { KvmCap, KvmLimit, type KvmMsrEntry } from "../abi/kvm/index.js";
import { type CpuidEntry2, Msr } from "../abi/x86/index.js";
import { defaultEventLoop, type EventLoop } from "../base/index.js";
import type { EngineFactory, EngineVm } from "../engine/bridge/port.js";
import type { Clock, Timers } from "../ports/index.js";
import type { KvmApi } from "./api/system.js";
import { type CheckedVm, checkExtension } from "./caps.js";
import { TSC_KHZ } from "./cpu/clock.js";
import { emulatedCpuid, supportedCpuid } from "./cpu/cpuid-supported.js";
import { supportedHvCpuid } from "./cpu/hyperv.js";
import { MCE_CAP_SUPPORTED } from "./cpu/mce.js";
import { featureMsr } from "./cpu/msr.js";
import { FEATURE_MSR_INDICES, MSR_INDICES } from "./cpu/msr-tables.js";
import { refuse } from "./error.js";
import type { XenFactory } from "./hooks.js";
import { type LinuxRelease, type LinuxRules, linuxRules } from "./linux.js";
import { Vm } from "./vm.js";
import { VmState } from "./vm-state.js";

/** What {@link Kvm} is made of. */
export interface KvmOptions {
  readonly engine: EngineFactory;
  readonly clock: Clock;
  readonly timers: Timers;
  /** The release of Linux whose answers are given, where releases differ; 6.12 by default. */
  readonly linux?: LinuxRelease;
  /** Processors of the host that are online: KVM_CAP_NR_VCPUS. 1 by default. */
  readonly onlineCpus?: number;
  /** Hears of each VM that is made, before anybody uses it. */
  readonly onVm?: (vm: Vm) => void;
  /** How to let the host's other work run; the default suits Node and browsers. */
  readonly loop?: EventLoop;
}

/** Attributes of /dev/kvm: group 0, `KVM_X86_XCOMP_GUEST_SUPP`. */
const XCOMP_GUEST_SUPP = 0;

/** XCR0 bits that a guest can set: x87 and SSE. */
const SUPPORTED_XCR0 = 3n;

/** The system object: what `ioctl` on /dev/kvm does, with types. */
export class Kvm implements KvmApi {
  readonly #options: KvmOptions;
  readonly #loop: EventLoop;
  readonly #xen: XenFactory;
  readonly #linux: LinuxRules;

  /** Clients call `Kvm.open` of the public entry, which brings the Xen support. */
  constructor(options: KvmOptions, xen: XenFactory) {
    this.#options = options;
    this.#loop = options.loop ?? defaultEventLoop();
    this.#xen = xen;
    this.#linux = linuxRules(options.linux ?? "6.12");
  }

  /** KVM_CHECK_EXTENSION: 0 when not there, else its value. */
  checkExtension(cap: number): number {
    return this.#checkExtension(cap);
  }

  #checkExtension(cap: number, vm?: CheckedVm): number {
    if (cap === KvmCap.NR_VCPUS) return Math.min(this.#options.onlineCpus ?? 1, KvmLimit.MAX_VCPUS);
    return checkExtension(cap, this.#linux, vm);
  }

  /** KVM_GET_SUPPORTED_CPUID. */
  getSupportedCpuid(): CpuidEntry2[] {
    return supportedCpuid(this.#options.onlineCpus);
  }

  /** KVM_GET_EMULATED_CPUID: what works although KVM_GET_SUPPORTED_CPUID does not name it. */
  getEmulatedCpuid(): CpuidEntry2[] {
    return emulatedCpuid();
  }

  /** KVM_GET_SUPPORTED_HV_CPUID, of the system and of a vCPU. */
  getSupportedHvCpuid(): CpuidEntry2[] {
    return supportedHvCpuid();
  }

  /** KVM_GET_MSR_FEATURE_INDEX_LIST. */
  getMsrFeatureIndexList(): readonly number[] {
    return this.#linux.namesPlatformInfo
      ? [...FEATURE_MSR_INDICES, Msr.PLATFORM_INFO]
      : FEATURE_MSR_INDICES;
  }

  /** KVM_GET_MSRS on the system: feature MSRs, up to the first index that is none. */
  getMsrs(indices: readonly number[]): KvmMsrEntry[] {
    const entries: KvmMsrEntry[] = [];
    for (const index of indices) {
      const data = featureMsr(index, this.#linux);
      if (data === undefined) break;
      entries.push({ index, data });
    }
    return entries;
  }

  /** KVM_X86_GET_MCE_CAP_SUPPORTED: bits of MCG_CAP that KVM_X86_SETUP_MCE takes. */
  get mceCapSupported(): bigint {
    return MCE_CAP_SUPPORTED;
  }

  /** KVM_GET_DEVICE_ATTR on the system. @throws KvmError ENXIO for all but XCOMP_GUEST_SUPP. */
  getDeviceAttr(group: number, attr: bigint): bigint {
    if (group !== 0 || attr !== BigInt(XCOMP_GUEST_SUPP)) refuse("ENXIO", "attribute");
    return SUPPORTED_XCR0;
  }

  /** KVM_GET_MSR_INDEX_LIST. */
  getMsrIndexList(): readonly number[] {
    return MSR_INDICES;
  }

  /** KVM_GET_TSC_KHZ of every vCPU. */
  get tscKhz(): number {
    return TSC_KHZ;
  }

  get #ports() {
    const { clock, timers } = this.#options;
    return { clock, timers, loop: this.#loop, linux: this.#linux };
  }

  /**
   * KVM_CREATE_VM.
   * @throws KvmError EINVAL for another type than KVM_X86_DEFAULT_VM (0), ENOMEM when the host has no
   *   memory for it: WebAssembly memory takes 10 GiB of addresses.
   */
  createVm(type = 0): Vm {
    if (type !== 0) refuse("EINVAL", "VM type");
    const { engine } = this.#options;
    const state = new VmState(engineVm(engine), this.#ports, this.#xen);
    const vm = new Vm(state, (cap) => {
      const { apicBusCycleNs } = state.settings;
      return this.#checkExtension(cap, { splits: state.irqchip === "split", apicBusCycleNs });
    });
    this.#options.onVm?.(vm);
    return vm;
  }
}

function engineVm(engine: EngineFactory): EngineVm {
  try {
    return engine.createVm();
  } catch (error) {
    if (error instanceof RangeError) refuse("ENOMEM", "memory of a VM");
    throw error;
  }
}

import { type CpuidEntry2, cpuidText, Exception, Gpr } from "../../abi/x86/index.js";
import { PAGE_SIZE } from "../../base/index.js";
import type { VcpuState } from "../vcpu-state.js";

/** MSRs of the Hyper-V interface that are here (Hypervisor Top Level Functional Specification). */
export const HvMsr = {
  GUEST_OS_ID: 0x40000000,
  HYPERCALL: 0x40000001,
  VP_INDEX: 0x40000002,
} as const;

/** Bits of HV_X64_MSR_HYPERCALL: enabled; the rest below the page number is reserved. */
const HYPERCALL_ENABLE = 1n;
const HYPERCALL_PAGE = ~0xfffn;

/** Call codes, and status codes of their results. */
const NOTIFY_LONG_SPIN_WAIT = 0x8;
const POST_MESSAGE = 0x5c;
const SIGNAL_EVENT = 0x5d;
const Status = {
  SUCCESS: 0n,
  INVALID_HYPERCALL_CODE: 2n,
  INVALID_HYPERCALL_INPUT: 3n,
  INVALID_ALIGNMENT: 4n,
  INSUFFICIENT_MEMORY: 11n,
  INVALID_PORT_ID: 17n,
} as const;

/** Connection ids have 24 bits; the 16 above their word are a flag number. */
const CONNECTION_ID = 0xffffffn;
const FLAG_NUMBER = 0xffff_0000_0000n;

const leaf = (fn: number, eax = 0, ebx = 0, ecx = 0, edx = 0): CpuidEntry2 => ({
  function: fn,
  index: 0,
  flags: 0,
  eax,
  ebx,
  ecx,
  edx,
});

const SIGNATURE_LEAF = 0x40000001;
const SIGNATURE = cpuidText("Hv#1");

/** Leaf 0x40000003 EAX: hypercall MSRs, VP_INDEX. EBX: signal events. */
const FEATURES_EAX = (1 << 5) | (1 << 6);
const FEATURES_EBX = 1 << 5;

/**
 * KVM_GET_SUPPORTED_HV_CPUID: the leaves of Linux, with the features that are here: hypercalls that
 * signal events, and the index of a processor. No timers, no SynIC, no enlightenments.
 */
export function supportedHvCpuid(): CpuidEntry2[] {
  const vendor = [cpuidText("Linu"), cpuidText("x KV"), cpuidText("M Hv")] as const;
  return [
    leaf(0x40000000, 0x40000005, ...vendor),
    leaf(SIGNATURE_LEAF, SIGNATURE),
    // Build number and version of a Windows Server 2016
    leaf(0x40000002, 0x3839, 0xa0000),
    leaf(0x40000003, FEATURES_EAX, FEATURES_EBX),
    // Spins before NOTIFY_LONG_SPIN_WAIT
    leaf(0x40000004, 0, 0xfff),
    // Highest number of virtual and of logical processors
    leaf(0x40000005, 0x1000, 64),
  ];
}

/** What the vCPUs of a VM share of it. */
export class HypervState {
  guestOsId = 0n;
  hypercall = 0n;
}

/** Whether the guest's CPUID shows Hyper-V. */
export function showsHyperv(vcpu: VcpuState): boolean {
  return vcpu.cpuid.find(SIGNATURE_LEAF, 0)?.eax === SIGNATURE;
}

/** Whether hypercalls mean Hyper-V's: the guest knows it and has said who it is. */
export function hypervHypercalls(vcpu: VcpuState): boolean {
  return vcpu.env.settings.hyperv.guestOsId !== 0n && showsHyperv(vcpu);
}

/** RDMSR of one of {@link HvMsr}; undefined is #GP. */
export function readHvMsr(vcpu: VcpuState, index: number, fromHost: boolean): bigint | undefined {
  if (!fromHost && !showsHyperv(vcpu)) return undefined;
  const { hyperv } = vcpu.env.settings;
  if (index === HvMsr.GUEST_OS_ID) return hyperv.guestOsId;
  return index === HvMsr.HYPERCALL ? hyperv.hypercall : BigInt(vcpu.index);
}

/** WRMSR of one of {@link HvMsr}; false is #GP. */
export function writeHvMsr(
  vcpu: VcpuState,
  index: number,
  value: bigint,
  fromHost: boolean,
): boolean {
  if (!fromHost && !showsHyperv(vcpu)) return false;
  const { hyperv } = vcpu.env.settings;
  switch (index) {
    case HvMsr.GUEST_OS_ID:
      hyperv.guestOsId = value;
      // Without an identity there are no hypercalls.
      if (value === 0n) hyperv.hypercall &= ~HYPERCALL_ENABLE;
      return true;
    case HvMsr.HYPERCALL:
      if (hyperv.guestOsId === 0n) return true;
      if ((value & HYPERCALL_ENABLE) !== 0n && !fillPage(vcpu, value & HYPERCALL_PAGE))
        return false;
      hyperv.hypercall = value;
      return true;
    default:
      // The index stays what it is.
      return fromHost && value === BigInt(vcpu.index);
  }
}

/**
 * The code that guests call. Where Xen's hypercalls are there too, it sets bit 31 of EAX, which
 * tells the two apart: Xen has no such numbers, and Hyper-V wants the bit 0 or does not look at it.
 */
function fillPage(vcpu: VcpuState, address: bigint): boolean {
  const mark = vcpu.env.xen.interceptsHypercalls ? [0x0d, 0x00, 0x00, 0x00, 0x80] : [];
  const code = Uint8Array.from([...mark, 0x0f, 0x01, 0xd9, 0xc3]);
  return address < 1n << 52n && vcpu.env.access.write(Number(address), code);
}

interface Call {
  readonly code: number;
  readonly fast: boolean;
  /** A repeat count or a variable header, which the calls that are here do not have. */
  readonly more: boolean;
  readonly input: bigint;
}

function readCall(vcpu: VcpuState): Call {
  const { engine } = vcpu;
  const low = (register: number): bigint => BigInt(engine.gprLow(register));
  const long = engine.longMode64;
  const control = long ? engine.gpr(Gpr.RCX) : (low(Gpr.RDX) << 32n) | low(Gpr.RAX);
  return {
    code: Number(control & 0xffffn),
    fast: (control & 0x10000n) !== 0n,
    more: (control & 0x0fff_0fff_07fe_0000n) !== 0n,
    input: long ? engine.gpr(Gpr.RDX) : (low(Gpr.RBX) << 32n) | low(Gpr.RCX),
  };
}

/**
 * A hypercall of Hyper-V's interface. @returns "exception" when an exception is queued; else the
 * result is in its registers, and the instruction can be left behind.
 */
export function hypervHypercall(vcpu: VcpuState): "done" | "exception" {
  const { engine } = vcpu;
  if (engine.cpl !== 0 || (engine.cr0 & 1n) === 0n) {
    vcpu.queueException(Exception.UD, undefined);
    return "exception";
  }
  const status = answer(vcpu, readCall(vcpu));
  if (engine.longMode64) engine.setGpr(Gpr.RAX, status);
  else {
    engine.setGpr(Gpr.RDX, status >> 32n);
    engine.setGpr(Gpr.RAX, status & 0xffffffffn);
  }
  return "done";
}

function answer(vcpu: VcpuState, call: Call): bigint {
  switch (call.code) {
    case NOTIFY_LONG_SPIN_WAIT:
      if (call.more) return Status.INVALID_HYPERCALL_INPUT;
      vcpu.yield();
      return Status.SUCCESS;
    case SIGNAL_EVENT: {
      if (call.more) return Status.INVALID_HYPERCALL_INPUT;
      const status = signalEvent(vcpu, call);
      // No connection of ours: the client may know it, but only through an active SynIC.
      return status === Status.INVALID_PORT_ID ? Status.INVALID_HYPERCALL_INPUT : status;
    }
    case POST_MESSAGE:
      return Status.INVALID_HYPERCALL_INPUT;
    default:
      return Status.INVALID_HYPERCALL_CODE;
  }
}

/** There are no connections (KVM_HYPERV_EVENTFD): what remains are the checks of the input. */
function signalEvent(vcpu: VcpuState, call: Call): bigint {
  let { input } = call;
  if (!call.fast) {
    if ((input & 7n) !== 0n || (input & 0xfffn) + 8n > BigInt(PAGE_SIZE)) {
      return Status.INVALID_ALIGNMENT;
    }
    const bytes = input < 1n << 52n ? vcpu.env.access.read(Number(input), 8) : undefined;
    if (bytes === undefined) return Status.INSUFFICIENT_MEMORY;
    input = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }
  if ((input & FLAG_NUMBER) !== 0n) return Status.INVALID_PORT_ID;
  return (input & ~CONNECTION_ID) !== 0n ? Status.INVALID_HYPERCALL_INPUT : Status.INVALID_PORT_ID;
}

/**
 * What any KVM can tell of a VM and its vCPUs by its GET calls, and take by its SET calls. Memory is apart, and so
 * are addresses of linear memory, which mean nothing elsewhere.
 */
import { KvmVcpuEvent, type KvmVcpuEvents } from "../../abi/kvm/index.js";
import { ApicReg } from "../../abi/x86/apic.js";
import { Cpuid1Ecx, Cpuid1Edx, type CpuidEntry2, Msr } from "../../abi/x86/index.js";
import { XEN_CPUID_FIRST_LEAF } from "../../abi/xen/cpuid.js";
import { HostError } from "../../base/index.js";
import { KvmError, type KvmMsrEntry, type VcpuApi, type VmApi } from "../../kvm/api/index.js";
import {
  bool,
  bytes,
  type Codec,
  damaged,
  integer,
  list,
  optional,
  record,
  struct,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
} from "./codec.js";

/**
 * MSRs of a vCPU in a file.
 * @limit file | MSRs of a vCPU in a snapshot | registers | SNAPSHOT_DAMAGED
 */
const MAX_MSRS = 1024;
/**
 * Entries of CPUID of a vCPU in a file: as KVM takes.
 * @limit file | entries of CPUID in a snapshot | entries | SNAPSHOT_DAMAGED
 */
const MAX_CPUID = 256;
/** @limit file | vCPUs in a snapshot | vCPUs | SNAPSHOT_DAMAGED */
const MAX_VCPUS = 64;

/** A segment register with its hidden part. */
export const segment = struct({
  base: u64,
  limit: u32,
  selector: u16,
  type: integer(0, 15),
  present: bool,
  dpl: integer(0, 3),
  db: bool,
  s: bool,
  l: bool,
  g: bool,
  avl: bool,
  unusable: bool,
});
const table = struct({ base: u64, limit: u16 });
const four = list(u64, 4, 4) as unknown as Codec<readonly [bigint, bigint, bigint, bigint]>;

const regs = record(
  ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"]
    .concat(["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"])
    .map((name) => name as keyof ReturnType<VcpuApi["getRegs"]>),
  u64,
);

const sregs = struct({
  ...{ cs: segment, ds: segment, es: segment, fs: segment, gs: segment, ss: segment },
  ...{ tr: segment, ldt: segment, gdt: table, idt: table },
  ...{ cr0: u64, cr2: u64, cr3: u64, cr4: u64, cr8: u64, efer: u64, apicBase: u64 },
  interruptBitmap: four,
});

const events = struct({
  exception: struct({
    injected: bool,
    nr: u8,
    hasErrorCode: bool,
    errorCode: u32,
    pending: optional(bool),
    payload: optional(u64),
  }),
  interrupt: struct({ injected: bool, nr: u8, soft: bool, shadow: u8 }),
  nmi: struct({ injected: bool, pending: u8, masked: bool }),
  sipiVector: u32,
  tripleFaultPending: optional(bool),
  flags: u32,
});

const cpuidEntry = record(["function", "index", "flags", "eax", "ebx", "ecx", "edx"], u32);

const vcpuCodec = struct({
  cpuid: list(cpuidEntry, MAX_CPUID),
  mpState: integer(0, 11),
  regs,
  sregs,
  xcr0: u64,
  xsave: bytes(4096),
  msrs: list(struct({ index: u32, data: u64 }), MAX_MSRS),
  lapic: bytes(1024),
  events,
  debugregs: struct({ db: four, dr6: u64, dr7: u64 }),
});

const pic = record(
  [
    ...(["lastIrr", "irr", "imr", "isr", "priorityAdd", "irqBase", "readRegSelect"] as const),
    ...(["poll", "specialMask", "initState", "autoEoi", "rotateOnAutoEoi"] as const),
    ...(["specialFullyNestedMode", "init4", "elcr", "elcrMask"] as const),
  ],
  u8,
);

/** The layer of a snapshot that any KVM can give and take. */
export const kvmLayer = struct({
  /** kvmclock, nanoseconds. */
  clock: u64,
  pics: list(pic, 2, 2),
  ioapic: struct({
    baseAddress: integer(0, Number.MAX_SAFE_INTEGER),
    ioregsel: u8,
    id: u8,
    irr: u32,
    redirtbl: list(u64, 24, 24),
  }),
  xen: struct({ longMode: bool }),
  vcpus: list(vcpuCodec, MAX_VCPUS, 1),
});

/** Values of {@link kvmLayer}. */
export type KvmLayer = ValueOf<typeof kvmLayer>;

type VcpuLayer = KvmLayer["vcpus"][number];

/** Writing it makes a page of hypercalls in the guest's memory, which has one. */
const HYPERCALL_PAGE = XEN_CPUID_FIRST_LEAF;

/** Reads a VM that stands still: every vCPU has finished its last exit. `msrs`: KVM_GET_MSR_INDEX_LIST. */
export function readKvm(vm: VmApi, vcpus: readonly VcpuApi[], msrs: readonly number[]): KvmLayer {
  return {
    clock: vm.getClock().clock,
    pics: [vm.getPic(0), vm.getPic(1)],
    ioapic: vm.getIoapic(),
    xen: { longMode: vm.xen.getAttr("LONG_MODE").longMode },
    vcpus: vcpus.map((vcpu) => readVcpu(vcpu, msrs)),
  };
}

function readVcpu(vcpu: VcpuApi, indices: readonly number[]): VcpuLayer {
  const { exception, tripleFaultPending, ...other } = vcpu.getVcpuEvents();
  const { smi: _, ...events } = other;
  return {
    cpuid: vcpu.getCpuid2(),
    mpState: vcpu.getMpState(),
    regs: vcpu.getRegs(),
    sregs: vcpu.getSregs(),
    xcr0: vcpu.getXcr0(),
    xsave: vcpu.getXsave(),
    // One call for each: KVM_GET_MSRS ends at the first that is refused.
    msrs: indices
      .filter((index) => index !== HYPERCALL_PAGE)
      .flatMap((index): KvmMsrEntry[] => vcpu.getMsrs([index])),
    lapic: vcpu.getLapic(),
    events: {
      ...events,
      exception: { ...exception, pending: exception.pending, payload: exception.payload },
      tripleFaultPending,
    },
    debugregs: vcpu.getDebugregs(),
  };
}

/**
 * Puts the state into a new VM, whose memory is there already.
 * @throws HostError SNAPSHOT_VERSION when its processors are others; SNAPSHOT_DAMAGED when KVM refuses the state.
 */
export function writeKvm(vm: VmApi, vcpus: readonly VcpuApi[], layer: KvmLayer): void {
  checkProcessors(vcpus, layer);
  const take = (what: string, action: () => void): void => {
    try {
      action();
    } catch (refusal) {
      if (refusal instanceof KvmError) throw damaged(`${what} is refused`, refusal);
      throw refusal;
    }
  };
  take("the clock", () => {
    vm.setClock({ clock: layer.clock, flags: 0, realtime: 0n, hostTsc: 0n });
  });
  take("the interrupt controllers", () => {
    for (const index of [0, 1] as const) {
      const state = layer.pics[index];
      if (state !== undefined) vm.setPic(index, state);
    }
    vm.setIoapic(layer.ioapic);
  });
  take("the VM", () => vm.xen.setAttr({ type: "LONG_MODE", longMode: layer.xen.longMode }));
  for (const [i, vcpu] of vcpus.entries()) {
    take(`vCPU ${i}`, () => writeVcpu(vcpu, layer.vcpus[i] as VcpuLayer));
  }
}

/** Xen's leaf about time: what it says of the guest's clock. */
const XEN_TIME_LEAF = XEN_CPUID_FIRST_LEAF + 3;

/** Bits that CPUID shows of a vCPU's state: function, register, bits. */
const SHOWN_STATE = [
  // MONITOR, OSXSAVE; the local APIC.
  [1, "ecx", Cpuid1Ecx.MONITOR | Cpuid1Ecx.OSXSAVE],
  [1, "edx", Cpuid1Edx.APIC],
  [0x80000001, "edx", Cpuid1Edx.APIC],
  // OSPKE.
  [7, "ecx", 1 << 4],
  // Bytes that XSAVE needs for what XCR0 has.
  [0xd, "ebx", ~0],
  // KVM writes the TSC's scale and offset into Xen's leaf.
  ...(["eax", "ebx", "ecx", "edx"] as const).map((name) => [XEN_TIME_LEAF, name, ~0] as const),
] as const;

function withoutState(entry: CpuidEntry2): readonly number[] {
  const copy = { ...entry };
  for (const [leaf, register, bits] of SHOWN_STATE) {
    if (leaf === entry.function) copy[register] = (copy[register] & ~bits) >>> 0;
  }
  const { function: fn, index, flags, eax, ebx, ecx, edx } = copy;
  return [fn, index, flags, eax, ebx, ecx, edx];
}

/** A guest goes by what CPUID told it when it booted. */
function checkProcessors(vcpus: readonly VcpuApi[], layer: KvmLayer): void {
  if (layer.vcpus.length !== vcpus.length) throw damaged("the number of vCPUs");
  const fixed = (entries: readonly CpuidEntry2[]): string =>
    JSON.stringify(entries.map(withoutState));
  const isSame = vcpus.every(
    (vcpu, i) => fixed(vcpu.getCpuid2()) === fixed(layer.vcpus[i]?.cpuid ?? []),
  );
  if (isSame) return;
  const message = "the snapshot was made with another processor: use the release that made it";
  throw new HostError("SNAPSHOT_VERSION", message);
}

function writeVcpu(vcpu: VcpuApi, state: VcpuLayer): void {
  vcpu.setSregs(state.sregs);
  vcpu.setRegs(state.regs);
  vcpu.setXcr0(state.xcr0);
  vcpu.setXsave(state.xsave);
  const isDeadline = ({ index }: KvmMsrEntry): boolean => index === Msr.IA32_TSC_DEADLINE;
  putMsrs(
    vcpu,
    state.msrs.filter((entry) => !isDeadline(entry)),
  );
  vcpu.setLapic(withoutEndedCount(state.lapic));
  vcpu.setVcpuEvents(eventsOf(state));
  vcpu.setMpState(state.mpState);
  putMsrs(vcpu, state.msrs.filter(isDeadline));
  vcpu.setDebugregs(state.debugregs);
}

/** Events as KVM_SET_VCPU_EVENTS takes them: there is no system management mode. */
function eventsOf(state: VcpuLayer): KvmVcpuEvents {
  const { VALID_NMI_PENDING, VALID_SIPI_VECTOR, VALID_SMM } = KvmVcpuEvent;
  const { tripleFaultPending, exception, ...events } = state.events;
  const { pending, payload, ...rest } = exception;
  return {
    ...events,
    exception: { ...rest, ...(pending === undefined ? {} : { pending }), payload },
    ...(tripleFaultPending === undefined ? {} : { tripleFaultPending }),
    flags: (events.flags | VALID_NMI_PENDING | VALID_SIPI_VECTOR) & ~VALID_SMM,
  };
}

function putMsrs(vcpu: VcpuApi, entries: readonly KvmMsrEntry[]): void {
  for (const entry of entries) {
    if (vcpu.setMsrs([entry]) !== 1) throw damaged(`MSR 0x${entry.index.toString(16)}`);
  }
}

/** Bits of the timer's LVT that are its mode; 0 is one-shot. */
const TIMER_MODE = 3 << 17;

/** KVM_SET_LAPIC would end a one-shot count that has ended once more, at once. */
function withoutEndedCount(lapic: Uint8Array): Uint8Array {
  const image = lapic.slice();
  const view = new DataView(image.buffer);
  const isOneShot = (view.getUint32(ApicReg.LVTT, true) & TIMER_MODE) === 0;
  if (isOneShot && view.getUint32(ApicReg.TMCCT, true) === 0) {
    view.setUint32(ApicReg.TMICT, 0, true);
  }
  return image;
}

import {
  KvmXenHvmAttrType as Hvm,
  KVM_CREATE_IRQCHIP,
  KVM_CREATE_VCPU,
  KVM_ENABLE_CAP,
  KVM_GET_CLOCK,
  KVM_GET_CPUID2,
  KVM_GET_LAPIC,
  KVM_GET_MP_STATE,
  KVM_GET_REGS,
  KVM_GET_SREGS,
  KVM_GET_VCPU_EVENTS,
  KVM_SET_CLOCK,
  KVM_SET_CPUID2,
  KVM_SET_LAPIC,
  KVM_SET_MP_STATE,
  KVM_SET_REGS,
  KVM_SET_SREGS,
  KVM_SET_USER_MEMORY_REGION,
  KVM_SET_VCPU_EVENTS,
  KVM_XEN_HVM_CONFIG,
  kvm_clock_data,
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_lapic_state,
  kvm_mp_state,
  kvm_regs,
  kvm_sregs,
  kvm_userspace_memory_region,
  kvm_vcpu_events,
  kvm_xen_hvm_attr,
  KvmXenVcpuAttrType as PerVcpu,
} from "../kvm/index.js";
import { type AttributeKind, hvmAttributes, vcpuAttributes } from "./attributes.js";
import { type Client, MAX_VCPUS } from "./client.js";
import { answer } from "./format.js";
import { createVm, SPLIT_IRQCHIP, type VmStep } from "./steps-vm.js";

/** In the order in which a new VM gets them: the port limits follow from LONG_MODE. */
const HVM_TYPES = [
  Hvm.LONG_MODE,
  Hvm.SHARED_INFO,
  Hvm.SHARED_INFO_HVA,
  Hvm.UPCALL_VECTOR,
  Hvm.XEN_VERSION,
  Hvm.RUNSTATE_UPDATE_FLAG,
] as const;

const VCPU_TYPES = [
  PerVcpu.VCPU_INFO,
  PerVcpu.VCPU_INFO_HVA,
  PerVcpu.VCPU_TIME_INFO,
  PerVcpu.RUNSTATE_ADDR,
  PerVcpu.RUNSTATE_DATA,
  PerVcpu.VCPU_ID,
  PerVcpu.TIMER,
  PerVcpu.UPCALL_VECTOR,
] as const;

/** State of a vCPU; what it does not have is left out. */
const REGISTERS = [
  { get: KVM_GET_SREGS, set: KVM_SET_SREGS, size: kvm_sregs.size },
  { get: KVM_GET_REGS, set: KVM_SET_REGS, size: kvm_regs.size },
  { get: KVM_GET_LAPIC, set: KVM_SET_LAPIC, size: kvm_lapic_state.size },
  { get: KVM_GET_MP_STATE, set: KVM_SET_MP_STATE, size: kvm_mp_state.size },
  {
    get: KVM_GET_VCPU_EVENTS,
    set: KVM_SET_VCPU_EVENTS,
    size: kvm_vcpu_events.size,
    optional: true,
  },
] as const;

/** @nolimit tables of the `cpuid` step have 32 entries at most */
const MAX_CPUID = 64;

const INVALID = 0xffffffffffffffffn;

/** One more when the result is a refusal. */
const refusal = (result: number): number => (result < 0 ? 1 : 0);

/** A call that sets what was read. */
interface Setting {
  readonly request: number;
  readonly bytes: Uint8Array;
}

/** The call that sets an attribute to what it is, none when there is nothing to set. */
function readAttribute(client: Client, fd: number, kind: AttributeKind, type: number): Setting[] {
  const bytes = kvm_xen_hvm_attr.encode({ type });
  if (client.callWith(fd, kind.get, bytes) !== 0) return [];
  const value = new DataView(bytes.buffer).getBigUint64(kvm_xen_hvm_attr.offset("u"), true);
  // A place is set by its guest-physical address, by its client address, or not at all.
  const none = type === kind.hvaType ? value === 0n : type === kind.gpaType && value === INVALID;
  return none ? [] : [{ request: kind.set, bytes }];
}

/** The CPUID table, which EFER depends on. */
function readCpuid(client: Client, fd: number): Setting[] {
  const bytes = new Uint8Array(kvm_cpuid2.size + MAX_CPUID * kvm_cpuid_entry2.size);
  bytes.set(kvm_cpuid2.encode({ nent: MAX_CPUID }));
  const got = client.callWith(fd, KVM_GET_CPUID2, bytes) === 0;
  const isEmpty = kvm_cpuid2.decode(bytes.subarray(0, kvm_cpuid2.size)).nent === 0;
  return got && !isEmpty ? [{ request: KVM_SET_CPUID2, bytes }] : [];
}

function readVcpu(client: Client, fd: number): Setting[] {
  const registers = REGISTERS.flatMap(({ get, set, size }) => {
    const bytes = new Uint8Array(size);
    return client.callWith(fd, get, bytes) === 0 ? [{ request: set, bytes }] : [];
  });
  const attributes = VCPU_TYPES.flatMap((type) => readAttribute(client, fd, vcpuAttributes, type));
  return [...readCpuid(client, fd), ...registers, ...attributes];
}

/** How many of the calls were refused. */
function write(client: Client, fd: number, settings: readonly Setting[]): number {
  return settings.reduce(
    (refused, { request, bytes }) => refused + refusal(client.callWith(fd, request, bytes)),
    0,
  );
}

function slotSettings(client: Client): Setting[] {
  return [...client.slots.entries()].flatMap(([id, slot]) => {
    if (slot === undefined) return [];
    const bytes = kvm_userspace_memory_region.encode({
      slot: id,
      flags: slot.flags,
      guest_phys_addr: slot.gpa,
      memory_size: slot.size,
      userspace_addr: slot.address,
    });
    return [{ request: KVM_SET_USER_MEMORY_REGION, bytes }];
  });
}

function makeVm(client: Client, clock: bigint): number {
  client.vm = createVm(client);
  let refused = 0;
  if (client.chip === "kernel") refused += refusal(client.call(client.vm, KVM_CREATE_IRQCHIP, 0n));
  const split = { request: KVM_ENABLE_CAP, bytes: SPLIT_IRQCHIP.slice() };
  refused += write(client, client.vm, [
    ...(client.chip === "split" ? [split] : []),
    ...slotSettings(client),
    { request: KVM_XEN_HVM_CONFIG, bytes: client.config.slice() },
    { request: KVM_SET_CLOCK, bytes: kvm_clock_data.encode({ clock }) },
  ]);
  for (const id of client.created) {
    const place = client.vcpus[id % MAX_VCPUS];
    if (place === undefined) continue;
    place.fd = client.call(client.vm, KVM_CREATE_VCPU, BigInt(id));
    const pages = client.process.mmap(place.fd, client.runSize);
    if (typeof pages !== "number") place.run = pages;
  }
  return refused;
}

/**
 * `migrate`: a new VM takes the place of the old one, with the same memory and all state that a
 * client can read; the table of event channels and the routing are not among it. Prints how many
 * of the calls that set state were refused.
 */
export const migrate: VmStep = (client) => {
  const bytes = new Uint8Array(kvm_clock_data.size);
  const got = client.callWith(client.vm, KVM_GET_CLOCK, bytes);
  if (got !== 0) return answer(got);
  const fdOf = (id: number) => client.vcpus[id % MAX_VCPUS]?.fd ?? -1;
  const hvm = HVM_TYPES.flatMap((type) => readAttribute(client, client.vm, hvmAttributes, type));
  const saved = client.created.map((id) => ({ id, settings: readVcpu(client, fdOf(id)) }));
  for (const fd of [...client.created.map(fdOf), client.vm]) client.process.close(fd);

  let refused = makeVm(client, kvm_clock_data.decode(bytes).clock);
  refused += write(client, client.vm, hvm);
  for (const { id, settings } of saved) refused += write(client, fdOf(id), settings);
  return answer(refused);
};

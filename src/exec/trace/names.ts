import { KvmCap } from "../../abi/kvm/cap.js";
import { KvmExitReason } from "../../abi/kvm/exit.js";
import * as ioctls from "../../abi/kvm/ioctl.js";
import { KvmMem } from "../../abi/kvm/memory.js";
import { KvmXenHvmAttrType, KvmXenVcpuAttrType } from "../../abi/kvm/xen.js";
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from "../../abi/x86/cpuid.js";
import { Hypercall } from "../../abi/xen/xen.js";

type Names = (value: number) => string | number;

/** Names of numbers as the header spells them: a prefix and a key; a number that has none stays one. */
function named(prefix: string, table: Readonly<Record<string, number>>): Names {
  const names = new Map(Object.entries(table).map(([key, value]) => [value, `${prefix}${key}`]));
  return (value) => names.get(value) ?? value;
}

/**
 * Names of the bits of a number, with `|` between, as in C: bits without a name are a number at the end; 0 stays 0.
 */
function namedBits(prefix: string, table: Readonly<Record<string, number>>): Names {
  return (value) => {
    const known = Object.entries(table).filter(([, bit]) => (value & bit) !== 0);
    const rest = known.reduce((left, [, bit]) => left & ~bit, value) >>> 0;
    const words = known.map(([key]) => `${prefix}${key}`);
    if (words.length === 0) return value;
    return [...words, ...(rest === 0 ? [] : [`0x${rest.toString(16)}`])].join("|");
  };
}

const { ioctlArgument: _, ...numbers } = ioctls;
const ioctlNumbers = Object.entries(numbers).flatMap(([name, value]) =>
  typeof value === "number" && /^KVM_/.test(name) ? [[value, name] as const] : [],
);
const names = new Map<number, string>(ioctlNumbers);

/** The name of an ioctl number, or the number. */
export const ioctlName = (request: number): string =>
  names.get(request) ?? `0x${request.toString(16)}`;

/** Every name that {@link ioctlName} knows. */
export const ioctlNames: readonly string[] = ioctlNumbers.map(([, name]) => name);

/** `KVM_CAP_*`. */
export const capName = named("KVM_CAP_", KvmCap);
/** `KVM_MEM_*`, the flags of a slot. */
export const memFlags = namedBits("KVM_MEM_", { ...KvmMem, GUEST_MEMFD: 1 << 2 });
/** The flags of an entry of CPUID: STATEFUL_FUNC and STATE_READ_NEXT are of processors before 2004. */
export const cpuidFlags = namedBits("KVM_CPUID_FLAG_", {
  SIGNIFCANT_INDEX: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
  STATEFUL_FUNC: 1 << 1,
  STATE_READ_NEXT: 1 << 2,
});
/** `KVM_EXIT_*`. */
export const exitName = named("KVM_EXIT_", KvmExitReason);
/** `KVM_XEN_ATTR_TYPE_*`. */
export const xenHvmAttrName = named("KVM_XEN_ATTR_TYPE_", KvmXenHvmAttrType);
/** `KVM_XEN_VCPU_ATTR_TYPE_*`. */
export const xenVcpuAttrName = named("KVM_XEN_VCPU_ATTR_TYPE_", KvmXenVcpuAttrType);
/** `__HYPERVISOR_*`. */
export const hypercallName = named("__HYPERVISOR_", Hypercall);

import { KvmCap } from "../../abi/kvm/cap.js";
import { KvmExitReason } from "../../abi/kvm/exit.js";
import * as ioctls from "../../abi/kvm/ioctl.js";
import { KvmXenHvmAttrType, KvmXenVcpuAttrType } from "../../abi/kvm/xen.js";
import { Hypercall } from "../../abi/xen/xen.js";

type Names = (value: number) => string | number;

/** Names of numbers as the header spells them: a prefix and a key; a number that has none stays one. */
function named(prefix: string, table: Readonly<Record<string, number>>): Names {
  const names = new Map(Object.entries(table).map(([key, value]) => [value, `${prefix}${key}`]));
  return (value) => names.get(value) ?? value;
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
/** `KVM_EXIT_*`. */
export const exitName = named("KVM_EXIT_", KvmExitReason);
/** `KVM_XEN_ATTR_TYPE_*`. */
export const xenHvmAttrName = named("KVM_XEN_ATTR_TYPE_", KvmXenHvmAttrType);
/** `KVM_XEN_VCPU_ATTR_TYPE_*`. */
export const xenVcpuAttrName = named("KVM_XEN_VCPU_ATTR_TYPE_", KvmXenVcpuAttrType);
/** `__HYPERVISOR_*`. */
export const hypercallName = named("__HYPERVISOR_", Hypercall);

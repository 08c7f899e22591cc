/** The VM of an instance, as KVM makes it. */
import { KvmIrqchip } from "../../abi/kvm/index.js";
import { Errno, noAddressesForVm } from "../../base/index.js";
import { type KvmApi, KvmError, type KvmIrqRoutingEntry, type VmApi } from "../../kvm/api/index.js";

const IOAPIC_PINS = 24;

/**
 * Interrupt lines go to the I/O APIC only: the guest of a PVH machine knows no 8259, and what that
 * would make of a line must not reach the boot processor.
 */
export function ioapicRoutes(): KvmIrqRoutingEntry[] {
  return Array.from({ length: IOAPIC_PINS }, (_, gsi) => ({
    gsi,
    type: "IRQCHIP",
    irqchip: KvmIrqchip.IOAPIC,
    pin: gsi,
  }));
}

/** @throws HostError HOST_MEMORY when the host has no addresses for one. */
export function createVm(kvm: KvmApi): VmApi {
  try {
    return kvm.createVm();
  } catch (cause) {
    if (!(cause instanceof KvmError) || cause.errno !== Errno.ENOMEM) throw cause;
    throw noAddressesForVm(cause);
  }
}

import type { CpuidTable } from "../cpu/cpuid.js";
import type { VmSettings } from "../vm-settings.js";
import type { Ioapic } from "./ioapic.js";

/** Suppression of EOI broadcasts (SPIV bit 12): whether the version says that it exists, and whether it does. */
export interface EoiSuppression {
  isOffered(): boolean;
  works(): boolean;
}

/**
 * As the client has said it (KVM_CAP_X2APIC_API). When nobody has, Linux offers it where the IOAPIC is the client's, and
 * does not do it there.
 */
export function eoiSuppression(
  vm: { readonly settings: VmSettings; readonly ioapic: Ioapic | undefined },
  cpuid: CpuidTable,
): EoiSuppression {
  const { settings } = vm;
  return {
    isOffered: () => cpuid.hasX2apic && (settings.suppressEoi ?? vm.ioapic === undefined),
    works: () => settings.suppressEoi ?? vm.ioapic !== undefined,
  };
}

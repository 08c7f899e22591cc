/** Arguments of variable length, as a program makes them: a head with a count, then that many elements. */
import {
  type CpuidEntry2,
  type KvmIrqRoutingEntry,
  KvmIrqRoutingType,
  KvmLimit,
  type KvmMsrEntry,
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_msr_entry,
  kvm_msrs,
} from "../../kvm/index.js";

interface Element<T, I> {
  readonly size: number;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: I): void;
}

function withHead<T, I>(head: Uint8Array, element: Element<T, I>, list: readonly I[]): Uint8Array {
  const bytes = new Uint8Array(head.length + element.size * list.length);
  bytes.set(head);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of list.entries())
    element.write(view, head.length + i * element.size, value);
  return bytes;
}

function elements<T, I>(
  bytes: Uint8Array,
  from: number,
  element: Element<T, I>,
  count: number,
): T[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, i) => element.read(view, from + i * element.size));
}

/** `kvm_cpuid2` with a table. */
export const cpuidBytes = (entries: readonly CpuidEntry2[]): Uint8Array =>
  withHead(kvm_cpuid2.encode({ nent: entries.length }), kvm_cpuid_entry2, entries);

/** `kvm_cpuid2` with room for the largest table. */
export function cpuidRoom(): Uint8Array {
  const room = KvmLimit.MAX_CPUID_ENTRIES;
  const bytes = new Uint8Array(kvm_cpuid2.size + room * kvm_cpuid_entry2.size);
  bytes.set(kvm_cpuid2.encode({ nent: room }));
  return bytes;
}

/** The table that is in it. */
export function cpuidOf(bytes: Uint8Array): CpuidEntry2[] {
  const { nent } = kvm_cpuid2.decode(bytes);
  return elements(bytes, kvm_cpuid2.size, kvm_cpuid_entry2, nent).map(
    ({ padding: _, ...entry }) => entry,
  );
}

/** `kvm_msrs` with MSRs, with values or without. */
export const msrBytes = (entries: readonly Partial<KvmMsrEntry>[]): Uint8Array =>
  withHead(kvm_msrs.encode({ nmsrs: entries.length }), kvm_msr_entry, entries);

/** The first MSRs that are in it. */
export const msrsOf = (bytes: Uint8Array, count: number): KvmMsrEntry[] =>
  elements(bytes, kvm_msrs.size, kvm_msr_entry, count).map(({ index, data }) => ({ index, data }));

/** `kvm_irq_routing` with a table. */
export const routesBytes = (entries: readonly KvmIrqRoutingEntry[]): Uint8Array =>
  withHead(
    kvm_irq_routing.encode({ nr: entries.length }),
    kvm_irq_routing_entry,
    entries.map((entry) => ({
      gsi: entry.gsi,
      flags: entry.flags ?? 0,
      type: KvmIrqRoutingType[entry.type],
      u: routeOf(entry),
    })),
  );

function routeOf(entry: KvmIrqRoutingEntry) {
  switch (entry.type) {
    case "IRQCHIP":
      return { irqchip: { irqchip: entry.irqchip, pin: entry.pin } };
    case "MSI":
      return {
        msi: { address_lo: entry.addressLo, address_hi: entry.addressHi, data: entry.data },
      };
    case "XEN_EVTCHN":
      return { xen_evtchn: { port: entry.port, vcpu: entry.vcpu, priority: entry.priority } };
  }
}

/** `KVM_IRQ_ROUTING_*` entry types. */
export const KvmIrqRoutingType = { IRQCHIP: 1, MSI: 2, XEN_EVTCHN: 5 } as const;

/** `KVM_IRQCHIP_*` numbers in irqchip routes. */
export const KvmIrqchip = { PIC_MASTER: 0, PIC_SLAVE: 1, IOAPIC: 2 } as const;

/** The only event channel priority KVM accepts (`KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL`). */
export const KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL = 0xffffffff;

/** `struct kvm_irq_routing_xen_evtchn`: an event channel port of a vCPU. All u32. */
export interface KvmXenEvtchn {
  readonly port: number;
  /** KVM vcpu_id (local APIC id), not the Xen vCPU id. */
  readonly vcpu: number;
  readonly priority: number;
}

/** `struct kvm_irq_routing_entry`. */
export type KvmIrqRoutingEntry =
  | {
      readonly gsi: number;
      readonly flags?: number;
      readonly type: "IRQCHIP";
      readonly irqchip: number;
      readonly pin: number;
    }
  | {
      readonly gsi: number;
      readonly flags?: number;
      readonly type: "MSI";
      readonly addressLo: number;
      readonly addressHi: number;
      readonly data: number;
    }
  | ({ readonly gsi: number; readonly flags?: number; readonly type: "XEN_EVTCHN" } & KvmXenEvtchn);

/** `struct kvm_msi`. All u32. */
export interface KvmMsi {
  readonly addressLo: number;
  readonly addressHi: number;
  readonly data: number;
  readonly flags?: number;
}

import {
  KvmIrqchip,
  type KvmIrqRoutingEntry,
  KvmLimit,
  type KvmMsi,
  type KvmXenEvtchn,
} from "../../abi/kvm/index.js";
import { Ioapic as IoapicBits } from "../../abi/x86/index.js";
import { refuse } from "../error.js";
import type { ApicMessage } from "./apic-bus.js";
import { IrqSource } from "./ioapic.js";
import { LowLines } from "./low-lines.js";

/** Where routed interrupts go. */
export interface RouteTargets {
  /** Sets a pin of the PIC pair (0 to 15); result as KVM_IRQ_LINE_STATUS. */
  setPicLine(line: number, source: number, level: boolean): number;
  setIoapicLine(pin: number, source: number, level: boolean): number;
  /** Whether nobody holds a line up: to lower it again would change nothing. */
  isPicLineLow(line: number): boolean;
  isIoapicLineLow(pin: number): boolean;
  deliverMsi(message: ApicMessage): number;
  /** Raises an event channel; result as {@link setPicLine}. */
  deliverXen(event: KvmXenEvtchn): number;
  /** Checks an event channel route. @throws KvmError EINVAL. */
  checkXen(event: KvmXenEvtchn): void;
}

/** Which interrupt controllers are in the kernel. */
export type IrqchipMode = "none" | "split" | "kernel";

/** The message that a write to an MSI address means (Intel SDM, "Message Signalled Interrupts"). */
export function msiMessage(msi: KvmMsi, x2apicFormat: boolean): ApicMessage {
  let destination = (msi.addressLo >>> 12) & 0xff;
  if (x2apicFormat) destination = (destination | (msi.addressHi & 0xffffff00)) >>> 0;
  return {
    vector: msi.data & 0xff,
    deliveryMode: (msi.data >>> 8) & 7,
    logical: (msi.addressLo & 4) !== 0,
    level: true,
    levelTriggered: (msi.data & 0x8000) !== 0,
    destination,
  };
}

/** The line of the PIC pair, 0 to 15, that a pin of one of the two is. */
const picLine = ({ irqchip, pin }: { readonly irqchip: number; readonly pin: number }): number =>
  irqchip === KvmIrqchip.PIC_SLAVE ? pin + 8 : pin;

/** The GSI routing table of a VM: which controllers a global system interrupt reaches. */
export class GsiRouting {
  readonly #targets: RouteTargets;
  #routes = new Map<number, KvmIrqRoutingEntry[]>();
  #mode: IrqchipMode = "none";
  /** KVM_X2APIC_API_USE_32BIT_IDS was enabled: MSI destinations have 32 bits. */
  x2apicFormat = false;
  /** Of what is known without asking. */
  readonly lowLines = new LowLines();

  constructor(targets: RouteTargets) {
    this.#targets = targets;
  }

  /** Sets the table that a new interrupt controller starts with. */
  init(mode: IrqchipMode): void {
    this.lowLines.clear();
    this.#mode = mode;
    this.#routes = new Map();
    if (mode !== "kernel") return;
    for (let gsi = 0; gsi < IoapicBits.PINS; gsi++) {
      const entries: KvmIrqRoutingEntry[] = [
        { gsi, type: "IRQCHIP", irqchip: KvmIrqchip.IOAPIC, pin: gsi },
      ];
      if (gsi < 16) {
        const irqchip = gsi < 8 ? KvmIrqchip.PIC_MASTER : KvmIrqchip.PIC_SLAVE;
        entries.push({ gsi, type: "IRQCHIP", irqchip, pin: gsi & 7 });
      }
      this.#routes.set(gsi, entries);
    }
  }

  /**
   * KVM_SET_GSI_ROUTING: replaces the table, or changes nothing when an entry is refused.
   * @throws KvmError EINVAL.
   */
  set(entries: readonly KvmIrqRoutingEntry[]): void {
    if (this.#mode === "none") refuse("EINVAL", "no interrupt controller in the kernel");
    if (entries.length > KvmLimit.MAX_IRQ_ROUTES) refuse("EINVAL", "too many routes");
    const routes = new Map<number, KvmIrqRoutingEntry[]>();
    for (const entry of entries) {
      if (entry.gsi < 0 || entry.gsi >= KvmLimit.MAX_IRQ_ROUTES) refuse("EINVAL", "gsi");
      if ((entry.flags ?? 0) !== 0) refuse("EINVAL", "routing flags");
      const list = routes.get(entry.gsi) ?? [];
      for (const other of list) {
        if (
          other.type !== "IRQCHIP" ||
          entry.type !== "IRQCHIP" ||
          other.irqchip === entry.irqchip
        ) {
          refuse("EINVAL", `gsi ${entry.gsi} has another route already`);
        }
      }
      this.#check(entry);
      list.push(entry);
      routes.set(entry.gsi, list);
    }
    this.lowLines.clear();
    this.#routes = routes;
  }

  /**
   * Sets the level of a GSI.
   * @returns -1 ignored (masked or no route), 0 coalesced, else how many targets took it.
   */
  setLevel(gsi: number, source: number, level: boolean): number {
    let result = -1;
    if (level) this.lowLines.clear();
    // A copy: delivery may end in code that replaces the table.
    const entries = [...(this.#routes.get(gsi) ?? [])];
    for (const entry of entries) {
      const taken = this.#deliver(entry, source, level);
      if (taken >= 0) result = result < 0 ? taken : result + taken;
    }
    const mayStay = !level && source === IrqSource.USERSPACE;
    if (mayStay && entries.every((entry) => this.#isLow(entry))) this.lowLines.note(gsi, result);
    return result;
  }

  /** Whether a GSI reaches a pin of the in-kernel IOAPIC; for irqfds that resample. */
  gsisOfIoapicPin(pin: number): number[] {
    const gsis: number[] = [];
    for (const [gsi, entries] of this.#routes) {
      for (const entry of entries) {
        if (entry.type === "IRQCHIP" && entry.irqchip === KvmIrqchip.IOAPIC && entry.pin === pin)
          gsis.push(gsi);
      }
    }
    return gsis;
  }

  #check(entry: KvmIrqRoutingEntry): void {
    switch (entry.type) {
      case "IRQCHIP": {
        if (this.#mode === "split") refuse("EINVAL", "no IOAPIC in the kernel");
        const ioapic = entry.irqchip === KvmIrqchip.IOAPIC;
        if (!ioapic && entry.irqchip !== KvmIrqchip.PIC_MASTER) {
          if (entry.irqchip !== KvmIrqchip.PIC_SLAVE) refuse("EINVAL", "irqchip");
        }
        if (entry.pin >= (ioapic ? IoapicBits.PINS : 8)) refuse("EINVAL", "irqchip pin");
        return;
      }
      case "MSI":
        if (this.x2apicFormat && (entry.addressHi & 0xff) !== 0) refuse("EINVAL", "MSI address");
        return;
      case "XEN_EVTCHN":
        this.#targets.checkXen(entry);
    }
  }

  #isLow(entry: KvmIrqRoutingEntry): boolean {
    if (entry.type !== "IRQCHIP") return true;
    if (entry.irqchip === KvmIrqchip.IOAPIC) return this.#targets.isIoapicLineLow(entry.pin);
    return this.#targets.isPicLineLow(picLine(entry));
  }

  #deliver(entry: KvmIrqRoutingEntry, source: number, level: boolean): number {
    switch (entry.type) {
      case "IRQCHIP": {
        if (entry.irqchip === KvmIrqchip.IOAPIC) {
          return this.#targets.setIoapicLine(entry.pin, source, level);
        }
        return this.#targets.setPicLine(picLine(entry), source, level);
      }
      case "MSI":
        if (!level) return -1;
        return this.#targets.deliverMsi(msiMessage(entry, this.x2apicFormat));
      case "XEN_EVTCHN":
        return level ? this.#targets.deliverXen(entry) : -1;
    }
  }
}

import { ApicBits, DeliveryMode } from "../../abi/x86/index.js";

/** An interrupt message: from an ICR, an IOAPIC pin or an MSI. */
export interface ApicMessage {
  /** 0 to 255. */
  readonly vector: number;
  /** One of {@link DeliveryMode}. */
  readonly deliveryMode: number;
  readonly logical: boolean;
  readonly level: boolean;
  /** Trigger mode: true for level. */
  readonly levelTriggered: boolean;
  /** Destination id: 8 bits in xAPIC format, 32 in x2APIC format. */
  readonly destination: number;
}

/** A local APIC as the bus sees it. */
export interface ApicTarget {
  /** KVM vcpu_id, the x2APIC id. */
  readonly id: number;
  readonly xapicId: number;
  readonly x2apic: boolean;
  /** Enabled in IA32_APIC_BASE. */
  readonly present: boolean;
  /** Present and enabled by software. */
  readonly enabled: boolean;
  /** LDR. */
  readonly logicalDestination: number;
  /** DFR. */
  readonly destinationFormat: number;
  /** Who took fewer lowest-priority messages is next. */
  readonly arbitration: number;
  /** Takes a message; false when it had no effect. */
  accept(message: ApicMessage): boolean;
}

const XAPIC_BROADCAST = 0xff;
const X2APIC_BROADCAST = 0xffffffff;

/** Connects the local APICs of a VM: decides who gets a message. */
export class ApicBus {
  readonly #lapics: ApicTarget[] = [];
  readonly #known = new Set<ApicTarget>();
  /** Those that the map finds by logical destinations; undefined: it finds none, and every APIC is looked at. */
  #logical: ReadonlySet<ApicTarget> | undefined;
  /** Off with KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK: 0xff is an id like others in x2APIC mode. */
  broadcastQuirk = true;

  /** All local APICs, in order of creation. */
  get lapics(): readonly ApicTarget[] {
    return this.#lapics;
  }

  /** Adds the local APIC of a new vCPU; {@link knows} tells from when on. */
  add(lapic: ApicTarget): void {
    this.remap();
    this.#lapics.push(lapic);
  }

  /**
   * Whether the kernel's map of local APICs has this one. It is made anew when a vCPU is created,
   * without the new one, and when an APIC changes how it is addressed or whether it is enabled.
   */
  knows(lapic: ApicTarget): boolean {
    return this.#known.has(lapic);
  }

  /** Which of them, by the order of creation. */
  get known(): readonly number[] {
    return [...this.#known].map((lapic) => this.#lapics.indexOf(lapic));
  }
  set known(indices: readonly number[]) {
    this.#logical = logicalMap(this.#lapics);
    this.#known.clear();
    for (const index of indices) {
      const lapic = this.#lapics[index];
      if (lapic !== undefined) this.#known.add(lapic);
    }
  }

  /** Makes the map anew: an APIC has changed. */
  remap(): void {
    for (const lapic of this.#lapics) this.#known.add(lapic);
    this.#logical = logicalMap(this.#lapics);
  }

  /** Sends what a vCPU wrote to its ICR; `destination` is ICR bits 63:32 or 63:56. */
  sendIpi(source: ApicTarget, icr: number, destination: number): void {
    const message: ApicMessage = {
      vector: icr & 0xff,
      deliveryMode: (icr >> 8) & 7,
      logical: (icr & ApicBits.DEST_LOGICAL) !== 0,
      level: (icr & ApicBits.ICR_ASSERT) !== 0,
      levelTriggered: (icr & ApicBits.ICR_LEVEL_TRIGGER) !== 0,
      destination,
    };
    const shorthand = icr & ApicBits.SHORTHAND_MASK;
    if (shorthand === ApicBits.SHORTHAND_SELF) source.accept(message);
    else if (shorthand === 0) this.#deliver(message, source);
    else {
      const others = shorthand === ApicBits.SHORTHAND_ALL_BUT_SELF;
      this.#deliverTo(
        this.#lapics.filter((lapic) => lapic.present && !(others && lapic === source)),
        message,
        false,
      );
    }
  }

  /**
   * Delivers a message that comes from no vCPU.
   * @returns how many local APICs took it; -1 when there are none at all, or none for a broadcast.
   */
  deliver(message: ApicMessage): number {
    return this.#deliver(message, undefined);
  }

  #deliver(message: ApicMessage, source: ApicTarget | undefined): number {
    const { destination } = message;
    // Broadcasts are not looked up in the map.
    const all = destination === XAPIC_BROADCAST || destination === X2APIC_BROADCAST;
    const map = all ? undefined : message.logical ? this.#logical : this.#known;
    const targets = this.#lapics.filter(
      (lapic) =>
        lapic.present &&
        (map === undefined || map.has(lapic)) &&
        matches(lapic, message, source, this.broadcastQuirk),
    );
    return this.#deliverTo(targets, message, map !== undefined);
  }

  /** `mapped`: the map has answered, which says 0 for who is not in it; else it is -1. */
  #deliverTo(targets: readonly ApicTarget[], message: ApicMessage, mapped: boolean): number {
    const nobody = this.#lapics.length > 0 && mapped ? 0 : -1;
    if (message.deliveryMode === DeliveryMode.LOWEST_PRIORITY) {
      let lowest: ApicTarget | undefined;
      for (const lapic of targets) {
        if (!lapic.enabled) continue;
        if (lowest === undefined || lapic.arbitration < lowest.arbitration) lowest = lapic;
      }
      if (lowest === undefined) return nobody;
      return lowest.accept(message) ? 1 : 0;
    }
    if (targets.length === 0) return nobody;
    let taken = 0;
    for (const lapic of targets) if (lapic.accept(message)) taken++;
    return taken;
  }
}

/**
 * The map's part for logical destinations: local APICs that are enabled by software, and in x2APIC mode all
 * that the map has. None when their modes differ, one names more than one bit, or two name the same.
 */
function logicalMap(lapics: readonly ApicTarget[]): ReadonlySet<ApicTarget> | undefined {
  let mode: string | undefined;
  const found = new Map<number, ApicTarget>();
  for (const lapic of lapics) {
    if (!lapic.enabled) continue;
    const isFlat = lapic.destinationFormat === ApicBits.DFR_FLAT >>> 0;
    const own = lapic.x2apic ? "x2apic" : isFlat ? "flat" : "cluster";
    if (mode !== undefined && mode !== own) return undefined;
    mode = own;
    if (lapic.x2apic) continue;
    const logical = lapic.logicalDestination >>> 24;
    const bits = isFlat ? logical : logical & 0xf;
    if (bits === 0) continue;
    if ((bits & (bits - 1)) !== 0 || found.has(logical)) return undefined;
    found.set(logical, lapic);
  }
  return new Set(mode === "x2apic" ? lapics.filter(({ x2apic }) => x2apic) : found.values());
}

/** Whether a message addresses a local APIC, as the mode of that APIC reads the destination. */
function matches(
  lapic: ApicTarget,
  message: ApicMessage,
  source: ApicTarget | undefined,
  broadcastQuirk: boolean,
): boolean {
  let dest = message.destination;
  if (lapic.x2apic) {
    // Messages from the IOAPIC and MSIs have 8-bit broadcasts.
    if (broadcastQuirk && source === undefined && dest === XAPIC_BROADCAST) dest = X2APIC_BROADCAST;
    if (dest === X2APIC_BROADCAST) return true;
    if (!message.logical) return dest === lapic.id;
    const ldr = lapic.logicalDestination;
    return ldr >>> 16 === dest >>> 16 && (ldr & dest & 0xffff) !== 0;
  }
  if (dest === XAPIC_BROADCAST) return true;
  if (!message.logical) return dest === lapic.xapicId || (lapic.id > 0xff && dest === lapic.id);
  const logical = lapic.logicalDestination >>> 24;
  if (lapic.destinationFormat === ApicBits.DFR_FLAT >>> 0) return (logical & dest) !== 0;
  if (lapic.destinationFormat === ApicBits.DFR_CLUSTER) {
    return logical >> 4 === dest >> 4 && (logical & dest & 0xf) !== 0;
  }
  return false;
}

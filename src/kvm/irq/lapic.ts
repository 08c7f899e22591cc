import { ApicBase, ApicBits, ApicReg, DeliveryMode } from "../../abi/x86/index.js";
import type { ArmLater } from "../../ports/index.js";
import type { LapicKept } from "../api/kept.js";
import type { ApicBus, ApicMessage, ApicTarget } from "./apic-bus.js";
import type { EoiSuppression } from "./eoi-suppression.js";
import { LVT_MASKS, readable, timerMode } from "./lapic-registers.js";
import { type LapicTime, LapicTimer } from "./lapic-timer.js";
import { clearVector, highestVector, setVector, testVector } from "./vector-set.js";

/** What a local APIC asks of its vCPU and VM. */
export interface LapicHost {
  readonly bus: ApicBus;
  readonly time: LapicTime;
  /** Something that may end a halt or change what is injected next: look again. */
  notify(): void;
  /** A non-maskable interrupt came. */
  raiseNmi(): void;
  /** A halt is to end (a message of delivery mode "remote read", as KVM uses it). */
  unhalt(): void;
  /** INIT (undefined) or STARTUP with its vector came. */
  raiseInit(sipiVector: number | undefined): void;
  /** The task priority changed other than by MOV to CR8. */
  tprChanged(tpr: number): void;
  /** A vector that was triggered by level was ended. */
  levelEoi(vector: number): void;
  /** The TPR is read or written in memory or as an MSR. */
  tprAccessed(isWrite: boolean): void;
  /** KVM_REQ_EVENT: there may be an interrupt to inject that there was not before. */
  requestEvent(): void;
  /** Reset, as after power-up or INIT. */
  wasReset(): void;
  /** The spurious vector register was written with the enable bit set. */
  softwareEnabled(): void;
}

/** Bits of the x2APIC's ICR that must be 0: 13, 16, 17 and 20 to 31. */
const X2APIC_ICR_RESERVED = 0xfff32000 | 0;

/** Version 0x14 with six LVT entries. */
const VERSION = 0x50014;

/**
 * One local APIC, in xAPIC or x2APIC mode (Intel SDM volume 3, chapter "Advanced Programmable
 * Interrupt Controller"), with what KVM leaves out left out: no error is ever reported in ESR, SMI
 * is ignored.
 */
export class Lapic implements ApicTarget {
  /** KVM vcpu_id, which is the initial and the x2APIC id. */
  readonly id: number;
  readonly #host: LapicHost;
  readonly #bsp: boolean;
  /** 32-bit registers by offset / 4, as KVM_GET_LAPIC shows them. */
  readonly #regs = new Uint32Array(256);
  readonly #timer: LapicTimer;
  #base = 0n;
  /** What {@link #base} says, as it is asked for at every entry. */
  #present = false;
  #x2apic = false;
  #address = 0;
  /** IRR may have bits set. */
  #irrPending = false;
  /** The vector that came into service last, as KVM remembers it until an EOI or KVM_SET_LAPIC; else -1. */
  #lastServed = -1;
  /** The processor priority was computed of what was in service before KVM_SET_LAPIC. */
  #staleServed = false;
  /** How many lowest-priority messages it took. */
  #arbitration = 0;
  readonly #suppression: EoiSuppression;
  /** Bits of LVTT's timer mode that there are; the others are as if they were 0. */
  #timerModes = 0;

  /** LINT0 of the boot processor passes the PIC's interrupts after reset. */
  readonly #lint0Open: boolean;

  constructor(
    id: number,
    host: LapicHost,
    options: {
      bsp: boolean;
      suppression: EoiSuppression;
      lint0Open?: boolean;
      busCycleNs?: number;
    },
  ) {
    this.id = id;
    this.#host = host;
    this.#bsp = options.bsp;
    this.#suppression = options.suppression;
    this.#lint0Open = options.lint0Open ?? true;
    this.#timer = new LapicTimer(
      host.time,
      () => this.deliverLocal(ApicReg.LVTT),
      options.busCycleNs ?? 1,
    );
    this.reset(false);
  }

  /**
   * The guest has a CPUID table, with features of leaf 1. Before, the timer is one-shot; the mode of LVTT and the LVR
   * change at their next write or load only.
   */
  setFeatures({ hasTscDeadline }: { hasTscDeadline: boolean }): void {
    this.#timerModes = hasTscDeadline ? ApicBits.LVT_TIMER_MODE_MASK : ApicBits.LVT_TIMER_PERIODIC;
    this.#setVersion();
  }

  /** IA32_APIC_BASE. */
  get base(): bigint {
    return this.#base;
  }
  /** Guest-physical address of the register page. */
  get address(): number {
    return this.#address;
  }
  /** Enabled in IA32_APIC_BASE. */
  get present(): boolean {
    return this.#present;
  }
  /** Present and enabled in the spurious vector register. */
  get enabled(): boolean {
    return this.present && (this.#reg(ApicReg.SPIV) & ApicBits.SPIV_APIC_ENABLED) !== 0;
  }
  /** Its registers are in memory: present, in xAPIC mode. */
  get memoryMapped(): boolean {
    return this.#present && !this.#x2apic;
  }
  get x2apic(): boolean {
    return this.#x2apic;
  }
  get xapicId(): number {
    return this.#reg(ApicReg.ID) >>> 24;
  }
  get logicalDestination(): number {
    return this.#reg(ApicReg.LDR);
  }
  get destinationFormat(): number {
    return this.#reg(ApicReg.DFR);
  }
  get arbitration(): number {
    return this.#arbitration;
  }
  /** Task priority, 0 to 255. */
  get tpr(): number {
    return this.#reg(ApicReg.TASKPRI);
  }
  /** IA32_TSC_DEADLINE as the guest reads it. */
  get tscDeadline(): bigint {
    return this.#timer.tscDeadline;
  }
  /** LVT0 passes interrupts of the legacy PIC. */
  get acceptsPic(): boolean {
    if (!this.present) return true;
    const lvt0 = this.#reg(ApicReg.LVT0);
    return (lvt0 & ApicBits.LVT_MASKED) === 0 && ((lvt0 >> 8) & 7) === DeliveryMode.EXTINT;
  }

  /** State after power-up, or after INIT (which keeps the mode and, in x2APIC mode, the id). */
  reset(init: boolean): void {
    this.#timer.stop();
    if (!init) {
      this.#putBase(
        BigInt(ApicBase.DEFAULT_ADDRESS + ApicBase.ENABLE + (this.#bsp ? ApicBase.BSP : 0)),
      );
    }
    const x2apic = this.x2apic;
    const keptId = this.#reg(ApicReg.ID);
    this.#regs.fill(0);
    this.#setVersion();
    this.#set(ApicReg.ID, x2apic ? keptId : (this.id << 24) >>> 0);
    for (const lvt of LVT_MASKS.keys()) this.#set(lvt, ApicBits.LVT_MASKED);
    // KVM leaves LINT0 of the first vCPU open for the PIC, as firmware would.
    if (this.#bsp && this.#lint0Open) this.#set(ApicReg.LVT0, DeliveryMode.EXTINT << 8);
    this.#set(ApicReg.DFR, ApicBits.DFR_FLAT);
    this.#set(ApicReg.SPIV, 0xff);
    if (x2apic) this.#setX2apicLdr();
    this.#timer.setMode("one-shot");
    this.#timer.setDivideConfiguration(0);
    this.#irrPending = false;
    this.#lastServed = -1;
    if (init) this.#host.bus.remap();
    this.#host.tprChanged(0);
    this.#host.wasReset();
  }

  /** Takes a new IA32_APIC_BASE that was checked before. */
  setBase(value: bigint): void {
    const old = this.#base;
    this.#putBase(value);
    const changed = old ^ value;
    if (changed !== 0n) this.#host.bus.remap();
    if (changed & BigInt(ApicBase.ENABLE) && this.present) {
      this.#set(ApicReg.ID, (this.id << 24) >>> 0);
    }
    if (changed & BigInt(ApicBase.X2APIC)) {
      // From x2APIC straight to xAPIC mode, which only the client can do, it gets its old id too.
      if (this.x2apic) {
        this.#set(ApicReg.ID, this.id);
        this.#setX2apicLdr();
      } else if (this.present) this.#set(ApicReg.ID, (this.id << 24) >>> 0);
    }
    this.#host.notify();
  }

  #putBase(value: bigint): void {
    this.#base = value;
    this.#present = (value & BigInt(ApicBase.ENABLE)) !== 0n;
    this.#x2apic = (value & BigInt(ApicBase.X2APIC)) !== 0n;
    this.#address = Number(value & 0xfffffffff000n);
  }

  /**
   * Takes a message addressed to this APIC.
   * @returns false when it had no effect (disabled, or a message that KVM does not know).
   */
  accept(message: ApicMessage): boolean {
    switch (message.deliveryMode) {
      case DeliveryMode.LOWEST_PRIORITY:
      case DeliveryMode.FIXED: {
        if (message.levelTriggered && !message.level) return false;
        if (!this.enabled) return false;
        if (message.deliveryMode === DeliveryMode.LOWEST_PRIORITY) this.#arbitration++;
        return this.#raise(message.vector, message.levelTriggered);
      }
      case DeliveryMode.NMI:
        this.#host.raiseNmi();
        return true;
      case DeliveryMode.INIT:
        if (message.levelTriggered && !message.level) return false;
        this.#host.raiseInit(undefined);
        return true;
      case DeliveryMode.STARTUP:
        this.#host.raiseInit(message.vector);
        return true;
      case DeliveryMode.REMOTE_READ:
        this.#host.unhalt();
        return true;
      default:
        return false;
    }
  }

  /** Takes a fixed, edge-triggered message; as {@link accept}. */
  acceptEdge(vector: number): boolean {
    return this.enabled && this.#raise(vector, false);
  }

  /** Delivers the interrupt of one LVT. */
  deliverLocal(lvtReg: number): void {
    const lvt = this.#reg(lvtReg);
    if (!this.present || (lvt & ApicBits.LVT_MASKED) !== 0) return;
    const deliveryMode = lvtReg === ApicReg.LVTT ? DeliveryMode.FIXED : (lvt >> 8) & 7;
    const levelTriggered = (lvt & ApicBits.LVT_LEVEL_TRIGGER) !== 0 && lvtReg !== ApicReg.LVTT;
    this.accept({
      vector: lvt & 0xff,
      deliveryMode,
      logical: false,
      level: true,
      levelTriggered,
      destination: this.id,
    });
  }

  /** The vector to inject next, or -1 when none has more priority than what is in service. */
  pendingVector(): number {
    if (!this.#irrPending || !this.present) return -1;
    // The first look behind KVM_SET_LAPIC, which makes it current.
    if (this.#staleServed) this.#ppr();
    const vector = highestVector(this.#regs, ApicReg.IRR);
    if (vector < 0) {
      this.#irrPending = false;
      return -1;
    }
    return (vector & 0xf0) > (this.#ppr() & 0xf0) ? vector : -1;
  }

  /** Moves a vector that {@link pendingVector} gave from request to service. */
  acknowledge(vector: number): void {
    clearVector(this.#regs, ApicReg.IRR, vector);
    setVector(this.#regs, ApicReg.ISR, vector);
    this.#lastServed = vector;
    this.#ppr();
  }

  /** Sets the task priority from CR8 (0 to 15). */
  setCr8(value: number): void {
    this.#putTpr((value & 15) << 4);
    this.#host.notify();
  }

  /** The task priority holds back the highest vector that is requested. */
  get tprHoldsBack(): boolean {
    if (!this.#irrPending) return false;
    const requested = highestVector(this.#regs, ApicReg.IRR);
    return requested >= 0 && this.tpr >> 4 >= requested >> 4;
  }

  /** Sets the task priority, not as the guest does: no access to the register. */
  setTpr(value: number): void {
    if (value === this.tpr && !this.#staleServed) return;
    this.#putTpr(value);
    this.#host.tprChanged(value);
  }

  #putTpr(value: number): void {
    const before = this.#reg(ApicReg.PROCPRI);
    this.#set(ApicReg.TASKPRI, value);
    if (this.#ppr() < before && this.pendingVector() >= 0) this.#host.requestEvent();
  }

  /** What the guest is shown at KVM_SET_VAPIC_ADDR: TPR, class in service, 0, highest vector requested. */
  get vapicWord(): number {
    const inService = Math.max(0, highestVector(this.#regs, ApicReg.ISR)) & 0xf0;
    const requested = Math.max(0, highestVector(this.#regs, ApicReg.IRR));
    return (this.tpr | (inService << 8) | (requested << 24)) >>> 0;
  }

  /** WRMSR IA32_TSC_DEADLINE. */
  setTscDeadline(value: bigint): void {
    this.#timer.setTscDeadline(value);
  }

  /** The vCPU's TSC was written. */
  tscMoved(): void {
    this.#timer.tscMoved();
  }

  /** Reads from the register page; `offset` and `length` as the guest accessed it. */
  readMmio(offset: number, length: number): bigint {
    if (!this.present || this.x2apic) return (1n << BigInt(length * 8)) - 1n;
    const within = offset & 0xf;
    if (!readable(offset & 0xff0, false)) return 0n;
    const value = BigInt(this.#readRegister(offset & 0xff0)) >> BigInt(within * 8);
    return within + length > 4 ? 0n : BigInt.asUintN(length * 8, value);
  }

  /** Writes to the register page; anything but an aligned 32-bit write is ignored. */
  writeMmio(offset: number, length: number, value: bigint): void {
    if (length === 4) this.writeMmioU32(offset, Number(BigInt.asUintN(32, value)));
  }

  /** {@link writeMmio} of 32 bits. */
  writeMmioU32(offset: number, value: number): void {
    if (!this.#present || this.#x2apic || (offset & 0xf) !== 0) return;
    this.#writeRegister(offset & 0xff0, value);
  }

  /** RDMSR 0x800 to 0x8ff; undefined is #GP. */
  readMsr(index: number): bigint | undefined {
    if (!this.present || !this.x2apic) return undefined;
    const reg = (index - 0x800) << 4;
    if (!readable(reg, true)) return undefined;
    const low = BigInt(this.#readRegister(reg));
    return reg === ApicReg.ICR ? low | (BigInt(this.#reg(ApicReg.ICR2)) << 32n) : low;
  }

  /** WRMSR 0x800 to 0x8ff; false is #GP. */
  writeMsr(index: number, value: bigint): boolean {
    const low = Number(BigInt.asUintN(32, value));
    return this.writeMsrParts(index, low, Number(BigInt.asUintN(32, value >> 32n)));
  }

  /** {@link writeMsr} of a value in two u32 halves. */
  writeMsrParts(index: number, low: number, high: number): boolean {
    if (!this.#present || !this.#x2apic) return false;
    const reg = (index - 0x800) << 4;
    if (reg === ApicReg.ICR) {
      if ((low & X2APIC_ICR_RESERVED) !== 0) return false;
      const command = (low & ~ApicBits.ICR_BUSY) >>> 0;
      this.#host.bus.sendIpi(this, command, high);
      this.#set(ApicReg.ICR, command);
      this.#set(ApicReg.ICR2, high);
      return true;
    }
    return high === 0 && this.#writeRegister(reg, low);
  }

  /** The version register, which says whether EOI broadcasts can be suppressed. */
  #setVersion(): void {
    const bit = this.#suppression.isOffered() ? ApicBits.LVR_DIRECTED_EOI : 0;
    this.#set(ApicReg.LVR, VERSION | bit);
  }

  /** The first 1024 bytes of the register page (KVM_GET_LAPIC). */
  save(): Uint8Array {
    this.#set(ApicReg.TMCCT, this.#timer.currentCount());
    this.#set(ApicReg.TMICT, this.#timer.initialCount);
    const image = new Uint8Array(this.#regs.buffer.slice(0, 1024));
    if (this.x2apic) new DataView(image.buffer).setUint32(ApicReg.ID, (this.id << 24) >>> 0, true);
    return image;
  }

  /** Takes back what {@link save} gave (KVM_SET_LAPIC). The mode is that of IA32_APIC_BASE. */
  restore(image: Uint8Array): void {
    const view = new DataView(image.buffer, image.byteOffset, 1024);
    const wasServing = highestVector(this.#regs, ApicReg.ISR) >= 0;
    for (let i = 0; i < 256; i++) this.#regs[i] = view.getUint32(i * 4, true);
    this.#setVersion();
    if (this.x2apic) {
      this.#set(ApicReg.ID, this.id);
      this.#setX2apicLdr();
    }
    this.#irrPending = true;
    this.#host.bus.remap();
    this.#timer.setMode(timerMode(this.#reg(ApicReg.LVTT) & this.#timerModes));
    this.#timer.setDivideConfiguration(this.#reg(ApicReg.TDCR));
    this.#timer.restore(this.#reg(ApicReg.TMICT), this.#reg(ApicReg.TMCCT));
    // Whatever the image has there. The kernel counts what is in service later, so that what was before decides here.
    const served = this.#lastServed >= 0 ? this.#lastServed : undefined;
    this.#ppr(wasServing ? served : 0);
    this.#lastServed = -1;
    this.#staleServed = true;
    this.#host.tprChanged(this.tpr);
    this.#host.requestEvent();
    this.#host.notify();
  }

  get kept(): LapicKept {
    const registers = new Uint8Array(this.#regs.buffer.slice(0));
    const [irrPending, lastServed] = [this.#irrPending, this.#lastServed];
    const [arbitration, timer] = [this.#arbitration, this.#timer.kept];
    return { registers, irrPending, lastServed, arbitration, timer };
  }

  /** Puts back what {@link kept} gave, behind IA32_APIC_BASE; nobody is told. */
  keep(
    { registers, irrPending, lastServed, arbitration, timer }: LapicKept,
    later: ArmLater,
  ): void {
    new Uint8Array(this.#regs.buffer).set(registers.subarray(0, this.#regs.byteLength));
    this.#irrPending = irrPending;
    this.#lastServed = lastServed;
    this.#staleServed = true;
    this.#arbitration = arbitration;
    this.#timer.keep(timer, later);
  }

  #reg(offset: number): number {
    return this.#regs[offset >> 2] as number;
  }

  #set(offset: number, value: number): void {
    this.#regs[offset >> 2] = value;
  }

  #setX2apicLdr(): void {
    this.#set(ApicReg.LDR, ((this.id >>> 4) << 16) | (1 << (this.id & 0xf)));
  }

  /** Always true: KVM does not tell whether the vector was pending already. */
  #raise(vector: number, levelTriggered: boolean): boolean {
    if (levelTriggered) setVector(this.#regs, ApicReg.TMR, vector);
    else clearVector(this.#regs, ApicReg.TMR, vector);
    setVector(this.#regs, ApicReg.IRR, vector);
    this.#irrPending = true;
    this.#host.requestEvent();
    this.#host.notify();
    return true;
  }

  /** Updates the processor priority, which is asked for at every look for interrupts. */
  #ppr(served = highestVector(this.#regs, ApicReg.ISR)): number {
    this.#staleServed = false;
    const tpr = this.#reg(ApicReg.TASKPRI);
    const inService = Math.max(0, served);
    const ppr = (tpr & 0xf0) >= (inService & 0xf0) ? tpr & 0xff : inService & 0xf0;
    this.#set(ApicReg.PROCPRI, ppr);
    return ppr;
  }

  #readRegister(reg: number): number {
    switch (reg) {
      case ApicReg.ARBPRI:
        return 0;
      case ApicReg.TASKPRI:
        this.#host.tprAccessed(false);
        return this.tpr;
      case ApicReg.PROCPRI:
        return this.#ppr();
      case ApicReg.TMCCT:
        return this.#timer.currentCount();
      case ApicReg.TMICT:
        return this.#timer.initialCount;
      default:
        return this.#reg(reg);
    }
  }

  /** False when the register cannot be written in the current mode. */
  #writeRegister(reg: number, value: number): boolean {
    switch (reg) {
      case ApicReg.TASKPRI:
        this.#host.tprAccessed(true);
        this.#putTpr(value & 0xff);
        this.#host.tprChanged(value & 0xff);
        this.#host.notify();
        return true;
      case ApicReg.EOI:
        if (this.x2apic && value !== 0) return false;
        this.#endOfInterrupt();
        return true;
      case ApicReg.SPIV:
        this.#writeSpiv(value);
        return true;
      case ApicReg.ESR:
        return !this.x2apic || value === 0;
      case ApicReg.TMICT:
        this.#timer.setInitialCount(value);
        return true;
      case ApicReg.TDCR:
        this.#set(reg, value & 0xb);
        this.#timer.setDivideConfiguration(value);
        return true;
      case ApicReg.SELF_IPI:
        if (!this.x2apic || value > 0xff) return false;
        this.#host.bus.sendIpi(this, ApicBits.SHORTHAND_SELF | value, 0);
        return true;
      default:
        return LVT_MASKS.has(reg) ? this.#writeLvt(reg, value) : this.#writeXapicOnly(reg, value);
    }
  }

  #writeXapicOnly(reg: number, value: number): boolean {
    if (this.x2apic) return false;
    switch (reg) {
      case ApicReg.ID:
        this.#set(reg, (value & 0xff000000) >>> 0);
        return true;
      case ApicReg.LDR:
        this.#set(reg, (value & 0xff000000) >>> 0);
        this.#host.bus.remap();
        return true;
      case ApicReg.DFR:
        this.#set(reg, (value | 0x0fffffff) >>> 0);
        this.#host.bus.remap();
        return true;
      case ApicReg.ICR:
        this.#set(reg, value & ~ApicBits.ICR_BUSY);
        this.#host.bus.sendIpi(this, value & ~ApicBits.ICR_BUSY, this.#reg(ApicReg.ICR2) >>> 24);
        return true;
      case ApicReg.ICR2:
        this.#set(reg, (value & 0xff000000) >>> 0);
        return true;
      default:
        return false;
    }
  }

  #writeLvt(reg: number, value: number): boolean {
    const enabled = (this.#reg(ApicReg.SPIV) & ApicBits.SPIV_APIC_ENABLED) !== 0;
    const masked = enabled ? value : value | ApicBits.LVT_MASKED;
    const modes = reg === ApicReg.LVTT ? this.#timerModes : 0;
    this.#set(reg, masked & ((LVT_MASKS.get(reg) as number) | modes));
    if (reg === ApicReg.LVTT) this.#timer.setMode(timerMode(value & modes));
    if (reg === ApicReg.LVT0) this.#host.notify();
    return true;
  }

  #writeSpiv(value: number): void {
    const offered = (this.#reg(ApicReg.LVR) & ApicBits.LVR_DIRECTED_EOI) !== 0;
    const bits = 0x3ff | (offered ? ApicBits.SPIV_DIRECTED_EOI : 0);
    const changes = ((value ^ this.#reg(ApicReg.SPIV)) & ApicBits.SPIV_APIC_ENABLED) !== 0;
    this.#set(ApicReg.SPIV, value & bits);
    // What enabling sends to this APIC is lost when the map does not have it yet.
    const known = this.#host.bus.knows(this);
    if (changes) this.#host.bus.remap();
    if ((value & ApicBits.SPIV_APIC_ENABLED) === 0) {
      for (const lvt of LVT_MASKS.keys()) this.#set(lvt, this.#reg(lvt) | ApicBits.LVT_MASKED);
      return;
    }
    if (known) this.#host.softwareEnabled();
  }

  #endOfInterrupt(): void {
    const vector = highestVector(this.#regs, ApicReg.ISR);
    if (vector < 0) return;
    clearVector(this.#regs, ApicReg.ISR, vector);
    this.#lastServed = -1;
    this.#ppr();
    const level = testVector(this.#regs, ApicReg.TMR, vector);
    const wanted = (this.#reg(ApicReg.SPIV) & ApicBits.SPIV_DIRECTED_EOI) !== 0;
    if (level && !(wanted && this.#suppression.works())) this.#host.levelEoi(vector);
    this.#host.requestEvent();
    this.#host.notify();
  }
}

import type { GuestAccess } from "../memory/guest-access.js";
import type { Lapic } from "./lapic.js";

/**
 * Above this there is no guest-physical memory.
 * @nolimit the width of physical addresses
 */
const MAX_GPA = 1n << 52n;

const BYTES = 4;

/**
 * Iterations of one repeated instruction before the client hears of its accesses: KVM's emulator stops there
 * too. @nolimit the guest goes on with the next run()
 */
const REPETITIONS = 1024;

/** An access of the guest to its task priority register. */
export interface TprAccess {
  /** RIP of the instruction. */
  readonly rip: bigint;
  readonly isWrite: boolean;
}

/**
 * The task priority register (TPR) of a local APIC between entries and exits.
 *
 * A client that patches accesses to the TPR out of its guest gets reports of such accesses
 * (KVM_TPR_ACCESS_REPORTING), and a word of guest memory that stands for the register
 * (KVM_SET_VAPIC_ADDR). Its bytes are the TPR, the priority class in service, 0, and the highest vector
 * that is requested (Documentation/virt/kvm/api.rst; QEMU's kvmvapic.S is such a guest part).
 *
 * The processor keeps the priority as CR8, which has four bits: after the guest ran, the lower four of the
 * TPR are 0 unless KVM intercepts writes to CR8, which it does while the TPR holds back a requested vector.
 */
export class TprSync {
  readonly #access: GuestAccess;
  #address: number | undefined;
  /** KVM_REQ_EVENT: the next entry looks at interrupts, and only then the word is written. */
  eventRequested = true;
  #interceptsCr8 = false;
  /** CR8 as it was written last, by the guest or its client, without a local APIC. */
  lastCr8 = 0;
  /** KVM_TPR_ACCESS_REPORTING. */
  reporting = false;
  /** KVM_REQ_REPORT_TPR_ACCESS. */
  #report: TprAccess | undefined;
  #repetitions = 0;
  /** Not in `kvm_run` so far, where it comes at once, before what the next exits write there. */
  #unseen: TprAccess | undefined;

  constructor(access: GuestAccess) {
    this.#access = access;
  }

  /**
   * KVM_SET_VAPIC_ADDR; 0 for none. False when no memory that can be written is there: an address that was
   * there before is lost all the same.
   */
  setAddress(address: bigint): boolean {
    const ok = address === 0n || this.#isMemory(address);
    this.#address = address === 0n || !ok ? undefined : Number(address);
    return ok;
  }

  #isMemory(address: bigint): boolean {
    if (address + BigInt(BYTES) > MAX_GPA) return false;
    const first = Number(address);
    return [first, first + BYTES - 1].every((at) => this.#access.slots.isWritable(at));
  }

  /** Notes CR8 as the guest wrote it; whether it is lower than before. */
  lowersCr8(cr8: number): boolean {
    const before = this.lastCr8;
    this.lastCr8 = cr8;
    return cr8 < before;
  }

  /** A reset of the local APIC ends it. */
  reset(): void {
    this.#address = undefined;
  }

  /** Before an entry, behind the choice of its event; whether KVM looks for one. */
  beforeEntry(lapic: Lapic | undefined, looks: boolean): void {
    this.#interceptsCr8 = lapic?.tprHoldsBack === true;
    if (this.#address === undefined || !looks || lapic?.enabled !== true) return;
    const word = new Uint8Array(BYTES);
    new DataView(word.buffer).setUint32(0, lapic.vapicWord, true);
    this.#access.write(this.#address, word);
  }

  /** After the guest was left, before its exit is handled. */
  afterExit(lapic: Lapic | undefined): void {
    if (lapic !== undefined && !this.#interceptsCr8) lapic.setTpr(lapic.tpr & 0xf0);
    if (this.#address === undefined) return;
    const [tpr] = this.#access.read(this.#address, BYTES) ?? [];
    if (tpr !== undefined) lapic?.setTpr(tpr);
  }

  /** The guest accesses its TPR in memory or as an MSR. */
  accessed(rip: bigint, isWrite: boolean): void {
    if (!this.reporting) return;
    if (this.#report?.rip !== rip) this.#repetitions = 0;
    this.#repetitions++;
    this.#report = { rip, isWrite };
    this.#unseen = this.#report;
  }

  /** A report waits for the end of its instruction. */
  get reportWaits(): boolean {
    return this.#report !== undefined;
  }

  /** The access to report now: its instruction is done, the last iteration of a repeated one too. */
  dueReport(rip: bigint, isReplaying: boolean): TprAccess | undefined {
    const report = this.#report;
    if (report === undefined || isReplaying) return undefined;
    return report.rip === rip && this.#repetitions < REPETITIONS ? undefined : report;
  }

  /** The client hears of it. */
  takeReport(): void {
    this.#report = undefined;
    this.#repetitions = 0;
  }

  /** For `kvm_run.tpr_access`, once. */
  takeUnseen(): TprAccess | undefined {
    const access = this.#unseen;
    this.#unseen = undefined;
    return access;
  }
}

import { KvmGuestDbg, type KvmGuestDebug } from "../../abi/kvm/index.js";

/** DR7: the bit that is always one. */
const DR7_FIXED = 0x400n;

/** KVM_SET_GUEST_DEBUG: what a debugger outside of the guest asked for. */
export class GuestDebug {
  #control = 0;
  #registers: readonly bigint[] = [];

  /** Single steps: run() leaves after each instruction. */
  get singleStep(): boolean {
    return (this.#control & KvmGuestDbg.SINGLESTEP) !== 0;
  }

  /** INT3 leaves run() and does not reach the guest. */
  get softwareBreakpoints(): boolean {
    return (this.#control & KvmGuestDbg.USE_SW_BP) !== 0;
  }

  /** The debugger's debug registers are in force, not the guest's. */
  get hardwareBreakpoints(): boolean {
    return (this.#control & KvmGuestDbg.USE_HW_BP) !== 0;
  }

  /** No interrupt reaches the guest. */
  get blocksInterrupts(): boolean {
    return (this.#control & KvmGuestDbg.BLOCKIRQ) !== 0;
  }

  /** #DB, whoever causes it, leaves run() and does not reach the guest. */
  get interceptsDebug(): boolean {
    return this.singleStep || this.hardwareBreakpoints;
  }

  #rip = 0n;

  /** Notes where single steps were asked for. */
  startAt(linearRip: bigint): void {
    this.#rip = linearRip;
  }

  /**
   * Whether RFLAGS that are written while RIP is `linearRip` get TF: KVM steps by the guest's own flag,
   * which it shows nobody, and sets it only where the steps were asked for.
   */
  setsTf(linearRip: bigint): boolean {
    return this.singleStep && linearRip === this.#rip;
  }

  /** Takes the client's wish; without ENABLE, nothing of it counts. */
  set(request: KvmGuestDebug): void {
    this.#control = (request.control & KvmGuestDbg.ENABLE) !== 0 ? request.control : 0;
    this.#registers = [...request.debugreg];
  }

  /** DR0 to DR3 of the debugger. */
  address(index: number): bigint {
    return this.#registers[index] ?? 0n;
  }

  /** DR0 to DR3 of the debugger. */
  get addresses(): readonly bigint[] {
    return this.#registers.slice(0, 4);
  }

  /** DR7 of the debugger. */
  get dr7(): bigint {
    return this.#registers[7] ?? 0n;
  }

  /** DR7 as the processor has it while {@link hardwareBreakpoints} are in force; else 0. */
  get dr7InForce(): number {
    return this.hardwareBreakpoints ? Number(BigInt.asUintN(32, this.dr7 | DR7_FIXED)) : 0;
  }
}

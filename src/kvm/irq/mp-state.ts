import { KvmMpState } from "../../abi/kvm/index.js";

/** Whether a vCPU runs, halts, or waits for its INIT and STARTUP messages (KVM_GET_MP_STATE). */
export class MpState {
  readonly #onHaltEnd: () => void;
  /** One of {@link KvmMpState}. */
  state: number;
  /** Another vCPU asked that this one's halt ends (KVM_HC_KICK_CPU). */
  unhalted = false;
  initPending = false;
  sipiPending = false;
  sipiVector = 0;
  #onWake: (() => void) | undefined;

  /** `onHaltEnd` is called whenever a halt ends. */
  constructor(state: number, onHaltEnd: () => void) {
    this.state = state;
    this.#onHaltEnd = onHaltEnd;
  }

  /** It waits until an event wakes it: by HLT, or as its client says. */
  get isHalted(): boolean {
    return this.state === KvmMpState.HALTED || this.state === KvmMpState.AP_RESET_HOLD;
  }

  /** As HLT; `onWake` is called when it goes on, for any reason. */
  haltOnce(onWake: () => void): void {
    this.state = KvmMpState.HALTED;
    this.#onWake = onWake;
  }

  /** HALTED becomes RUNNABLE. */
  endHalt(): void {
    this.state = KvmMpState.RUNNABLE;
    this.#onHaltEnd();
    this.unhalted = false;
    const onWake = this.#onWake;
    this.#onWake = undefined;
    onWake?.();
  }

  /** Ends a halt of {@link haltOnce}, which any event ends. */
  endPoll(): void {
    if (this.#onWake !== undefined) this.endHalt();
  }
}

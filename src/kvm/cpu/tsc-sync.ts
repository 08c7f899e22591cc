import type { TscSyncState } from "../api/kept.js";
import type { VmClock } from "./clock.js";
import { TSC_HZ } from "./clock.js";

/**
 * How KVM brings the TSCs of a VM's vCPUs in step: a vCPU that starts, a written 0, and a written
 * value less than a second away from where the others are take the offset of the others.
 */
export class TscSync {
  readonly #clock: VmClock;
  /** The last write: when, and which value. */
  #lastNs = 0n;
  #lastWrite = 0n;
  #lastOffset: bigint | undefined;
  /** Offset of the vCPUs that are in step. */
  #currentOffset: bigint | undefined;
  #userSet = false;
  #matched = false;
  #generation = 0;

  constructor(clock: VmClock) {
    this.#clock = clock;
  }

  get state(): TscSyncState {
    return {
      ...{ lastNs: this.#lastNs, lastWrite: this.#lastWrite, lastOffset: this.#lastOffset },
      ...{ currentOffset: this.#currentOffset, userSet: this.#userSet },
      ...{ matched: this.#matched, generation: this.#generation },
    };
  }
  set state(state: TscSyncState) {
    this.#lastNs = state.lastNs;
    this.#lastWrite = state.lastWrite;
    this.#lastOffset = state.lastOffset;
    this.#currentOffset = state.currentOffset;
    this.#userSet = state.userSet;
    this.#matched = state.matched;
    this.#generation = state.generation;
  }

  /** Whether the TSC that was set last took the offset of the others. */
  get matched(): boolean {
    return this.#matched;
  }

  /** Counts the times that a TSC left the others. */
  get generation(): number {
    return this.#generation;
  }

  /** A new vCPU: the TSC offset it starts with. */
  start(): bigint {
    return this.#synchronize(0n);
  }

  /** IA32_TSC is written from outside: the TSC offset that follows. */
  write(value: bigint): bigint {
    const offset = this.#synchronize(value);
    this.#userSet = true;
    return offset;
  }

  /** KVM_VCPU_TSC_OFFSET is set. */
  setOffset(offset: bigint): void {
    const now = this.#clock.hostNs();
    this.#note(offset, BigInt.asUintN(64, now + offset), now, this.#lastOffset === offset);
    this.#userSet = true;
  }

  #synchronize(value: bigint): bigint {
    const now = this.#clock.hostNs();
    let offset = BigInt.asUintN(64, value - now);
    let matched = false;
    if (this.#currentOffset !== undefined && (value === 0n || this.#isNear(value, now))) {
      offset = this.#currentOffset;
      matched = true;
    }
    this.#note(offset, value, now, matched);
    return offset;
  }

  #isNear(value: bigint, now: bigint): boolean {
    if (!this.#userSet) return false;
    const expected = this.#lastWrite + (now - this.#lastNs);
    return value < expected + TSC_HZ && value + TSC_HZ > expected;
  }

  #note(offset: bigint, value: bigint, now: bigint, matched: boolean): void {
    this.#lastNs = now;
    this.#lastWrite = value;
    this.#lastOffset = offset;
    this.#matched = matched;
    if (matched) return;
    this.#generation++;
    this.#currentOffset = offset;
  }
}

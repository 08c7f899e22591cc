import { Exception } from "../../abi/x86/index.js";
import type { ExceptionKept } from "../api/kept.js";

/** Exceptions that instructions raise on purpose: executed again instead of injected again. */
export const isSoft = (vector: number): boolean =>
  vector === Exception.BP || vector === Exception.OF;

const CONTRIBUTORY: readonly number[] = [
  ...[Exception.DE, Exception.TS, Exception.NP, Exception.SS, Exception.GP],
];

/** Two exceptions that are one double fault. */
function isDouble(first: number, second: number): boolean {
  const contributes = CONTRIBUTORY.includes(second);
  if (first === Exception.PF) return contributes || second === Exception.PF;
  return contributes && CONTRIBUTORY.includes(first);
}

/**
 * The exception that a vCPU has queued, or had last: `exception` of struct kvm_vcpu_events. The next entry delivers what
 * waits before any other event. What does not count any more stays to be seen.
 */
export class QueuedException {
  /** Not delivered so far, so that its payload counts. */
  pending = false;
  /** Its delivery was interrupted. */
  injected = false;
  vector = 0;
  hasErrorCode = false;
  errorCode = 0;
  hasPayload = false;
  /** What DR6 (as changes) or CR2 get with it. */
  payload = 0n;

  get waits(): boolean {
    return this.pending || this.injected;
  }

  /** Whether KVM_GET_VCPU_EVENTS shows it as one that waits. */
  get isShown(): boolean {
    return this.waits && !isSoft(this.vector);
  }

  /** KVM itself raises an exception: beside one that waits, it makes a double or triple fault, or takes its place. */
  queue(
    vector: number,
    errorCode: number | undefined,
    payload?: bigint,
  ): "queued" | "triple-fault" {
    if (this.waits && this.vector === Exception.DF) return "triple-fault";
    if (this.waits && isDouble(this.vector, vector)) {
      this.#queue(Exception.DF, 0);
      return "queued";
    }
    this.#queue(vector, errorCode, payload);
    return "queued";
  }

  #queue(vector: number, errorCode: number | undefined, payload?: bigint): void {
    this.#put(vector, errorCode);
    this.pending = true;
    this.injected = false;
    this.hasPayload = payload !== undefined;
    this.payload = payload ?? 0n;
  }

  /** The delivery of an exception was interrupted: it comes again. */
  requeue(vector: number, errorCode: number | undefined): void {
    this.noteDelivered(vector, errorCode);
    this.injected = true;
  }

  /** One that KVM raised for the guest is on its way already. */
  noteDelivered(vector: number, errorCode: number | undefined): void {
    this.#put(vector, errorCode);
    this.clear();
    this.noPayload();
  }

  get kept(): ExceptionKept {
    const { pending, injected, vector, hasErrorCode, errorCode, hasPayload, payload } = this;
    return { pending, injected, vector, hasErrorCode, errorCode, hasPayload, payload };
  }

  /** Nothing waits any more. */
  clear(): void {
    this.pending = false;
    this.injected = false;
  }

  noPayload(): void {
    this.hasPayload = false;
    this.payload = 0n;
  }

  #put(vector: number, errorCode: number | undefined): void {
    this.vector = vector;
    this.hasErrorCode = errorCode !== undefined;
    this.errorCode = errorCode ?? 0;
  }
}

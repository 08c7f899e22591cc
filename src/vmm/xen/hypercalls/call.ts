import type { Fields, Inputs, Struct } from "../../../abi/layout.js";
import { Errno } from "../../../base/index.js";
import type { Domain, DomainVcpu } from "../domain.js";
import type { GuestAccess } from "../guest-access.js";
import type { Effort } from "./effort.js";

/** A hypercall as its handler sees it. */
export interface Call {
  readonly domain: Domain;
  /** The vCPU that called. */
  readonly vcpu: DomainVcpu;
  /** Memory as the caller addresses it, and the width of the caller. */
  readonly guest: GuestAccess;
  /** Six arguments; those of a 32-bit caller are zero-extended. */
  readonly args: readonly bigint[];
  /** Work so far. Whoever goes through a list counts, and continues when it is enough. */
  readonly effort: Effort;
}

/** The call is not done: it is to be made again, with these arguments in place of the first ones. */
export class Continuation {
  readonly args: readonly bigint[];

  constructor(args: readonly bigint[]) {
    this.args = args;
  }
}

/** What goes to RAX: a value, or a negative errno; or the rest of a call that takes long. */
export type Result = number | bigint | Continuation;

/** Carries a hypercall out. */
export type Handler = (call: Call) => Result;

/** Handlers by sub-operation; what is not in a table answers -ENOSYS. */
export type SubOps = ReadonlyMap<number, Handler>;

/** An argument as C's `unsigned int`, which sub-operation numbers and counts are. */
export const u32 = (value: bigint | undefined): number =>
  Number(BigInt.asUintN(32, value as bigint));
/** An argument that is a pointer or a long. */
export const arg = (call: Call, index: number): bigint => call.args[index] as bigint;

/** Writes an answer to where the guest wants it; 0, or -EFAULT. */
export const answerTo = <F extends Fields>(
  call: Call,
  at: bigint,
  layout: Struct<F>,
  value: Inputs<F>,
): number => (call.guest.writeStruct(at, layout, value) ? 0 : -Errno.EFAULT);

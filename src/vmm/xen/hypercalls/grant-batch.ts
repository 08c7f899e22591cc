/** How grant table operations take their arguments: an array of structures with a status each. */
import type { Fields, Inputs, Struct, Values } from "../../../abi/layout.js";
import { Errno } from "../../../base/index.js";
import { answerTo, arg, type Call, Continuation, type Handler, type Result, u32 } from "./call.js";

/**
 * Goes through the array argument, whose elements have `size` bytes. `run` gets the address of an
 * element and answers an errno that ends the call. What is left when it is enough for this time is
 * continued.
 */
export function forEach(call: Call, size: number, run: (at: bigint) => number): Result {
  const count = u32(call.args[2]);
  for (let i = 0; i < count; i++) {
    const at = arg(call, 1) + BigInt(i * size);
    if (i > 0 && call.effort.isEnough) {
      return new Continuation([arg(call, 0), at, BigInt(count - i)]);
    }
    call.effort.add(1);
    const error = run(at);
    if (error !== 0) return error;
  }
  return 0;
}

/** Runs an operation on each element of the array argument. */
export function each<F extends Fields>(
  layout: Struct<F>,
  run: (call: Call, value: Values<F>) => Inputs<F>,
): Handler {
  return (call) =>
    forEach(call, layout.of(call.guest.width).size, (at) => {
      const value = call.guest.readStruct(at, layout);
      if (value === undefined) return -Errno.EFAULT;
      return answerTo(call, at, layout, run(call, value));
    });
}

/** As {@link each}, for operations that take exactly one element. */
export function one<F extends Fields>(
  layout: Struct<F>,
  run: (call: Call, value: Values<F>) => Inputs<F>,
): Handler {
  const handler = each(layout, run);
  return (call) => (u32(call.args[2]) === 1 ? handler(call) : -Errno.EINVAL);
}

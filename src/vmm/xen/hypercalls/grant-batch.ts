/** How grant table operations take their arguments: an array of structures with a status each. */
import type { Fields, Layout, StructValue } from "../../../abi/xen/layout.js";
import { Errno } from "../../../base/index.js";
import { arg, type Call, type Handler, u32 } from "./call.js";

/**
 * Elements that one call may carry; Xen would go on with the rest, no guest comes near.
 * @limit guest | elements of one grant table call | elements | EINVAL
 */
export const MAX_BATCH = 65_536;

/** Runs an operation on each element of the array argument. */
export function each<F extends Fields>(
  layout: Layout<F>,
  run: (call: Call, value: StructValue<F>) => StructValue<F>,
): Handler {
  return (call) => {
    const count = u32(call.args[2]);
    if (count > MAX_BATCH) return -Errno.EINVAL;
    for (let i = 0; i < count; i++) {
      const at = arg(call, 1) + BigInt(i * layout.size(call.guest.width));
      const value = call.guest.readStruct(at, layout);
      if (value === undefined) return -Errno.EFAULT;
      if (!call.guest.writeStruct(at, layout, run(call, value))) return -Errno.EFAULT;
    }
    return 0;
  };
}

/** As {@link each}, for operations that take exactly one element. */
export function one<F extends Fields>(
  layout: Layout<F>,
  run: (call: Call, value: StructValue<F>) => StructValue<F>,
): Handler {
  const handler = each(layout, run);
  return (call) => (u32(call.args[2]) === 1 ? handler(call) : -Errno.EINVAL);
}

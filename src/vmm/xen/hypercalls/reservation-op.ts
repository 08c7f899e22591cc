/**
 * The part of memory_op that changes how much memory the guest has: what its balloon does. As in
 * Xen these three never fail: they answer how many extents are done, counted from the first.
 */
import {
  MEMOP_EXTENT_SHIFT,
  XENMEMF_ADDRESS_BITS,
  Xenmemf,
  xen_memory_exchange,
  xen_memory_reservation,
} from "../../../abi/xen/memory.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import type { GuestPhysmap } from "../overlay.js";
import { arg, type Call, Continuation, type Handler, type Result, u32 } from "./call.js";

/**
 * Extents that one call may name: more cannot be encoded for its continuation.
 * @limit guest | extents of one memory_op | extents | none of them is done, as in Xen
 */
const MAX_EXTENTS = 2n ** 32n / 2n ** BigInt(MEMOP_EXTENT_SHIFT) - 1n;
/**
 * Largest extent of a guest (Xen's `domu_max_order`).
 * @limit guest | order of an extent | (2^order pages) | none of them is done, as in Xen
 */
const MAX_ORDER = 9;
/** @nolimit the width of an address */
const MAX_GFN = 2n ** 40n;

/** Where an operation on extents goes on: the upper bits of its number. */
export const startOf = (call: Call): number => u32(call.args[0]) >>> MEMOP_EXTENT_SHIFT;

/** The rest of such an operation, from an extent on. */
export function continueAt(call: Call, extent: number): Continuation {
  const op = u32(call.args[0]) & ((1 << MEMOP_EXTENT_SHIFT) - 1);
  return new Continuation([BigInt(op) | (BigInt(extent) << BigInt(MEMOP_EXTENT_SHIFT))]);
}

type Reservation = NonNullable<ReturnType<typeof readReservation>>;

function readReservation(call: Call, at: bigint) {
  return call.guest.readStruct(at, xen_memory_reservation);
}

/** Whether the flags ask for what Xen would not even try. */
function flagsAreBad(flags: number): boolean {
  const bits = flags & XENMEMF_ADDRESS_BITS;
  return (flags & Xenmemf.exact_node_request) !== 0 || (bits !== 0 && 2 ** bits <= PAGE_SIZE);
}

/** Runs `change` for each extent until one fails. `gfn` is 0 for one without a frame list. */
function changeReservation(
  change: (physmap: GuestPhysmap, gfn: number, request: Reservation) => boolean,
  frames: "needed" | "ignored",
): Handler {
  return (call) => {
    const start = startOf(call);
    const request = readReservation(call, arg(call, 1));
    if (request === undefined || request.nr_extents > MAX_EXTENTS) return start;
    if (start >= Number(request.nr_extents) || !call.domain.isSelf(request.domid)) return start;
    if (flagsAreBad(request.mem_flags) || request.extent_order > MAX_ORDER) return start;
    const { physmap } = call.domain;
    return physmap.batch<Result>(() => {
      for (let i = start; i < Number(request.nr_extents); i++) {
        if (i > start && call.effort.isEnough) return continueAt(call, i);
        call.effort.add(2 ** request.extent_order);
        const entry = frames === "needed" ? call.guest.readLong(request.extent_start, i) : 0n;
        if (entry === undefined || entry >= MAX_GFN) return i;
        if (!change(physmap, Number(entry), request)) return i;
      }
      return Number(request.nr_extents);
    });
  };
}

/** XENMEM_increase_reservation: pages that are in no frame yet. */
export const increaseReservation = changeReservation((physmap, _gfn, { extent_order }) => {
  const { pages, maximum } = physmap.reservation;
  if (maximum - pages < 2 ** extent_order) return false;
  for (let page = 0; page < 2 ** extent_order; page++) physmap.take();
  return true;
}, "ignored");

/** XENMEM_decrease_reservation: an extent that fails in its middle has lost its first pages. */
export const decreaseReservation = changeReservation((physmap, gfn, { extent_order }) => {
  for (let page = 0; page < 2 ** extent_order; page++) {
    if (!physmap.release(gfn + page)) return false;
  }
  return true;
}, "needed");

/** XENMEM_populate_physmap: cleared pages. Nobody may populate on demand for himself. */
export const populatePhysmap = changeReservation((physmap, gfn, request) => {
  if ((request.mem_flags & Xenmemf.populate_on_demand) !== 0) return false;
  const { pages, maximum } = physmap.reservation;
  if (maximum - pages < 2 ** request.extent_order) return false;
  for (let page = 0; page < 2 ** request.extent_order; page++) {
    if (!physmap.populate(gfn + page)) return false;
  }
  return true;
}, "needed");

/**
 * XENMEM_exchange, which is for guests that know machine addresses: all that is right about a
 * request of another guest ends in -EOPNOTSUPP.
 */
export const exchange: Handler = (call) => {
  const { guest, domain } = call;
  const request = guest.readStruct(arg(call, 1), xen_memory_exchange);
  if (request === undefined) return -Errno.EFAULT;
  const { in: from, out: to, nr_exchanged: done } = request;
  const doneAt = arg(call, 1) + BigInt(xen_memory_exchange.of(guest.width).offset("nr_exchanged"));
  const answer = (result: number): number =>
    guest.writeLong(doneAt, 0, done) ? result : -Errno.EFAULT;
  if (Math.max(from.extent_order, to.extent_order) > MAX_ORDER) return answer(-Errno.EPERM);
  const pages = from.nr_extents << BigInt(from.extent_order);
  const isSound =
    done <= from.nr_extents &&
    from.domid === to.domid &&
    pages < 2n ** BigInt(guest.width) &&
    pages === to.nr_extents << BigInt(to.extent_order);
  if (!isSound) return answer(-Errno.EINVAL);
  if (done === from.nr_extents) return 0;
  if (!domain.isSelf(from.domid)) return answer(-(from.domid === 0 ? Errno.EPERM : Errno.ESRCH));
  const gfn = guest.readLong(from.extent_start, Number(done));
  if (gfn === undefined) return answer(-Errno.EFAULT);
  const isBacked = domain.physmap.isBacked(Number(gfn));
  return answer(isBacked ? -Errno.EOPNOTSUPP : -Errno.EINVAL);
};

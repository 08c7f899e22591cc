/** memory_op (Xen's `public/memory.h`). Not here: everything of other domains and of tool stacks. */
import { boot_e820_entry } from "../../../abi/boot/bzimage.js";
import { type MemmapEntry, MemmapType } from "../../../abi/boot/hvm-start-info.js";
import {
  MEMOP_EXTENT_SHIFT,
  XENMAPIDX_grant_table_status,
  Xenmapspace,
  Xenmem,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_domid,
  xen_memory_map,
  xen_remove_from_physmap,
} from "../../../abi/xen/memory.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import type { GuestPhysmap } from "../overlay.js";
import { arg, type Call, type Handler, type SubOps, u32 } from "./call.js";
import {
  continueAt,
  decreaseReservation,
  exchange,
  increaseReservation,
  populatePhysmap,
  startOf,
} from "./reservation-op.js";

/**
 * Guest frame numbers have 40 bits: 52-bit addresses.
 * @nolimit the width of an address
 */
const MAX_GFN = 2n ** 40n;

/** A frame that may be mapped over. */
function frame(call: Call, gpfn: bigint): number | undefined {
  const all = call.guest.width === 64 ? 2n ** 64n - 1n : 2n ** 32n - 1n;
  return gpfn === all || gpfn >= MAX_GFN ? undefined : Number(gpfn);
}

function addToPhysmap(call: Call, space: number, idx: bigint, gpfn: bigint): number {
  const { domain, guest } = call;
  const gfn = frame(call, gpfn);
  switch (space) {
    case Xenmapspace.shared_info:
      if (idx !== 0n) return -Errno.EINVAL;
      return domain.mapSharedInfo(gfn, guest.width === 64);
    case Xenmapspace.grant_table: {
      if ((idx & BigInt(XENMAPIDX_grant_table_status)) !== 0n) return -Errno.EINVAL;
      const page = idx < 2n ** 31n ? domain.grantFrames[Number(idx)] : undefined;
      if (page === undefined) return -Errno.EINVAL;
      if (gfn === undefined) domain.physmap.remove(page.hva);
      else if (!domain.physmap.place(page.hva, gfn)) return -Errno.ENOMEM;
      return 0;
    }
    case Xenmapspace.gmfn:
    case Xenmapspace.gmfn_range:
      return -Errno.EOPNOTSUPP;
    case Xenmapspace.gmfn_foreign:
    case Xenmapspace.dev_mmio:
      return -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
}

/**
 * Elements that these calls can be continued at: their size has 16 bits.
 * @limit guest | the element at which add_to_physmap goes on | elements | EDOM
 */
const MAX_EXTENT = 0xffff;

const addOne: Handler = (call) => {
  if (startOf(call) > MAX_EXTENT) return -Errno.EDOM;
  const request = call.guest.readStruct(arg(call, 1), xen_add_to_physmap);
  if (request === undefined) return -Errno.EFAULT;
  if (!call.domain.isSelf(request.domid)) return -Errno.ESRCH;
  return addToPhysmap(call, request.space, request.idx, request.gpfn);
};

const addBatch: Handler = (call) => {
  const { guest, effort } = call;
  const start = startOf(call);
  if (start > MAX_EXTENT) return -Errno.EDOM;
  const request = guest.readStruct(arg(call, 1), xen_add_to_physmap_batch);
  if (request === undefined) return -Errno.EFAULT;
  if (!call.domain.isSelf(request.domid)) return -Errno.ESRCH;
  if (start > request.size || (start > 0 && start === request.size)) return -Errno.EILSEQ;
  return call.domain.physmap.batch(() => {
    for (let i = start; i < request.size; i++) {
      if (i > start && effort.isEnough) return continueAt(call, i);
      effort.add(1);
      const idx = guest.readLong(request.idxs, i);
      const gpfn = guest.readLong(request.gpfns, i);
      if (idx === undefined || gpfn === undefined) return -Errno.EFAULT;
      const error = new Uint8Array(4);
      const result = addToPhysmap(call, request.space, idx, gpfn);
      new DataView(error.buffer).setInt32(0, result, true);
      if (!guest.write(request.errs + BigInt(4 * i), error)) return -Errno.EFAULT;
    }
    return 0;
  });
};

const remove: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), xen_remove_from_physmap);
  if (request === undefined) return -Errno.EFAULT;
  if (!call.domain.isSelf(request.domid)) return -Errno.ESRCH;
  const gfn = frame(call, request.gpfn);
  return gfn !== undefined && call.domain.physmap.clear(gfn) ? 0 : -Errno.ENOENT;
};

function encodeE820(entries: readonly MemmapEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * boot_e820_entry.size);
  const view = new DataView(bytes.buffer);
  entries.forEach(({ addr, size, type }, i) => {
    const entry = { addr: BigInt(addr), size: BigInt(size), type };
    boot_e820_entry.write(view, i * boot_e820_entry.size, entry);
  });
  return bytes;
}

const memoryMap: Handler = (call) => {
  const { guest, domain } = call;
  const request = guest.readStruct(arg(call, 1), xen_memory_map);
  if (request === undefined) return -Errno.EFAULT;
  const entries = domain.config.memmap.slice(0, request.nr_entries);
  const answer = { nr_entries: entries.length, buffer: request.buffer };
  const ok =
    guest.write(request.buffer, encodeE820(entries)) &&
    guest.writeStruct(arg(call, 1), xen_memory_map, answer);
  return ok ? 0 : -Errno.EFAULT;
};

/** Answers a number about the domain that the argument names; others exist only as domain 0. */
const aboutDomain =
  (value: (physmap: GuestPhysmap) => number): Handler =>
  (call) => {
    const request = call.guest.readStruct(arg(call, 1), xen_domid);
    if (request === undefined) return -Errno.EFAULT;
    const { domid } = request;
    if (!call.domain.isSelf(domid)) return domid === 0 ? -Errno.EPERM : -Errno.ESRCH;
    return value(call.domain.physmap);
  };

const maximumRamPage: Handler = (call) => {
  const ram = call.domain.config.memmap.filter((entry) => entry.type === MemmapType.RAM);
  return Math.max(...ram.map((entry) => (entry.addr + entry.size) / PAGE_SIZE));
};

const subOps: SubOps = new Map<number, Handler>([
  [Xenmem.increase_reservation, increaseReservation],
  [Xenmem.decrease_reservation, decreaseReservation],
  [Xenmem.maximum_ram_page, maximumRamPage],
  [Xenmem.current_reservation, aboutDomain(({ reservation }) => reservation.pages)],
  [Xenmem.maximum_reservation, aboutDomain(({ reservation }) => reservation.maximum)],
  [Xenmem.populate_physmap, populatePhysmap],
  [Xenmem.add_to_physmap, addOne],
  [Xenmem.memory_map, memoryMap],
  [Xenmem.exchange, exchange],
  [Xenmem.maximum_gpfn, aboutDomain(({ highestFrame }) => highestFrame)],
  [Xenmem.remove_from_physmap, remove],
  [Xenmem.add_to_physmap_batch, addBatch],
  [Xenmem.acquire_resource, () => -Errno.EPERM],
]);

/** Operations that can be told where to go on: those that Xen may interrupt, and one of their kind. */
const CONTINUED: ReadonlySet<number> = new Set([
  Xenmem.add_to_physmap,
  Xenmem.add_to_physmap_batch,
  Xenmem.increase_reservation,
  Xenmem.decrease_reservation,
  Xenmem.populate_physmap,
]);

/** memory_op(cmd, arg). */
export const memoryOp: Handler = (call) => {
  const cmd = u32(call.args[0]);
  const op = cmd & ((1 << MEMOP_EXTENT_SHIFT) - 1);
  const handler = subOps.get(op);
  if (handler === undefined) return -Errno.ENOSYS;
  return cmd === op || CONTINUED.has(op) ? handler(call) : -Errno.EINVAL;
};

/**
 * grant_table_op (Xen's `public/grant_table.h`), version 1. Not here: mapping one's own grants
 * (general_error), transfer, swap, unmap_and_replace, cache_flush and all of version 2.
 */
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTTAB_COPY_SIZE,
  Gntst,
  Gnttabop,
  gnttab_copy_ptr,
  gnttab_copy_tail,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_unmap_grant_ref,
} from "../../../abi/xen/grant-table.js";
import type { Fields, Layout, StructValue } from "../../../abi/xen/layout.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import { MAX_GRANT_FRAMES } from "../grants/table.js";
import { arg, type Call, type Handler, type SubOps, u32 } from "./call.js";

/** Elements that one call may carry; Xen would go on with the rest, no guest comes near. */
const MAX_BATCH = 4096;
const BACKEND_DOMID = 0;
const ALL_ONES = 2n ** 64n - 1n;

/** Runs an operation on each element of the array argument, which carries its own status. */
function each<F extends Fields>(
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
function one<F extends Fields>(
  layout: Layout<F>,
  run: (call: Call, value: StructValue<F>) => StructValue<F>,
): Handler {
  const handler = each(layout, run);
  return (call) => (u32(call.args[2]) === 1 ? handler(call) : -Errno.EINVAL);
}

const querySize = one(gnttab_query_size, (call, value) => {
  if (!call.domain.isSelf(value.dom)) return { ...value, status: Gntst.bad_domain };
  const sizes = { nr_frames: MAX_GRANT_FRAMES, max_nr_frames: MAX_GRANT_FRAMES };
  return { ...value, ...sizes, status: Gntst.okay };
});

/** Lists where the frames are mapped; all ones for a frame that is not. */
const setupTable = one(gnttab_setup_table, (call, value) => {
  if (!call.domain.isSelf(value.dom)) return { ...value, status: Gntst.bad_domain };
  if (value.nr_frames > MAX_GRANT_FRAMES) return { ...value, status: Gntst.general_error };
  for (let i = 0; i < value.nr_frames; i++) {
    const page = call.domain.grantFrames[i];
    const gfn = page === undefined ? undefined : call.domain.physmap.frameOf(page.hva);
    const entry = gfn === undefined ? ALL_ONES : BigInt(gfn);
    if (!call.guest.writeLong(value.frame_list, i, entry)) {
      return { ...value, status: Gntst.bad_virt_addr };
    }
  }
  return { ...value, status: Gntst.okay };
});

const mapGrantRef = each(gnttab_map_grant_ref, (call, value) => {
  let status: number = Gntst.bad_domain;
  // Domain 0 has granted nothing to the guest.
  if (value.dom === BACKEND_DOMID) status = Gntst.bad_gntref;
  else if (call.domain.isSelf(value.dom)) {
    status = value.ref < call.domain.grantTable.size ? Gntst.general_error : Gntst.bad_gntref;
  }
  return { ...value, status };
});

const unmapGrantRef = each(gnttab_unmap_grant_ref, (_call, value) => ({
  ...value,
  status: Gntst.bad_handle,
}));

const getVersion = one(gnttab_get_version, (_call, value) => ({ ...value, version: 1 }));

const setVersion: Handler = (call) => {
  if (u32(call.args[2]) !== 1) return -Errno.EINVAL;
  const value = call.guest.readStruct(arg(call, 1), gnttab_set_version);
  if (value === undefined) return -Errno.EFAULT;
  const wanted = value.version;
  if (!call.guest.writeStruct(arg(call, 1), gnttab_set_version, { version: 1 })) {
    return -Errno.EFAULT;
  }
  if (wanted === 1) return call.domain.grantTable.inUse ? -Errno.EBUSY : 0;
  return wanted === 2 ? -Errno.ENOSYS : -Errno.EINVAL;
};

interface CopyEnd {
  readonly u: bigint;
  readonly domid: number;
  readonly offset: number;
}

/** Runs `use` with the guest-physical address of one end of a copy; answers a GNTST_* number. */
function withEnd(
  call: Call,
  end: CopyEnd,
  isGrant: boolean,
  readonly: boolean,
  use: (gpa: number) => number,
): number {
  if (!isGrant) {
    if (!call.domain.isSelf(end.domid)) return Gntst.permission_denied;
    if (end.u >= 2n ** 40n) return Gntst.bad_page;
    return use(Number(end.u) * PAGE_SIZE + end.offset);
  }
  if (end.domid === BACKEND_DOMID) return Gntst.bad_gntref;
  if (!call.domain.isSelf(end.domid)) return Gntst.bad_domain;
  const ref = Number(BigInt.asUintN(32, end.u));
  const grant = call.domain.grantTable.begin(ref, call.domain.domid, readonly);
  if (typeof grant === "number") return grant;
  try {
    return use(grant.gfn * PAGE_SIZE + end.offset);
  } finally {
    call.domain.grantTable.end(grant);
  }
}

function copyOne(call: Call, bytes: Uint8Array): number {
  const { width } = call.guest;
  const size = gnttab_copy_ptr.size(width);
  const source = gnttab_copy_ptr.decode(bytes, width);
  const dest = gnttab_copy_ptr.decode(bytes.subarray(size), width);
  const { len, flags } = gnttab_copy_tail.decode(bytes.subarray(2 * size), width);
  if (source.offset + len > PAGE_SIZE || dest.offset + len > PAGE_SIZE) return Gntst.bad_copy_arg;
  const { memory } = call.domain;
  return withEnd(call, source, (flags & GNTCOPY_source_gref) !== 0, true, (from) =>
    withEnd(call, dest, (flags & GNTCOPY_dest_gref) !== 0, false, (to) => {
      const data = memory.read(from, len);
      return data !== undefined && memory.write(to, data) ? Gntst.okay : Gntst.bad_page;
    }),
  );
}

const copy: Handler = (call) => {
  const { guest } = call;
  const count = u32(call.args[2]);
  if (count > MAX_BATCH) return -Errno.EINVAL;
  const size = GNTTAB_COPY_SIZE[guest.width];
  const tail = 2 * gnttab_copy_ptr.size(guest.width);
  const statusAt = BigInt(tail + gnttab_copy_tail.offset("status", guest.width));
  for (let i = 0; i < count; i++) {
    const at = arg(call, 1) + BigInt(i * size);
    const bytes = guest.read(at, size);
    if (bytes === undefined) return -Errno.EFAULT;
    const status = new Uint8Array(2);
    new DataView(status.buffer).setInt16(0, copyOne(call, bytes), true);
    if (!guest.write(at + statusAt, status)) return -Errno.EFAULT;
  }
  return 0;
};

const subOps: SubOps = new Map<number, Handler>([
  [Gnttabop.map_grant_ref, mapGrantRef],
  [Gnttabop.unmap_grant_ref, unmapGrantRef],
  [Gnttabop.setup_table, setupTable],
  [Gnttabop.copy, copy],
  [Gnttabop.query_size, querySize],
  [Gnttabop.set_version, setVersion],
  [Gnttabop.get_version, getVersion],
]);

/** grant_table_op(cmd, array, count). */
export const grantTableOp: Handler = (call) =>
  subOps.get(u32(call.args[0]))?.(call) ?? -Errno.ENOSYS;

/** GNTTABOP_copy: between frames of the caller's own and its own grants; domain 0 grants nothing. */
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  GNTTAB_COPY_SIZE,
  Gntst,
  gnttab_copy_ptr,
  gnttab_copy_tail,
} from "../../../abi/xen/grant-table.js";
import { DOMID_SELF } from "../../../abi/xen/xen.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import type { Call, Handler } from "./call.js";
import { forEach } from "./grant-batch.js";

const BACKEND_DOMID = 0;

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
    // A frame is named by nobody but its owner, and only in this way.
    if (end.domid !== DOMID_SELF) return Gntst.permission_denied;
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

/** GNTTABOP_copy: each element has its own status. */
export const copy: Handler = (call) => {
  const { guest } = call;
  const size = GNTTAB_COPY_SIZE[guest.width];
  const tail = 2 * gnttab_copy_ptr.size(guest.width);
  const statusAt = BigInt(tail + gnttab_copy_tail.offset("status", guest.width));
  return forEach(call, size, (at) => {
    const bytes = guest.read(at, size);
    if (bytes === undefined) return -Errno.EFAULT;
    const status = new Uint8Array(2);
    new DataView(status.buffer).setInt16(0, copyOne(call, bytes), true);
    return guest.write(at + statusAt, status) ? 0 : -Errno.EFAULT;
  });
};

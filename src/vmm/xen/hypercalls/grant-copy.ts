/** GNTTABOP_copy: between frames of the caller's own and its own grants; domain 0 grants nothing. */
import type { ValueOf } from "../../../abi/layout.js";
import {
  GNTCOPY_dest_gref,
  GNTCOPY_source_gref,
  Gntst,
  gnttab_copy,
} from "../../../abi/xen/grant-table.js";
import { DOMID_SELF } from "../../../abi/xen/xen.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import type { Call, Handler } from "./call.js";
import { forEach } from "./grant-batch.js";

const BACKEND_DOMID = 0;

type Copy = ValueOf<typeof gnttab_copy>;
type CopyEnd = Copy["source"];

/** Whether an end may be named like this; answers a GNTST_* number. Xen asks this of both ends before all else. */
function checkDomain(call: Call, { domid }: CopyEnd, isGrant: boolean): number {
  // A frame is named by nobody but its owner, and only in this way.
  if (!isGrant) return domid === DOMID_SELF ? Gntst.okay : Gntst.permission_denied;
  return domid === BACKEND_DOMID || call.domain.isSelf(domid) ? Gntst.okay : Gntst.bad_domain;
}

/** Runs `use` with the guest-physical address of one end of a copy; answers a GNTST_* number. */
function withEnd(
  call: Call,
  end: CopyEnd,
  isGrant: boolean,
  readonly: boolean,
  use: (gpa: number) => number,
): number {
  const { grantTable, physmap, domid } = call.domain;
  const withFrame = (gfn: number): number =>
    physmap.isBacked(gfn) ? use(gfn * PAGE_SIZE + end.offset) : Gntst.bad_page;
  if (!isGrant) return withFrame(Number(end.u.gmfn));
  if (end.domid === BACKEND_DOMID) return Gntst.bad_gntref;
  const grant = grantTable.begin(end.u.ref, domid, readonly);
  if (typeof grant === "number") return grant;
  try {
    return withFrame(grant.gfn);
  } finally {
    grantTable.end(grant);
  }
}

function copyOne(call: Call, { source, dest, len, flags }: Copy): number {
  const isSourceGrant = (flags & GNTCOPY_source_gref) !== 0;
  const isDestGrant = (flags & GNTCOPY_dest_gref) !== 0;
  const problem = checkDomain(call, source, isSourceGrant) || checkDomain(call, dest, isDestGrant);
  if (problem !== Gntst.okay) return problem;
  const { memory } = call.domain;
  return withEnd(call, source, isSourceGrant, true, (from) =>
    withEnd(call, dest, isDestGrant, false, (to) => {
      const isInside = source.offset + len <= PAGE_SIZE && dest.offset + len <= PAGE_SIZE;
      if (!isInside) return Gntst.bad_copy_arg;
      const data = memory.read(from, len);
      return data !== undefined && memory.write(to, data) ? Gntst.okay : Gntst.bad_page;
    }),
  );
}

/** GNTTABOP_copy: each element has its own status. */
export const copy: Handler = (call) => {
  const { guest } = call;
  const layout = gnttab_copy.of(guest.width);
  const statusAt = BigInt(layout.offset("status"));
  return forEach(call, layout.size, (at) => {
    const one = guest.readStruct(at, gnttab_copy);
    if (one === undefined) return -Errno.EFAULT;
    const status = new Uint8Array(2);
    new DataView(status.buffer).setInt16(0, copyOne(call, one), true);
    return guest.write(at + statusAt, status) ? 0 : -Errno.EFAULT;
  });
};

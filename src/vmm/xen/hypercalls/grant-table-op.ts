/**
 * grant_table_op (Xen's `public/grant_table.h`) as of a Xen that has only version 1
 * (`gnttab=max-ver:1`). Xen lets an HVM guest use eight of its commands (`hvm_grant_table_op`). Not here: mapping one's
 * own grants (general_error); domain 0 grants the guest nothing.
 */
import {
  Gntmap,
  Gntst,
  Gnttabop,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_swap_grant_ref,
  gnttab_unmap_grant_ref,
} from "../../../abi/xen/grant-table.js";
import { Errno } from "../../../base/index.js";
import { MAX_GRANT_FRAMES } from "../grants/table.js";
import { answerTo, arg, type Call, type Handler, type SubOps, u32 } from "./call.js";
import { each, one } from "./grant-batch.js";
import { copy } from "./grant-copy.js";

const BACKEND_DOMID = 0;
const ALL_ONES = 2n ** 64n - 1n;

/** Status for a request about another domain; 0 for one about the caller. */
function aboutOther(call: Call, domid: number): number {
  if (call.domain.isSelf(domid)) return Gntst.okay;
  return domid === BACKEND_DOMID ? Gntst.permission_denied : Gntst.bad_domain;
}

const querySize = one(gnttab_query_size, (call, value) => {
  const status = aboutOther(call, value.dom);
  if (status !== Gntst.okay) return { ...value, status };
  const sizes = { nr_frames: MAX_GRANT_FRAMES, max_nr_frames: MAX_GRANT_FRAMES };
  return { ...value, ...sizes, status };
});

/** Lists where the frames are mapped; all ones for a frame that is not. */
const setupTable = one(gnttab_setup_table, (call, value) => {
  const status = aboutOther(call, value.dom);
  if (status !== Gntst.okay) return { ...value, status };
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

/** Domains are named by their numbers here: DOMID_SELF is none. */
const mapGrantRef = each(gnttab_map_grant_ref, (call, value) => {
  const { flags, dom, ref } = value;
  const deviceOnly = Gntmap.device_map | Gntmap.application_map | Gntmap.contains_pte;
  let status: number = Gntst.general_error;
  if ((flags & (Gntmap.device_map | Gntmap.host_map)) === 0) status = Gntst.bad_gntref;
  else if ((flags & deviceOnly) !== 0) status = Gntst.general_error;
  else if (dom === BACKEND_DOMID) status = Gntst.bad_gntref;
  else if (dom !== call.domain.domid) status = Gntst.bad_domain;
  else if (ref >= call.domain.grantTable.size) status = Gntst.bad_gntref;
  return { ...value, status };
});

/** There are no mappings, so no handle is right. */
const unmapGrantRef = each(gnttab_unmap_grant_ref, (_call, value) => ({
  ...value,
  status: Gntst.bad_handle,
}));

const swapGrantRef = each(gnttab_swap_grant_ref, (call, value) => ({
  ...value,
  status: call.domain.grantTable.swap(value.ref_a, value.ref_b),
}));

const getVersion: Handler = (call) => {
  const value = call.guest.readStruct(arg(call, 1), gnttab_get_version);
  if (value === undefined) return -Errno.EFAULT;
  if (!call.domain.isSelf(value.dom)) {
    return value.dom === BACKEND_DOMID ? -Errno.EPERM : -Errno.ESRCH;
  }
  const answer = { ...value, version: 1 };
  return answerTo(call, arg(call, 1), gnttab_get_version, answer);
};

/** Answers with the version that there is, which is always 1. */
const setVersion: Handler = (call) => {
  const value = call.guest.readStruct(arg(call, 1), gnttab_set_version);
  if (value === undefined) return -Errno.EFAULT;
  const error = answerTo(call, arg(call, 1), gnttab_set_version, { version: 1 });
  if (value.version === 1) return error;
  return value.version === 2 ? -Errno.ENOSYS : -Errno.EINVAL;
};

const subOps: SubOps = new Map<number, Handler>([
  [Gnttabop.map_grant_ref, mapGrantRef],
  [Gnttabop.unmap_grant_ref, unmapGrantRef],
  [Gnttabop.setup_table, setupTable],
  [Gnttabop.copy, copy],
  [Gnttabop.query_size, querySize],
  [Gnttabop.set_version, setVersion],
  [Gnttabop.get_version, getVersion],
  [Gnttabop.swap_grant_ref, swapGrantRef],
]);

/** grant_table_op(cmd, array, count). The count is signed. */
export const grantTableOp: Handler = (call) => {
  const run = subOps.get(u32(call.args[0]));
  if (run === undefined) return -Errno.ENOSYS;
  return u32(call.args[2]) >= 2 ** 31 ? -Errno.EINVAL : run(call);
};

/**
 * grant_table_op (Xen's `public/grant_table.h`) as of a Xen that has only version 1
 * (`gnttab=max-ver:1`). Not here: mapping one's own grants (general_error); domain 0 grants the
 * guest nothing.
 */
import {
  GNTTAB_CACHE_OPS,
  GNTTABOP_CMD_MASK,
  Gntmap,
  Gntst,
  Gnttabop,
  gnttab_cache_flush,
  gnttab_get_status_frames,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_swap_grant_ref,
  gnttab_transfer,
  gnttab_unmap_and_replace,
  gnttab_unmap_grant_ref,
} from "../../../abi/xen/grant-table.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import { MAX_GRANT_FRAMES } from "../grants/table.js";
import { answerTo, arg, type Call, type Handler, type SubOps, u32 } from "./call.js";
import { each, forEach, one } from "./grant-batch.js";
import { copy } from "./grant-copy.js";

const BACKEND_DOMID = 0;
const ALL_ONES = 2n ** 64n - 1n;
/** @nolimit the width of an address */
const MAX_GFN = 2n ** 40n;

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

/** Version 1 has no status frames. */
const getStatusFrames = one(gnttab_get_status_frames, (call, value) => {
  const status = aboutOther(call, value.dom);
  const tooMany = status === Gntst.okay && value.nr_frames > 0;
  return { ...value, status: tooMany ? Gntst.general_error : status };
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
const unmapAndReplace = each(gnttab_unmap_and_replace, (_call, value) => ({
  ...value,
  status: Gntst.bad_handle,
}));

/** A page cannot be taken from a guest of this kind. */
const transfer = each(gnttab_transfer, (call, value) => {
  const isBacked = value.mfn < MAX_GFN && call.domain.physmap.isBacked(Number(value.mfn));
  return { ...value, status: isBacked ? Gntst.general_error : Gntst.bad_page };
});

const swapGrantRef = each(gnttab_swap_grant_ref, (call, value) => ({
  ...value,
  status: call.domain.grantTable.swap(value.ref_a, value.ref_b),
}));

/** Caches are coherent on x86: what is right about a request is not supported there. */
const cacheFlush: Handler = (call) =>
  forEach(call, gnttab_cache_flush.size(call.guest.width), (at) => {
    const value = call.guest.readStruct(at, gnttab_cache_flush);
    if (value === undefined) return -Errno.EFAULT;
    const { offset, length, op } = value;
    if (offset >= PAGE_SIZE || offset + length > PAGE_SIZE) return -Errno.EINVAL;
    if ((op & ~GNTTAB_CACHE_OPS) !== 0) return -Errno.EINVAL;
    return length !== 0 && op !== 0 ? -Errno.EOPNOTSUPP : 0;
  });

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
  [Gnttabop.transfer, transfer],
  [Gnttabop.copy, copy],
  [Gnttabop.query_size, querySize],
  [Gnttabop.unmap_and_replace, unmapAndReplace],
  [Gnttabop.set_version, setVersion],
  [Gnttabop.get_status_frames, getStatusFrames],
  [Gnttabop.get_version, getVersion],
  [Gnttabop.swap_grant_ref, swapGrantRef],
  [Gnttabop.cache_flush, cacheFlush],
]);

/** grant_table_op(cmd, array, count). The count is signed; only cache_flush can be told to go on. */
export const grantTableOp: Handler = (call) => {
  const cmd = u32(call.args[0]);
  const op = cmd & GNTTABOP_CMD_MASK;
  if (u32(call.args[2]) >= 2 ** 31) return -Errno.EINVAL;
  if (cmd !== op && op !== Gnttabop.cache_flush) return -Errno.EINVAL;
  return subOps.get(op)?.(call) ?? -Errno.ENOSYS;
};

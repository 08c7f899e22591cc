/**
 * Hypercalls of tool stacks and device models: what Xen 4.17 answers a guest that has no privileges. The version of
 * the interface is looked at before the rights are (Xen's `public/{platform,sysctl,domctl,hvm/dm_op}.h`).
 */
import {
  DM_OP_MAX_BUFFERS,
  XEN_DOMCTL_createdomain,
  XEN_DOMCTL_gdbsx_guestmemio,
  XEN_DOMCTL_INTERFACE_VERSION,
  XEN_SYSCTL_INTERFACE_VERSION,
  XENPF_INTERFACE_VERSION,
  xen_control_op,
  xen_dm_op_buf,
  xen_domctl,
} from "../../../abi/xen/control.js";
import { Errno } from "../../../base/index.js";
import { arg, type Handler, u32 } from "./call.js";

/** An operation on the whole machine: of domain 0 only. */
const ofMachine =
  (version: number): Handler =>
  (call) => {
    const head = call.guest.readStruct(arg(call, 0), xen_control_op);
    if (head === undefined) return -Errno.EFAULT;
    return head.interface_version === version ? -Errno.EPERM : -Errno.EACCES;
  };

/** platform_op(op). */
export const platformOp = ofMachine(XENPF_INTERFACE_VERSION);
/** sysctl(op). */
export const sysctl = ofMachine(XEN_SYSCTL_INTERFACE_VERSION);

/** domctl(op): whether the domain exists is told to everybody. */
export const domctl: Handler = (call) => {
  const { guest, domain } = call;
  const head = guest.readStruct(arg(call, 0), xen_domctl);
  if (head === undefined) return -Errno.EFAULT;
  if (head.interface_version !== XEN_DOMCTL_INTERFACE_VERSION) return -Errno.EACCES;
  const needsNone = [XEN_DOMCTL_createdomain, XEN_DOMCTL_gdbsx_guestmemio].includes(head.cmd);
  const exists = head.domain === 0 || head.domain === domain.domid;
  return needsNone || exists ? -Errno.EPERM : -Errno.ESRCH;
};

/** dm_op(domid, nr_bufs, bufs): on another HVM domain, of which there is none. */
export const dmOp: Handler = (call) => {
  const count = u32(call.args[1]);
  if (count > DM_OP_MAX_BUFFERS) return -Errno.E2BIG;
  const size = count * xen_dm_op_buf.of(call.guest.width).size;
  if (size > 0 && call.guest.read(arg(call, 2), size) === undefined) return -Errno.EFAULT;
  const domid = u32(call.args[0]) & 0xffff;
  if (domid === call.domain.domid) return -Errno.EPERM;
  return domid === 0 ? -Errno.EINVAL : -Errno.ESRCH;
};

/** xenpmu_op: performance counters of HVM domains are their own. */
export const xenpmuOp: Handler = () => -Errno.EOPNOTSUPP;
/** hypfs_op. */
export const hypfsOp: Handler = () => -Errno.EPERM;

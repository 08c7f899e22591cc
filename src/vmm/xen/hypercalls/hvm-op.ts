/** hvm_op (Xen's `public/hvm/hvm_op.h`, `params.h`). Not here: what emulators and dom0 use. */
import {
  HVM_NR_PARAMS,
  HVMMEM_mmio_dm,
  HVMMEM_ram_rw,
  HvmCallbackType,
  Hvmop,
  HvmParam,
  XEN_HVM_XENTRACE_EVENTS,
  XEN_HVM_XENTRACE_EXTRA,
  xen_hvm_evtchn_upcall_vector,
  xen_hvm_get_mem_type,
  xen_hvm_get_time,
  xen_hvm_pagetable_dying,
  xen_hvm_param,
  xen_hvm_xentrace,
} from "../../../abi/xen/hvm.js";
import { Errno } from "../../../base/index.js";
import { attempt } from "../kvm-objects.js";
import { answerTo, arg, type Call, type Handler, type SubOps, u32 } from "./call.js";

/** Parameters that a guest may set, and read. */
const SETTABLE: ReadonlySet<number> = new Set([
  HvmParam.CALLBACK_IRQ,
  HvmParam.STORE_EVTCHN,
  HvmParam.VM86_TSS,
  HvmParam.CONSOLE_EVTCHN,
  HvmParam.ACPI_IOPORTS_LOCATION,
  HvmParam.VM_GENERATION_ID_ADDR,
  HvmParam.X87_FIP_WIDTH,
  HvmParam.VM86_TSS_SIZED,
]);
/** Parameters that a guest may read only. */
const READABLE: ReadonlySet<number> = new Set([
  HvmParam.STORE_PFN,
  HvmParam.CONSOLE_PFN,
  HvmParam.ALTP2M,
]);
/** Parameters that Xen no longer has. */
const GONE: ReadonlySet<number> = new Set([4, 13, 20, 21, 22, 23, 24, 25, 26, 30]);

/**
 * Guest frame numbers have 40 bits: 52-bit addresses.
 * @nolimit the width of an address
 */
const MAX_GFN = 2n ** 40n;

/** Vectors below are exceptions; KVM refuses them. */
const FIRST_VECTOR = 0x10;

/**
 * HVM_PARAM_CALLBACK_IRQ. Only vectors are supported: as in a Xen PVH domain, which has no lines
 * to raise, GSI and PCI INTx are accepted and change nothing. Linux writes such a value to say that
 * it uses vectors of each vCPU's own.
 */
function setCallback(call: Call, value: bigint): number {
  const { domain, guest } = call;
  domain.sharedInfo.latchLongMode(guest.width === 64);
  if (Number(value >> 56n) !== HvmCallbackType.VECTOR) return 0;
  const vector = Number(value & 0xffn);
  const vm = domain.config.vm;
  const error = attempt(() => vm.xen.setAttr({ type: "UPCALL_VECTOR", vector }));
  if (error !== 0) return error;
  for (const vcpu of domain.vcpus.values()) {
    if (domain.upcallPending(vcpu)) domain.assertUpcall(vcpu);
  }
  return 0;
}

const setParam: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), xen_hvm_param);
  if (request === undefined) return -Errno.EFAULT;
  const { domid, index, value } = request;
  if (index >= HVM_NR_PARAMS) return -Errno.EINVAL;
  if (!call.domain.isSelf(domid)) return -Errno.ESRCH;
  if (GONE.has(index)) return -Errno.EINVAL;
  if (index === HvmParam.ALTP2M) return -Errno.EEXIST;
  if (!SETTABLE.has(index)) return -Errno.EPERM;
  const error = index === HvmParam.CALLBACK_IRQ ? setCallback(call, value) : 0;
  if (error === 0) call.domain.params.set(index, value);
  return error;
};

const getParam: Handler = (call) => {
  const { guest, domain } = call;
  const request = guest.readStruct(arg(call, 1), xen_hvm_param);
  if (request === undefined) return -Errno.EFAULT;
  const { domid, index, pad } = request;
  if (index >= HVM_NR_PARAMS) return -Errno.EINVAL;
  if (!domain.isSelf(domid)) return -Errno.ESRCH;
  if (GONE.has(index)) return -Errno.EINVAL;
  if (!SETTABLE.has(index) && !READABLE.has(index)) return -Errno.EPERM;
  const answer = { domid, pad, index, value: domain.params.get(index) ?? 0n };
  return answerTo(call, arg(call, 1), xen_hvm_param, answer);
};

const setUpcallVector: Handler = (call) => {
  const { domain, guest } = call;
  const request = guest.readStruct(arg(call, 1), xen_hvm_evtchn_upcall_vector);
  if (request === undefined) return -Errno.EFAULT;
  if (request.vector < FIRST_VECTOR) return -Errno.EINVAL;
  const vcpu = domain.vcpus.get(request.vcpu);
  if (vcpu === undefined) return -Errno.ENOENT;
  const { vector } = request;
  const error = attempt(() => vcpu.kvm.xen.setAttr({ type: "UPCALL_VECTOR", vector }));
  if (error !== 0) return error;
  // KVM tells only of new events; one that came before must not be lost.
  if (domain.upcallPending(vcpu)) domain.assertUpcall(vcpu);
  return 0;
};

/** Xen system time, by any other name. */
const getTime: Handler = (call) => {
  const now = call.domain.config.vm.getClock().clock;
  return answerTo(call, arg(call, 1), xen_hvm_get_time, { now });
};

/** What is in a frame: a kernel that reads another's memory (kdump) skips what is no RAM. */
const getMemType: Handler = (call) => {
  const { guest, domain } = call;
  const request = guest.readStruct(arg(call, 1), xen_hvm_get_mem_type);
  if (request === undefined) return -Errno.EFAULT;
  if (!domain.isSelf(request.domid)) return -Errno.ESRCH;
  const isRam = request.pfn < MAX_GFN && domain.physmap.isBacked(Number(request.pfn));
  const answer = { ...request, mem_type: isRam ? HVMMEM_ram_rw : HVMMEM_mmio_dm };
  return answerTo(call, arg(call, 1), xen_hvm_get_mem_type, answer);
};

/**
 * Makes every vCPU forget its translations; the argument has to be null. KVM has no call for that, but
 * writing a vCPU's special registers, unchanged, drops them.
 */
const flushTlbs: Handler = (call) => {
  if (arg(call, 1) !== 0n) return -Errno.EINVAL;
  for (const { kvm } of call.domain.vcpus.values()) kvm.setSregs(kvm.getSregs());
  return 0;
};

/** For Xen's shadow page tables: a guest on nested paging is told EINVAL. */
const pagetableDying: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), xen_hvm_pagetable_dying);
  if (request === undefined) return -Errno.EFAULT;
  const isKnown = call.domain.isSelf(request.domid) || request.domid === 0;
  return isKnown ? -Errno.EINVAL : -Errno.ESRCH;
};

/** An event for Xen's trace buffers, which nobody has switched on. */
const xentrace: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), xen_hvm_xentrace);
  if (request === undefined) return -Errno.EFAULT;
  const { event, extra_bytes } = request;
  const fits = event < XEN_HVM_XENTRACE_EVENTS && extra_bytes <= XEN_HVM_XENTRACE_EXTRA;
  return fits ? 0 : -Errno.EINVAL;
};

/** Tells a monitor in domain 0, of which there is none; the argument has to be null. */
const guestRequest: Handler = (call) => (arg(call, 1) === 0n ? 0 : -Errno.EINVAL);

const subOps: SubOps = new Map<number, Handler>([
  [Hvmop.set_param, setParam],
  [Hvmop.get_param, getParam],
  [Hvmop.flush_tlbs, flushTlbs],
  [Hvmop.pagetable_dying, pagetableDying],
  [Hvmop.get_time, getTime],
  [Hvmop.xentrace, xentrace],
  [Hvmop.get_mem_type, getMemType],
  [Hvmop.set_evtchn_upcall_vector, setUpcallVector],
  [Hvmop.guest_request_vm_event, guestRequest],
  // Several views of a guest's memory exist on Intel's processors only.
  [Hvmop.altp2m, () => -Errno.EOPNOTSUPP],
]);

/** hvm_op(cmd, arg). */
export const hvmOp: Handler = (call) => subOps.get(u32(call.args[0]))?.(call) ?? -Errno.ENOSYS;

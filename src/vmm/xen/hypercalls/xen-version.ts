/**
 * xen_version (Xen's `public/version.h`). KVM answers XENVER_version itself at CPL 0; it is here
 * for multicalls. What Xen hides from unprivileged guests is hidden here too.
 */

import {
  XEN_CAPABILITIES_INFO_LEN,
  XEN_CHANGESET_INFO_LEN,
  XEN_COMMANDLINE_LEN,
  XEN_ENOBUFS,
  XEN_EXTRAVERSION_LEN,
  Xenver,
  xen_compile_info,
  xen_feature_info,
  xen_platform_parameters,
  xen_varbuf,
} from "../../../abi/xen/version.js";
import { Xenfeat } from "../../../abi/xen/xen.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import { answerTo, arg, type Call, type Handler, type SubOps, u32 } from "./call.js";

/** The version that the machine shows: 4.17, as (major << 16) | minor. */
export const XEN_VERSION = 0x40011;

const TEXT = {
  extraversion: ".0",
  capabilities: "hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64",
  changeset: "kvm-xen",
  commandline: "<denied>",
  compiler: "kvm-xen",
} as const;

/** Submap 0 of get_features. PIRQs are not offered: PVH guests must not route interrupts there. */
const FEATURES: number = [
  Xenfeat.writable_page_tables,
  Xenfeat.auto_translated_physmap,
  Xenfeat.hvm_callback_vector,
  Xenfeat.hvm_safe_pvclock,
  Xenfeat.memory_op_vnode_supported,
  Xenfeat.not_direct_mapped,
  Xenfeat.runstate_phys_area,
  Xenfeat.vcpu_time_phys_area,
].reduce<number>((bits, feature) => bits | (1 << feature), 0);

/** Text in an array of fixed size, zero-filled. */
function fixed(text: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(new TextEncoder().encode(text).subarray(0, size - 1));
  return bytes;
}

/** Writes `bytes` where the argument points; `result` on success. */
function put(call: Call, bytes: Uint8Array, result = 0): number {
  return call.guest.write(arg(call, 1), bytes) ? result : -Errno.EFAULT;
}

const fixedText =
  (text: string, size: number): Handler =>
  (call) =>
    put(call, fixed(text, size));

/** XENVER_*2: with no buffer the length, else the text without NUL behind the buffer's length. */
const longText =
  (text: string): Handler =>
  (call) => {
    const bytes = new TextEncoder().encode(text);
    const at = arg(call, 1);
    if (at === 0n) return bytes.length;
    const buffer = call.guest.readStruct(at, xen_varbuf);
    if (buffer === undefined) return -Errno.EFAULT;
    if (buffer.len === 0) return -Errno.EINVAL;
    if (buffer.len < bytes.length) return -XEN_ENOBUFS;
    const offset = BigInt(xen_varbuf.of(call.guest.width).size);
    return call.guest.write(at + offset, bytes) ? bytes.length : -Errno.EFAULT;
  };

const compileInfo: Handler = (call) => {
  const compiler = fixed(TEXT.compiler, xen_compile_info.fields.compiler.size);
  return put(call, xen_compile_info.encode({ compiler }));
};

const getFeatures: Handler = (call) => {
  const info = call.guest.readStruct(arg(call, 1), xen_feature_info);
  if (info === undefined) return -Errno.EFAULT;
  if (info.submap_idx !== 0) return -Errno.EINVAL;
  const answer = { submap_idx: 0, submap: FEATURES };
  return answerTo(call, arg(call, 1), xen_feature_info, answer);
};

const subOps: SubOps = new Map<number, Handler>([
  [Xenver.version, () => XEN_VERSION],
  [Xenver.extraversion, fixedText(TEXT.extraversion, XEN_EXTRAVERSION_LEN)],
  [Xenver.compile_info, compileInfo],
  [Xenver.capabilities, fixedText(TEXT.capabilities, XEN_CAPABILITIES_INFO_LEN)],
  [Xenver.changeset, fixedText(TEXT.changeset, XEN_CHANGESET_INFO_LEN)],
  [
    Xenver.platform_parameters,
    (call) => put(call, xen_platform_parameters.of(call.guest.width).encode({ virt_start: 0n })),
  ],
  [Xenver.get_features, getFeatures],
  [Xenver.pagesize, (call) => (arg(call, 1) === 0n ? PAGE_SIZE : -Errno.EINVAL)],
  [Xenver.guest_handle, (call) => put(call, call.domain.config.uuid)],
  [Xenver.commandline, fixedText(TEXT.commandline, XEN_COMMANDLINE_LEN)],
  [Xenver.build_id, () => -Errno.ENODATA],
  [Xenver.extraversion2, longText(TEXT.extraversion)],
  [Xenver.capabilities2, longText(TEXT.capabilities)],
  [Xenver.changeset2, longText(TEXT.changeset)],
  [Xenver.commandline2, longText(TEXT.commandline)],
]);

/** xen_version(cmd, arg). */
export const xenVersion: Handler = (call) => subOps.get(u32(call.args[0]))?.(call) ?? -Errno.ENOSYS;

/** The pages that guest and KVM share, member by member. */
import { Pvclock } from "../../abi/xen/pvclock.js";
import { RUNSTATE_64, RUNSTATE_COMPAT, XEN_RUNSTATE_UPDATE } from "../../abi/xen/runstate.js";
import { sharedInfoLayout } from "../../abi/xen/shared-info.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { runstateName } from "../../trace/index.js";
import { hex } from "./dom.js";

/** A member of a structure. */
export interface Member {
  /** In bytes, from the structure's start. */
  readonly offset: number;
  readonly name: string;
  readonly value: string;
}

/** Ports that are named of a bitmap. @limit guest | ports of a bitmap that a panel names | ports | they are counted */
const MAX_NAMED = 24;

const dataOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** Which ports have a bit: those, or all others where that is shorter. */
function bitmapText(bytes: Uint8Array, base: number, ports: number): string {
  const having: number[] = [];
  const lacking: number[] = [];
  for (let port = 0; port < ports; port++) {
    const bit = ((bytes[base + (port >> 3)] ?? 0) >> (port & 7)) & 1;
    (bit === 1 ? having : lacking).push(port);
  }
  const named = (list: readonly number[]): string => {
    const rest = list.length - MAX_NAMED;
    return `${list.slice(0, MAX_NAMED).join(" ")}${rest > 0 ? ` and ${rest} more` : ""}`;
  };
  if (having.length === 0) return "none";
  if (lacking.length === 0) return `all ${ports}`;
  return having.length <= lacking.length ? named(having) : `all but ${named(lacking)}`;
}

/** `struct shared_info`, but for the vcpu_info in it. */
export function sharedInfoMembers(bytes: Uint8Array, longMode: boolean): Member[] {
  const { evtchnPending, evtchnMask, wcVersion, wcSecHi, ports } = sharedInfoLayout(longMode);
  const data = dataOf(bytes);
  const u32 = (at: number): number => data.getUint32(at, true);
  const seconds = u32(wcSecHi) * 2 ** 32 + u32(wcVersion + 4);
  return [
    {
      offset: evtchnPending,
      name: "evtchn_pending",
      value: bitmapText(bytes, evtchnPending, ports),
    },
    { offset: evtchnMask, name: "evtchn_mask", value: bitmapText(bytes, evtchnMask, ports) },
    { offset: wcVersion, name: "wc_version", value: String(u32(wcVersion)) },
    { offset: wcVersion + 4, name: "wc_sec", value: `${u32(wcVersion + 4)}${dateText(seconds)}` },
    { offset: wcVersion + 8, name: "wc_nsec", value: String(u32(wcVersion + 8)) },
    { offset: wcSecHi, name: "wc_sec_hi", value: String(u32(wcSecHi)) },
  ];
}

/** The time of the wallclock, where it is one that a date can have. */
function dateText(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : ` (the guest began at ${date.toISOString()})`;
}

/** `struct vcpu_info`, with the clock in it. */
export function vcpuInfoMembers(bytes: Uint8Array, longMode: boolean): Member[] {
  const data = dataOf(bytes);
  const { EVTCHN_PENDING_SEL_64, EVTCHN_PENDING_SEL_COMPAT, TIME } = VcpuInfo;
  const offset = longMode ? EVTCHN_PENDING_SEL_64 : EVTCHN_PENDING_SEL_COMPAT;
  const selector = longMode ? data.getBigUint64(offset, true) : data.getUint32(offset, true);
  return [
    ...["evtchn_upcall_pending", "evtchn_upcall_mask"].map((name, at) => ({
      ...{ offset: at, name },
      value: String(bytes[at]),
    })),
    { offset, name: "evtchn_pending_sel", value: hex(selector) },
    ...pvclockMembers(bytes.subarray(TIME, TIME + Pvclock.SIZE)).map((member) => ({
      offset: TIME + member.offset,
      name: `time.${member.name}`,
      value: member.value,
    })),
  ];
}

/** `struct pvclock_vcpu_time_info`. */
export function pvclockMembers(bytes: Uint8Array): Member[] {
  const data = dataOf(bytes);
  const u64 = (at: number): string => String(data.getBigUint64(at, true));
  const version = data.getUint32(Pvclock.VERSION, true);
  const flags = bytes[Pvclock.FLAGS] ?? 0;
  const words = [
    (flags & Pvclock.FLAG_TSC_STABLE) !== 0 ? "TSC stable" : "",
    (flags & Pvclock.FLAG_GUEST_STOPPED) !== 0 ? "guest stopped" : "",
  ].filter((word) => word !== "");
  return [
    {
      offset: Pvclock.VERSION,
      name: "version",
      value: `${version}${(version & 1) === 1 ? " (an update is under way)" : ""}`,
    },
    {
      offset: Pvclock.TSC_TIMESTAMP,
      name: "tsc_timestamp",
      value: u64(Pvclock.TSC_TIMESTAMP),
    },
    { offset: Pvclock.SYSTEM_TIME, name: "system_time", value: `${u64(Pvclock.SYSTEM_TIME)} ns` },
    {
      offset: Pvclock.TSC_TO_SYSTEM_MUL,
      name: "tsc_to_system_mul",
      value: String(data.getUint32(Pvclock.TSC_TO_SYSTEM_MUL, true)),
    },
    {
      offset: Pvclock.TSC_SHIFT,
      name: "tsc_shift",
      value: String(data.getInt8(Pvclock.TSC_SHIFT)),
    },
    {
      offset: Pvclock.FLAGS,
      name: "flags",
      value: `${hex(flags)}${words.length > 0 ? ` (${words.join(", ")})` : ""}`,
    },
  ];
}

/** `struct vcpu_runstate_info`. */
export function runstateMembers(bytes: Uint8Array, longMode: boolean): Member[] {
  const layout = longMode ? RUNSTATE_64 : RUNSTATE_COMPAT;
  const data = dataOf(bytes);
  const state = data.getUint32(layout.state, true);
  const entry = data.getBigUint64(layout.stateEntryTime, true);
  const isUpdate = (entry & XEN_RUNSTATE_UPDATE) !== 0n;
  return [
    { offset: layout.state, name: "state", value: `${state} (${runstateName(state)})` },
    {
      offset: layout.stateEntryTime,
      name: "state_entry_time",
      value: `${entry & ~XEN_RUNSTATE_UPDATE} ns${isUpdate ? " (an update is under way)" : ""}`,
    },
    ...[0, 1, 2, 3].map((at) => ({
      offset: layout.time + 8 * at,
      name: `time[${runstateName(at)}]`,
      value: `${data.getBigUint64(layout.time + 8 * at, true)} ns`,
    })),
  ];
}

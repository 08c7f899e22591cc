/** What KVM shares with its own guests (`asm/kvm_para.h`). */
import { array, s64, struct, u8, u32, u64 } from "../layout.js";

/** What MSR_KVM_STEAL_TIME names; `version` is odd while it changes. */
export const kvm_steal_time = struct("kvm_steal_time", {
  steal: u64,
  version: u32,
  flags: u32,
  preempted: u8,
  u8_pad: array(u8, 3),
  pad: array(u32, 11),
});

/** What KVM_HC_CLOCK_PAIRING answers. */
export const kvm_clock_pairing = struct("kvm_clock_pairing", {
  sec: s64,
  nsec: s64,
  tsc: u64,
  flags: u32,
  pad: array(u32, 9),
});

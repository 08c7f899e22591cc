/** Registers in the `kvm_run` page (KVM_CAP_SYNC_REGS): fewer ioctls for clients that want them. */
import { kvm_regs, kvm_run, kvm_sregs, kvm_vcpu_events, type Vcpu } from "../kvm/index.js";
import { eventsFromC, eventsToC, sregsFromC, sregsToC } from "./convert.js";

/** `KVM_SYNC_X86_*`. */
const Sync = { REGS: 1n, SREGS: 2n, EVENTS: 4n } as const;

/** Every class that can be asked for: the value of KVM_CAP_SYNC_REGS. */
export const SYNC_REGS = Sync.REGS | Sync.SREGS | Sync.EVENTS;

const At = {
  regs: kvm_run.offset("s.regs.regs"),
  sregs: kvm_run.offset("s.regs.sregs"),
  events: kvm_run.offset("s.regs.events"),
} as const;

const part = (page: Uint8Array, at: number, size: number): Uint8Array => page.slice(at, at + size);

/** `kvm_dirty_regs`: sets what the client changed. @throws KvmError EINVAL. */
export function loadSyncRegs(page: Uint8Array, vcpu: Vcpu, classes: bigint): void {
  if ((classes & Sync.REGS) !== 0n) {
    vcpu.setRegs(kvm_regs.decode(part(page, At.regs, kvm_regs.size)));
  }
  if ((classes & Sync.SREGS) !== 0n) {
    const sregs = kvm_sregs.decode(part(page, At.sregs, kvm_sregs.size));
    vcpu.setSregs(sregsFromC(sregs, sregs.interrupt_bitmap));
  }
  if ((classes & Sync.EVENTS) !== 0n) {
    const events = kvm_vcpu_events.decode(part(page, At.events, kvm_vcpu_events.size));
    vcpu.setVcpuEvents(eventsFromC(events));
  }
}

/** `kvm_valid_regs`: stores what the client wants to see. */
export function storeSyncRegs(page: Uint8Array, vcpu: Vcpu, classes: bigint): void {
  if ((classes & Sync.REGS) !== 0n) page.set(kvm_regs.encode(vcpu.getRegs()), At.regs);
  if ((classes & Sync.SREGS) !== 0n) {
    page.set(kvm_sregs.encode(sregsToC(vcpu.getSregs())), At.sregs);
  }
  if ((classes & Sync.EVENTS) !== 0n) {
    page.set(kvm_vcpu_events.encode(eventsToC(vcpu.getVcpuEvents())), At.events);
  }
}

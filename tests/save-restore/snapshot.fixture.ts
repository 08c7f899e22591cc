/** Reads everything of a VM through KVM's calls and puts it back, in the order in which QEMU does. */
import type { KvmMsrEntry } from "../../src/abi/kvm/index.js";
import { ApicReg } from "../../src/abi/x86/apic.js";
import { Errno } from "../../src/base/index.js";
import { KvmError, type Vcpu, type Vm } from "../../src/kvm/index.js";
import type { Machine } from "./machine.fixture.js";

/** What can be read twice as the same. */
type Saved<F extends () => unknown> = ReturnType<F>;

function vcpuState(vcpu: Vcpu, indices: readonly number[]) {
  // One call for each: KVM_GET_MSRS ends at the first that is refused.
  const msrs = indices.flatMap((index): KvmMsrEntry[] => vcpu.getMsrs([index]));
  return {
    mpState: vcpu.getMpState(),
    regs: vcpu.getRegs(),
    xsave: vcpu.getXsave(),
    xcr0: vcpu.getXcr0(),
    sregs: vcpu.getSregs(),
    msrs,
    lapic: vcpu.getLapic(),
    events: vcpu.getVcpuEvents(),
    debugregs: vcpu.getDebugregs(),
    xen: xenVcpuState(vcpu),
  };
}

function xenVcpuState({ xen }: Vcpu) {
  return {
    info: xen.getAttr("VCPU_INFO"),
    infoHva: xen.getAttr("VCPU_INFO_HVA"),
    timeInfo: xen.getAttr("VCPU_TIME_INFO"),
    runstateAddr: orAbsent(() => xen.getAttr("RUNSTATE_ADDR")),
    runstate: xen.getAttr("RUNSTATE_DATA"),
    id: xen.getAttr("VCPU_ID"),
    timer: xen.getAttr("TIMER"),
    vector: xen.getAttr("UPCALL_VECTOR"),
  };
}

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof KvmError && error.errno === Errno.ENOENT) return undefined;
    throw error;
  }
}

function vmState(vm: Vm, kernel: boolean) {
  const { xen } = vm;
  return {
    clock: vm.getClock(),
    ioapic: kernel ? vm.getIoapic() : undefined,
    longMode: xen.getAttr("LONG_MODE"),
    sharedInfo: xen.getAttr("SHARED_INFO"),
    sharedInfoHva: xen.getAttr("SHARED_INFO_HVA"),
    vector: xen.getAttr("UPCALL_VECTOR"),
    version: xen.getAttr("XEN_VERSION"),
    updateFlag: xen.getAttr("RUNSTATE_UPDATE_FLAG"),
  };
}

/** Reads a machine that stands still. Memory comes last: reading a timer may deliver its event. */
export function save(machine: Machine) {
  const { vm, kvm, vcpus, ram } = machine;
  // IA32_TSC and its kin are in the list.
  const indices = kvm.getMsrIndexList();
  const state = {
    vcpus: vcpus.map((vcpu) => vcpuState(vcpu, indices)),
    vm: vmState(vm, machine.options.irqchip === "kernel"),
    devices: machine.devices,
    exits: machine.exits,
    ram,
    memory: machine.memory(),
  };
  return structuredClone(state);
}

/** What {@link save} gives. */
export type Snapshot = Saved<() => ReturnType<typeof save>>;

/** Fills a fresh machine. Backings lie elsewhere there, so that addresses of this side are moved. */
export function restore(machine: Machine, snapshot: Snapshot): void {
  const { vm, vcpus } = machine;
  vm.linear.u8.set(snapshot.memory, machine.ram);
  vm.invalidate(machine.ram, snapshot.memory.length);
  const { clock } = snapshot.vm;
  vm.setClock({ clock: clock.clock, flags: 0, realtime: 0n, hostTsc: 0n });
  if (snapshot.vm.ioapic !== undefined) vm.setIoapic(snapshot.vm.ioapic);
  const move = (address: bigint): bigint =>
    address === 0n ? 0n : address - BigInt(snapshot.ram) + BigInt(machine.ram);
  vm.xen.setAttr(snapshot.vm.longMode);
  if (snapshot.vm.sharedInfoHva.hva === 0n) vm.xen.setAttr(snapshot.vm.sharedInfo);
  else vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva: move(snapshot.vm.sharedInfoHva.hva) });
  vm.xen.setAttr(snapshot.vm.vector);
  vm.xen.setAttr(snapshot.vm.version);
  vm.xen.setAttr(snapshot.vm.updateFlag);
  machine.connect();
  machine.route();
  for (const [i, vcpu] of vcpus.entries()) {
    const state = snapshot.vcpus[i];
    if (state !== undefined) restoreVcpu(vcpu, state, move);
  }
  machine.devices = structuredClone(snapshot.devices);
  machine.exits = snapshot.exits;
}

type VcpuSnapshot = Snapshot["vcpus"][number];

/** Bits of the timer's LVT that are its mode; 0 is one-shot. */
const TIMER_MODE = 3 << 17;

/**
 * A local APIC whose one-shot count has ended, without the initial count: KVM_SET_LAPIC would end it once more, at
 * once.
 */
export function withoutEndedCount(lapic: Uint8Array): Uint8Array {
  const image = lapic.slice();
  const view = new DataView(image.buffer);
  const isOneShot = (view.getUint32(ApicReg.LVTT, true) & TIMER_MODE) === 0;
  if (isOneShot && view.getUint32(ApicReg.TMCCT, true) === 0) {
    view.setUint32(ApicReg.TMICT, 0, true);
  }
  return image;
}

function restoreVcpu(vcpu: Vcpu, state: VcpuSnapshot, move: (address: bigint) => bigint): void {
  vcpu.setSregs(state.sregs);
  restoreXen(vcpu, state.xen, move);
  vcpu.setRegs(state.regs);
  vcpu.setXcr0(state.xcr0);
  vcpu.setXsave(state.xsave);
  const deadline = state.msrs.filter(({ index }) => index === 0x6e0);
  const others = state.msrs.filter(({ index }) => index !== 0x6e0);
  for (const entry of others) {
    if (vcpu.setMsrs([entry]) !== 1)
      throw new Error(`MSR 0x${entry.index.toString(16)} is refused`);
  }
  vcpu.setLapic(withoutEndedCount(state.lapic));
  // What is in the interrupt bitmap would be taken twice, and bits 1 and 2 make QEMU's flags count.
  vcpu.setVcpuEvents({ ...state.events, flags: state.events.flags | 3 });
  vcpu.setMpState(state.mpState);
  vcpu.setMsrs(deadline);
  vcpu.setDebugregs(state.debugregs);
}

function restoreXen(
  { xen }: Vcpu,
  state: VcpuSnapshot["xen"],
  move: (address: bigint) => bigint,
): void {
  if (state.infoHva.hva === 0n) xen.setAttr(state.info);
  else xen.setAttr({ type: "VCPU_INFO_HVA", hva: move(state.infoHva.hva) });
  xen.setAttr(state.timeInfo);
  if (state.runstateAddr !== undefined) xen.setAttr(state.runstateAddr);
  xen.setAttr(state.runstate);
  xen.setAttr(state.id);
  xen.setAttr(state.timer);
  xen.setAttr(state.vector);
}

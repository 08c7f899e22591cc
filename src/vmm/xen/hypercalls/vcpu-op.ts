/** vcpu_op (Xen's `public/vcpu.h`). */
import { KVM_XEN_INVALID, KvmMpState } from "../../../abi/kvm/index.js";
import { vcpu_hvm_context } from "../../../abi/xen/hvm-vcpu.js";
import { Shutdown } from "../../../abi/xen/sched.js";
import { MAX_VIRT_CPUS } from "../../../abi/xen/shared-info.js";
import {
  PERIODIC_TIMER_MAX_NS,
  PERIODIC_TIMER_MIN_NS,
  Vcpuop,
  vcpu_register_memory_area,
  vcpu_register_vcpu_info,
  vcpu_runstate_info,
  vcpu_set_periodic_timer,
  vcpu_set_singleshot_timer,
} from "../../../abi/xen/vcpu.js";
import { VcpuInfo } from "../../../abi/xen/vcpu-info.js";
import { Errno, PAGE_SIZE } from "../../../base/index.js";
import type { DomainVcpu } from "../domain.js";
import { attempt } from "../kvm-objects.js";
import { answerTo, arg, type Call, type Handler, u32 } from "./call.js";
import { startState } from "./vcpu-context.js";

/** A sub-operation on the vCPU that the call names. */
type VcpuHandler = (call: Call, target: DomainVcpu) => number;

const TIME_INFO_SIZE = 32;

/** Whether a vCPU was ever started, by INIT and SIPI or by a hypercall. */
function isInitialised(vcpu: DomainVcpu): boolean {
  if (vcpu.initialised) return true;
  const state = vcpu.kvm.getMpState();
  return state !== KvmMpState.UNINITIALIZED && state !== KvmMpState.INIT_RECEIVED;
}

const isUp: VcpuHandler = (_call, target) => (isInitialised(target) && !target.down ? 1 : 0);

/** Gives a vCPU its registers; it runs from VCPUOP_up on. */
const initialise: VcpuHandler = (call, target) => {
  if (target.id >= MAX_VIRT_CPUS && target.infoGpa === undefined) return -Errno.EINVAL;
  const bytes = call.guest.read(arg(call, 2), vcpu_hvm_context.size);
  if (bytes === undefined) return -Errno.EFAULT;
  if (isInitialised(target)) return -Errno.EEXIST;
  const state = startState(bytes);
  if (state === undefined) return -Errno.EINVAL;
  const { kvm } = target;
  const error = attempt(() => {
    kvm.setSregs({ ...kvm.getSregs(), ...state.sregs });
    kvm.setRegs({ ...kvm.getRegs(), ...state.regs });
  });
  if (error !== 0) return error;
  target.initialised = true;
  target.down = true;
  kvm.kick();
  return 0;
};

const up: VcpuHandler = (_call, target) => {
  if (!isInitialised(target)) return -Errno.EINVAL;
  if (target.initialised && target.kvm.getMpState() === KvmMpState.UNINITIALIZED) {
    target.kvm.setMpState(KvmMpState.RUNNABLE);
  }
  target.down = false;
  target.wake();
  return 0;
};

const down: VcpuHandler = (call, target) => {
  target.down = true;
  target.kvm.kick();
  const others = [...call.domain.vcpus.values()];
  const anyUp = others.some((vcpu) => isInitialised(vcpu) && !vcpu.down);
  if (!anyUp) call.domain.config.onShutdown(Shutdown.poweroff);
  return 0;
};

const getRunstateInfo: VcpuHandler = (call, target) => {
  const { runstate } = target.kvm.xen.getAttr("RUNSTATE_DATA");
  const times = [
    runstate.timeRunning,
    runstate.timeRunnable,
    runstate.timeBlocked,
    runstate.timeOffline,
  ];
  // KVM's times end at the last change of state; Xen counts to this moment.
  const now = call.domain.config.vm.getClock().clock;
  const state = Number(runstate.state);
  const since = now - runstate.stateEntryTime;
  if (since > 0n) times[state] = (times[state] ?? 0n) + since;
  const info = { state, state_entry_time: runstate.stateEntryTime, time: times };
  return answerTo(call, arg(call, 2), vcpu_runstate_info, info);
};

/** The guest-virtual address that registers an area; undefined when it cannot be read. */
function areaPointer(call: Call): bigint | undefined {
  const area = call.guest.readStruct(arg(call, 2), vcpu_register_memory_area);
  return area === undefined ? undefined : BigInt.asUintN(call.guest.width, area.p);
}

/** Guest-physical address of an area, if its pages follow each other. */
function contiguous(call: Call, address: bigint, size: number): bigint | undefined {
  const first = call.guest.translate(address);
  const last = call.guest.translate(address + BigInt(size - 1));
  if (first === undefined || last !== first + size - 1) return undefined;
  return call.domain.memory.locate(first, 1) === undefined ? undefined : BigInt(first);
}

const registerRunstate: VcpuHandler = (call, target) => {
  const address = areaPointer(call);
  if (address === undefined) return -Errno.EFAULT;
  const size = vcpu_runstate_info.of(call.guest.width).size;
  const gpa = address === 0n ? KVM_XEN_INVALID : contiguous(call, address, size);
  if (gpa === undefined) return -Errno.EFAULT;
  return attempt(() => target.kvm.xen.setAttr({ type: "RUNSTATE_ADDR", gpa }));
};

const registerTime: VcpuHandler = (call, target) => {
  const address = areaPointer(call);
  if (address === undefined) return -Errno.EFAULT;
  const gpa = address === 0n ? KVM_XEN_INVALID : contiguous(call, address, TIME_INFO_SIZE);
  if (gpa === undefined) return -Errno.EFAULT;
  const error = attempt(() => target.kvm.xen.setAttr({ type: "VCPU_TIME_INFO", gpa }));
  // KVM cannot keep an area on two pages.
  return error === -Errno.EINVAL ? -Errno.EFAULT : error;
};

/** Checks an area that is given by guest-physical address. 0, or a negative errno. */
function checkPhysArea(call: Call, gpa: bigint, size: number): number {
  const offset = Number(gpa & 0xfffn);
  if (offset + size > PAGE_SIZE || gpa % BigInt(call.guest.width / 8) !== 0n) return -Errno.ENXIO;
  return call.domain.memory.locate(Number(gpa), size) === undefined ? -Errno.EINVAL : 0;
}

const registerPhys =
  (type: "RUNSTATE_ADDR" | "VCPU_TIME_INFO"): VcpuHandler =>
  (call, target) => {
    const area = call.guest.readStruct(arg(call, 2), vcpu_register_memory_area);
    if (area === undefined) return -Errno.EFAULT;
    const gpa = area.p;
    const isTime = type === "VCPU_TIME_INFO";
    const size = isTime ? TIME_INFO_SIZE : vcpu_runstate_info.of(call.guest.width).size;
    const error = gpa === KVM_XEN_INVALID ? 0 : checkPhysArea(call, gpa, size);
    return error !== 0 ? error : attempt(() => target.kvm.xen.setAttr({ type, gpa }));
  };

const registerVcpuInfo: VcpuHandler = (call, target) => {
  const info = call.guest.readStruct(arg(call, 2), vcpu_register_vcpu_info);
  if (info === undefined) return -Errno.EFAULT;
  if (info.offset >= PAGE_SIZE) return -Errno.EINVAL;
  if (target.infoGpa !== undefined) return -Errno.EBUSY;
  const gpa = info.mfn * BigInt(PAGE_SIZE) + BigInt(info.offset);
  const error = checkPhysArea(call, gpa, VcpuInfo.SIZE);
  return error !== 0 ? error : call.domain.registerVcpuInfo(target, Number(gpa));
};

const setPeriodicTimer: VcpuHandler = (call, target) => {
  const request = call.guest.readStruct(arg(call, 2), vcpu_set_periodic_timer);
  if (request === undefined) return -Errno.EFAULT;
  const period = request.period_ns;
  if (period < PERIODIC_TIMER_MIN_NS || period > PERIODIC_TIMER_MAX_NS) return -Errno.EINVAL;
  target.timers.setPeriodic(period);
  return 0;
};

/** The "must be in the future" flag is ignored, as in current Xen. */
const setSingleshotTimer: VcpuHandler = (call, target) => {
  if (target !== call.vcpu) return -Errno.EINVAL;
  const request = call.guest.readStruct(arg(call, 2), vcpu_set_singleshot_timer);
  if (request === undefined) return -Errno.EFAULT;
  return target.timers.setOneShot(request.timeout_abs_ns);
};

const subOps: ReadonlyMap<number, VcpuHandler> = new Map<number, VcpuHandler>([
  [Vcpuop.initialise, initialise],
  [Vcpuop.up, up],
  [Vcpuop.down, down],
  [Vcpuop.is_up, isUp],
  [Vcpuop.get_runstate_info, getRunstateInfo],
  [Vcpuop.register_runstate_memory_area, registerRunstate],
  [Vcpuop.set_periodic_timer, setPeriodicTimer],
  [
    Vcpuop.stop_periodic_timer,
    (_call, target) => {
      target.timers.stopPeriodic();
      return 0;
    },
  ],
  [Vcpuop.set_singleshot_timer, setSingleshotTimer],
  [
    Vcpuop.stop_singleshot_timer,
    (call, target) => (target === call.vcpu ? target.timers.stopOneShot() : -Errno.EINVAL),
  ],
  [Vcpuop.register_vcpu_info, registerVcpuInfo],
  [
    Vcpuop.send_nmi,
    (call, target) => {
      if (arg(call, 2) !== 0n) return -Errno.EINVAL;
      target.kvm.nmi();
      return 0;
    },
  ],
  // A vCPU has a physical processor only where it cannot leave it.
  [Vcpuop.get_physid, () => -Errno.EINVAL],
  [Vcpuop.register_vcpu_time_memory_area, registerTime],
  [Vcpuop.register_runstate_phys_area, registerPhys("RUNSTATE_ADDR")],
  [Vcpuop.register_vcpu_time_phys_area, registerPhys("VCPU_TIME_INFO")],
]);

/** vcpu_op(cmd, vcpuid, arg). */
export const vcpuOp: Handler = (call) => {
  const target = call.domain.vcpus.get(u32(call.args[1]));
  if (target === undefined) return -Errno.ENOENT;
  return subOps.get(u32(call.args[0]))?.(call, target) ?? -Errno.ENOSYS;
};

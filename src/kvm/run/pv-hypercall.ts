import { kvm_clock_pairing } from "../../abi/kvm/index.js";
import { DeliveryMode, Gpr, KvmFeature } from "../../abi/x86/index.js";
import type { VcpuExit } from "../api/exits.js";
import type { VcpuState } from "../vcpu-state.js";

/** `KVM_HC_*` of `linux/kvm_para.h`. */
const Hypercall = {
  VAPIC_POLL_IRQ: 1,
  KICK_CPU: 5,
  CLOCK_PAIRING: 9,
  SEND_IPI: 10,
  SCHED_YIELD: 11,
  MAP_GPA_RANGE: 12,
} as const;

/** Results: `KVM_ENOSYS`, and errno values. */
const KVM_ENOSYS = -1000n;
const KVM_EPERM = -1n;
const KVM_EFAULT = -14n;
const KVM_EINVAL = -22n;
const KVM_EOPNOTSUPP = -95n;

/** `KVM_CLOCK_PAIRING_WALLCLOCK`. */
const WALLCLOCK = 0n;

/** ICR bits that KVM_HC_SEND_IPI refuses: shorthand and logical destination. */
const IPI_REFUSED = 0xc0800n;

const toU64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * A hypercall of KVM's own interface (Documentation/virt/kvm/x86/hypercalls.rst): the number in RAX,
 * arguments in RBX, RCX, RDX, RSI. @returns the result for RAX, or an exit.
 */
export function kvmHypercall(vcpu: VcpuState): bigint | VcpuExit {
  const { engine, cpuid } = vcpu;
  if (engine.cpl !== 0) return KVM_EPERM;
  const long = engine.longMode64;
  const argument = (register: number): bigint =>
    long ? engine.gpr(register) : engine.gpr(register) & 0xffffffffn;
  const nr = argument(Gpr.RAX);
  if (nr > 0xffn) return KVM_ENOSYS;
  switch (Number(nr)) {
    case Hypercall.VAPIC_POLL_IRQ:
      return 0n;
    case Hypercall.KICK_CPU:
      if (!cpuid.hasPvFeature(KvmFeature.PV_UNHALT)) return KVM_ENOSYS;
      kick(vcpu, Number(BigInt.asUintN(32, argument(Gpr.RCX))));
      return 0n;
    case Hypercall.CLOCK_PAIRING:
      return clockPairing(vcpu, argument(Gpr.RBX), argument(Gpr.RCX));
    case Hypercall.SEND_IPI:
      if (!cpuid.hasPvFeature(KvmFeature.PV_SEND_IPI)) return KVM_ENOSYS;
      return sendIpi(vcpu, [Gpr.RBX, Gpr.RCX, Gpr.RDX, Gpr.RSI].map(argument), long ? 64n : 32n);
    case Hypercall.SCHED_YIELD:
      if (!cpuid.hasPvFeature(KvmFeature.PV_SCHED_YIELD)) return KVM_ENOSYS;
      vcpu.yield();
      return 0n;
    case Hypercall.MAP_GPA_RANGE:
      return mapGpaRange(vcpu, argument(Gpr.RBX), argument(Gpr.RCX), argument(Gpr.RDX));
    default:
      return KVM_ENOSYS;
  }
}

/** Ends another vCPU's halt, and lets it go first. */
function kick(vcpu: VcpuState, apicId: number): void {
  vcpu.env.bus.deliver({
    vector: 0,
    deliveryMode: DeliveryMode.REMOTE_READ,
    logical: false,
    level: true,
    levelTriggered: false,
    destination: apicId,
  });
  vcpu.yield();
}

function clockPairing(vcpu: VcpuState, address: bigint, type: bigint): bigint {
  if (type !== WALLCLOCK) return KVM_EOPNOTSUPP;
  const { clock, access } = vcpu.env;
  const real = BigInt(Math.floor(clock.clock.realtimeNs()));
  const bytes = kvm_clock_pairing.encode({
    sec: real / 1_000_000_000n,
    nsec: real % 1_000_000_000n,
    tsc: vcpu.time.readTsc(),
  });
  if (address >= 1n << 52n || !access.write(Number(address), bytes)) return KVM_EFAULT;
  return 0n;
}

/** Arguments: two bitmaps of APIC ids, the id of the first bit, and an ICR. */
function sendIpi(vcpu: VcpuState, args: readonly bigint[], clusterBits: bigint): bigint {
  const [low = 0n, high = 0n, first = 0n, icr = 0n] = args;
  if ((icr & IPI_REFUSED) !== 0n) return KVM_EINVAL;
  const message = {
    vector: Number(icr & 0xffn),
    deliveryMode: Number((icr >> 8n) & 7n),
    logical: false,
    level: (icr & 0x4000n) !== 0n,
    levelTriggered: (icr & 0x8000n) !== 0n,
  };
  const min = first & 0xffffffffn;
  let count = 0n;
  for (const lapic of vcpu.env.bus.lapics) {
    const bit = BigInt(lapic.id) - min;
    const inLow = bit >= 0n && bit < 64n && ((low >> bit) & 1n) !== 0n;
    const beyond = bit - clusterBits;
    const inHigh = beyond >= 0n && beyond < 64n && ((high >> beyond) & 1n) !== 0n;
    for (const addressed of [inLow, inHigh]) {
      if (addressed && lapic.accept({ ...message, destination: lapic.id })) count++;
    }
  }
  return count;
}

function mapGpaRange(
  vcpu: VcpuState,
  gpa: bigint,
  pages: bigint,
  attributes: bigint,
): bigint | VcpuExit {
  const { settings } = vcpu.env;
  if ((settings.exitHypercalls & (1 << Hypercall.MAP_GPA_RANGE)) === 0) return KVM_ENOSYS;
  const frame = gpa >> 12n;
  const ends = toU64(frame + pages);
  if ((gpa & 0xfffn) !== 0n || pages === 0n || ends <= frame) return KVM_EINVAL;
  return {
    kind: "hypercall",
    nr: Hypercall.MAP_GPA_RANGE,
    args: [gpa, pages, attributes],
    longmode: vcpu.engine.longMode64,
    result: 0n,
  };
}

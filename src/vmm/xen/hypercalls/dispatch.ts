/**
 * The hypercall table. What is not in it answers -ENOSYS and is logged once: mmuext_op, argo_op (which Xen is built
 * without as a rule) and physdev_op (which a PVH domain does not have).
 */
import { struct, ulong } from "../../../abi/layout.js";
import { Hypercall } from "../../../abi/xen/xen.js";
import { Errno, type Gpa, type Gva } from "../../../base/index.js";
import type { VcpuExitXen } from "../../../kvm/api/index.js";
import type { Domain, DomainVcpu } from "../domain.js";
import { GuestAccess } from "../guest-access.js";
import { arg, type Call, Continuation, type Handler, type Result, u32 } from "./call.js";
import { Effort } from "./effort.js";
import { eventChannelOp } from "./event-channel-op.js";
import { grantTableOp } from "./grant-table-op.js";
import { hvmOp } from "./hvm-op.js";
import { memoryOp } from "./memory-op.js";
import { dmOp, domctl, hypfsOp, platformOp, sysctl, xenpmuOp } from "./privileged-ops.js";
import { schedOp } from "./sched-op.js";
import { consoleIo, setTimerOp, vmAssist } from "./small-ops.js";
import { vcpuOp } from "./vcpu-op.js";
import { xenVersion } from "./xen-version.js";

const table: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [Hypercall.platform_op, platformOp],
  [Hypercall.memory_op, memoryOp],
  [Hypercall.set_timer_op, setTimerOp],
  [Hypercall.xen_version, xenVersion],
  [Hypercall.console_io, consoleIo],
  [Hypercall.grant_table_op, grantTableOp],
  [Hypercall.vm_assist, vmAssist],
  [Hypercall.vcpu_op, vcpuOp],
  [Hypercall.sched_op, schedOp],
  [Hypercall.event_channel_op, eventChannelOp],
  [Hypercall.hvm_op, hvmOp],
  [Hypercall.sysctl, sysctl],
  [Hypercall.domctl, domctl],
  [Hypercall.xenpmu_op, xenpmuOp],
  [Hypercall.dm_op, dmOp],
  [Hypercall.hypfs_op, hypfsOp],
]);

const names = new Map<number, string>(Object.entries(Hypercall).map(([name, nr]) => [nr, name]));

/** `struct multicall_entry`. */
const multicall_entry = struct("multicall_entry", {
  op: ulong,
  result: ulong,
  arg0: ulong,
  arg1: ulong,
  arg2: ulong,
  arg3: ulong,
  arg4: ulong,
  arg5: ulong,
});
/** Names of the arguments of a continuation in an entry. */
function entryArguments({ args }: Continuation): Record<string, bigint> {
  return Object.fromEntries(args.map((value, i) => [`arg${i}`, value]));
}

/** Answers the hypercalls of one domain. */
export class Hypercalls {
  readonly #domain: Domain;
  readonly #logged = new Set<string>();

  constructor(domain: Domain) {
    this.#domain = domain;
  }

  /**
   * Carries out the hypercall of an exit.
   * @returns what belongs into the exit's `result`, or how the rest is to be asked for
   * ({@link continueCall}).
   */
  dispatch(vcpu: DomainVcpu, exit: VcpuExitXen): bigint | Continuation {
    if (exit.cpl > 0) return BigInt(-Errno.EPERM);
    const domain = this.#domain;
    const { physmap } = domain;
    const translate = (address: Gva): Gpa | undefined => {
      const at = vcpu.kvm.translate(address);
      if (at !== undefined) physmap.settle(at);
      return at;
    };
    const effort = new Effort(physmap);
    const guest = new GuestAccess(domain.memory, translate, exit.longmode ? 64 : 32);
    const nr = u32(exit.input);
    const call: Call = { domain, vcpu, guest, args: exit.params, effort };
    const result = nr === Hypercall.multicall ? this.#multicall(call) : this.#call(nr, call);
    const work = effort.units + domain.takeWork();
    if (work > 0) vcpu.kvm.charge?.(work);
    return result instanceof Continuation ? result : BigInt(result);
  }

  #call(nr: number, call: Call): Result {
    const handler = table.get(nr);
    const result = handler?.(call) ?? -Errno.ENOSYS;
    if (Number(result) === -Errno.ENOSYS) this.#logOnce(nr, handler !== undefined, call);
    return result;
  }

  /** A call that is to be continued is changed in the list, and is the first of the rest then. */
  #multicall(call: Call): Result {
    const { guest, effort } = call;
    const list = arg(call, 0);
    const count = u32(call.args[1]);
    const size = multicall_entry.of(guest.width).size;
    const from = (i: number): Continuation =>
      new Continuation([list + BigInt(i * size), BigInt(count - i)]);
    for (let i = 0; i < count; i++) {
      if (i > 0 && effort.isEnough) return from(i);
      effort.add(1);
      const at = list + BigInt(i * size);
      const entry = guest.readStruct(at, multicall_entry);
      if (entry === undefined) return -Errno.EFAULT;
      const args = [entry.arg0, entry.arg1, entry.arg2, entry.arg3, entry.arg4, entry.arg5];
      const nr = u32(entry.op);
      // A multicall inside a multicall is refused.
      const result = nr === Hypercall.multicall ? -Errno.EINVAL : this.#call(nr, { ...call, args });
      const isDone = !(result instanceof Continuation);
      const changes = isDone ? { result: BigInt(result) } : entryArguments(result);
      if (!guest.writeStruct(at, multicall_entry, { ...entry, ...changes })) return -Errno.EFAULT;
      if (!isDone) return from(i);
    }
    return 0;
  }

  #logOnce(nr: number, known: boolean, call: Call): void {
    const name = names.get(nr) ?? `number ${nr}`;
    const what = known ? `${name} sub-operation ${u32(call.args[0])}` : name;
    if (this.#logged.has(what) || this.#logged.size >= 256) return;
    this.#logged.add(what);
    const text = `hypercall ${what} is not there (-ENOSYS)`;
    // Guests try sub-operations out, and go on without; a whole hypercall is rarer.
    if (known) this.#domain.log.debug(text);
    else this.#domain.log.warn(text);
  }
}

import { KvmXenHvmConfig } from "../../abi/kvm/index.js";
import { Gpr } from "../../abi/x86/index.js";
import {
  EVTCHNOP_send,
  KvmXenHypercall,
  SCHED_POLL_64,
  SCHED_POLL_COMPAT,
  SCHED_POLL_MAX_PORTS,
  SCHEDOP_poll,
  SCHEDOP_yield,
  SINGLESHOT_SIZE_64,
  SINGLESHOT_SIZE_COMPAT,
  SINGLESHOT_TIMEOUT,
  VCPUOP_set_singleshot_timer,
  VCPUOP_stop_singleshot_timer,
  XENVER_version,
} from "../../abi/xen/kvm-hypercalls.js";
import { Errno, type EvtchnPort, evtchnPort } from "../../base/index.js";
import type { EngineVcpu } from "../../engine/bridge/port.js";
import { TraceBy, TraceTarget } from "../../ports/index.js";
import type { HypercallOutcome } from "../hooks.js";
import { Delivery, deliver, isPending } from "./delivery.js";
import type { Domain } from "./domain.js";
import { armPoll, startPoll } from "./poll.js";
import { startTimer, stopTimer } from "./timer.js";
import type { VcpuDomain } from "./vcpu-domain.js";

const LONG_ARGS = [Gpr.RDI, Gpr.RSI, Gpr.RDX, Gpr.R10, Gpr.R8, Gpr.R9] as const;
const COMPAT_ARGS = [Gpr.RBX, Gpr.RCX, Gpr.RDX, Gpr.RSI, Gpr.RDI, Gpr.RBP] as const;

type Params = readonly [bigint, bigint, bigint, bigint, bigint, bigint];

const EFAULT = BigInt(-Errno.EFAULT);
const EINVAL = BigInt(-Errno.EINVAL);

/** Work of looking at a polled port. */
const PORT_COST = 4;

/** One tick of the host's timer wheel, which rounds poll timeouts: HZ is 250. */
const JIFFY_NS = 4_000_000;

/** Low 32 bits as the C int that sub-operation numbers are. */
const int = (value: bigint): number => Number(BigInt.asIntN(32, value));

/** A VMCALL or VMMCALL of the guest while hypercalls are intercepted. */
export function hypercall(domain: Domain, vcpu: VcpuDomain): HypercallOutcome {
  const { engine } = vcpu.host;
  const { longMode64: longmode, cpl } = engine;
  const { trace } = domain.host;
  const args = longmode ? LONG_ARGS : COMPAT_ARGS;
  if (cpl === 0 && (!longmode || engine.gprHigh(Gpr.RAX) === 0)) {
    if (trace !== undefined) trace.hypercall(vcpu.host.id, engine, args, longmode);
    const result = answer(domain, vcpu, engine.gprLow(Gpr.RAX), longmode);
    if (typeof result === "number") engine.setGprNumber(Gpr.RAX, result);
    else if (result !== undefined) engine.setGpr(Gpr.RAX, BigInt.asUintN(64, result));
    if (result !== undefined) {
      if (trace !== undefined) {
        const [low, high] = [engine.gprLow(Gpr.RAX), engine.gprHigh(Gpr.RAX)];
        trace.answered(vcpu.host.id, TraceBy.KVM, low, high);
      }
      return "done";
    }
  } else if (trace !== undefined) trace.hypercall(vcpu.host.id, engine, args, longmode);
  const { input, params } = readCall(engine, longmode);
  return { kind: "xen", longmode, cpl, input, params, result: 0n };
}

interface Call {
  readonly longmode: boolean;
  readonly input: bigint;
  readonly params: Params;
}

function readCall(engine: EngineVcpu, longmode: boolean): Call {
  const read = (reg: number): bigint =>
    longmode ? engine.gpr(reg) : BigInt.asUintN(32, engine.gpr(reg));
  const params = (longmode ? LONG_ARGS : COMPAT_ARGS).map(read) as unknown as Params;
  return { longmode, input: read(Gpr.RAX), params };
}

/** The result of a hypercall that KVM answers itself, undefined for the client's. */
function answer(
  domain: Domain,
  vcpu: VcpuDomain,
  input: number,
  longmode: boolean,
): number | bigint | undefined {
  // First, and without the others: guests send events all the time.
  if (input === KvmXenHypercall.EVENT_CHANNEL_OP) return evtchnOp(domain, vcpu, longmode);
  return answerOther(domain, vcpu, input, longmode);
}

function answerOther(
  domain: Domain,
  vcpu: VcpuDomain,
  input: number,
  longmode: boolean,
): number | bigint | undefined {
  switch (input) {
    case KvmXenHypercall.XEN_VERSION: {
      const { params } = readCall(vcpu.host.engine, longmode);
      if (params[0] !== BigInt(XENVER_version) || domain.xenVersion === 0) return undefined;
      return domain.xenVersion;
    }
    case KvmXenHypercall.SCHED_OP:
      return schedOp(domain, vcpu, readCall(vcpu.host.engine, longmode));
    case KvmXenHypercall.VCPU_OP:
      if (vcpu.timerPort === 0) return undefined;
      return vcpuOp(domain, vcpu, readCall(vcpu.host.engine, longmode));
    case KvmXenHypercall.SET_TIMER_OP: {
      if (vcpu.timerPort === 0) return undefined;
      const { params } = readCall(vcpu.host.engine, longmode);
      const timeout = longmode ? params[0] : params[0] | (params[1] << 32n);
      if (timeout === 0n) stopTimer(domain, vcpu);
      else startTimer(domain, vcpu, timeout, true);
      return 0;
    }
    default:
      return undefined;
  }
}

function readGuest(
  domain: Domain,
  vcpu: VcpuDomain,
  address: bigint,
  length: number,
): DataView | undefined {
  const bytes = domain.host.access.readVirtual(vcpu.host.engine, address, length);
  return bytes === undefined ? undefined : new DataView(bytes.buffer);
}

/** EVTCHNOP_send to a port in the table; anything else is the client's. */
function evtchnOp(domain: Domain, vcpu: VcpuDomain, longmode: boolean): number | undefined {
  const { engine } = vcpu.host;
  const args = longmode ? LONG_ARGS : COMPAT_ARGS;
  if (engine.gprLow(args[0]) !== EVTCHNOP_send) return undefined;
  if (longmode && engine.gprHigh(args[0]) !== 0) return undefined;
  const high = longmode ? engine.gprHigh(args[1]) : 0;
  const port = domain.host.access.readVirtualU32(engine, engine.gprLow(args[1]), high);
  if (port === undefined) return -Errno.EFAULT;
  const entry = domain.evtchns.get(port);
  if (entry === undefined) return undefined;
  const { trace } = domain.host;
  if ("eventfd" in entry) {
    if (trace !== undefined) {
      trace.sent(vcpu.host.id, TraceBy.KVM, port, TraceTarget.EVENTFD, 0, 0);
    }
    entry.eventfd.signal();
    return 0;
  }
  if (trace !== undefined) {
    trace.sent(vcpu.host.id, TraceBy.KVM, port, TraceTarget.PORT, entry.port, entry.vcpu);
  }
  const result = deliver(domain, entry.port, entry.vcpu);
  return result < 0 && result !== Delivery.MASKED ? undefined : 0;
}

function schedOp(domain: Domain, vcpu: VcpuDomain, call: Call): bigint | undefined {
  const op = int(call.params[0]);
  if (op === SCHEDOP_poll) {
    const promised = (domain.flags & KvmXenHvmConfig.EVTCHN_SEND) !== 0;
    if (promised && domain.host.irqchip !== "none") return poll(domain, vcpu, call);
  } else if (op !== SCHEDOP_yield) return undefined;
  vcpu.host.yield();
  return 0n;
}

function poll(domain: Domain, vcpu: VcpuDomain, call: Call): bigint {
  const layout = call.longmode ? SCHED_POLL_64 : SCHED_POLL_COMPAT;
  const request = readGuest(domain, vcpu, call.params[1], layout.size);
  if (request === undefined) return EFAULT;
  const address = call.longmode
    ? request.getBigUint64(layout.ports, true)
    : BigInt(request.getUint32(layout.ports, true));
  const count = request.getUint32(layout.nrPorts, true);
  const timeout = request.getBigUint64(layout.timeout, true);
  if (count > SCHED_POLL_MAX_PORTS) return EINVAL;
  vcpu.host.charge(count * PORT_COST);
  const list = readGuest(domain, vcpu, address, count * 4);
  if (list === undefined) return EFAULT;
  const ports: EvtchnPort[] = [];
  for (let i = 0; i < count; i++) ports.push(evtchnPort(list.getUint32(i * 4, true)));
  if (ports.some((port) => port >= domain.layout.ports)) return EINVAL;
  // An event that cannot be looked at counts as there: a spurious return is harmless.
  if (ports.some((port) => isPending(domain, port) !== false)) return 0n;
  if (isPending(domain, evtchnPort(0)) === undefined) return 0n;
  const { clock } = domain.host;
  const port = count === 1 ? (ports[0] as number) : -1;
  startPoll(vcpu, port);
  if (timeout !== 0n) armPoll(domain, vcpu, pollDeadline(clock.nowNs(), timeout));
  return 0n;
}

/** KVM takes the timeout as relative and lets its timer wheel round it. */
function pollDeadline(nowNs: number, timeoutNs: bigint): number {
  const jiffies = Math.floor(nowNs / JIFFY_NS);
  return (jiffies + Math.max(1, Math.floor(Number(timeoutNs) / JIFFY_NS))) * JIFFY_NS;
}

function vcpuOp(domain: Domain, vcpu: VcpuDomain, call: Call): bigint | undefined {
  const op = int(call.params[0]);
  if (op !== VCPUOP_set_singleshot_timer && op !== VCPUOP_stop_singleshot_timer) return undefined;
  if (Number(BigInt.asUintN(32, call.params[1])) !== vcpu.xenId) return EINVAL;
  if (op === VCPUOP_stop_singleshot_timer) {
    stopTimer(domain, vcpu);
    return 0n;
  }
  const size = call.longmode ? SINGLESHOT_SIZE_64 : SINGLESHOT_SIZE_COMPAT;
  const request = readGuest(domain, vcpu, call.params[2], size);
  if (request === undefined) return EFAULT;
  startTimer(domain, vcpu, request.getBigUint64(SINGLESHOT_TIMEOUT, true), false);
  return 0n;
}

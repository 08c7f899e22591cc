/**
 * event_channel_op (Xen's `public/event_channel.h`). FIFO event channels are not here: init_control answers as a
 * Xen before 4.4, and its two companions as Xen does while nobody has switched to FIFO.
 */

import type { Fields, Inputs, Struct, Values } from "../../../abi/layout.js";
import {
  Evtchnop,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_ipi,
  evtchn_bind_pirq,
  evtchn_bind_vcpu,
  evtchn_bind_virq,
  evtchn_expand_array,
  evtchn_port,
  evtchn_reset,
  evtchn_set_priority,
  evtchn_status,
} from "../../../abi/xen/event-channel.js";
import { DOMID_SELF } from "../../../abi/xen/xen.js";
import { Errno, evtchnPort, xenVcpuId } from "../../../base/index.js";
import { TraceBy } from "../../../ports/index.js";
import { answerTo, arg, type Call, type Handler, type SubOps, u32 } from "./call.js";

/** Reads the argument structure, or answers -EFAULT. */
function withStruct<F extends Fields>(
  layout: Struct<F>,
  run: (call: Call, value: Values<F>) => number,
): Handler {
  return (call) => {
    const value = call.guest.readStruct(arg(call, 1), layout);
    return value === undefined ? -Errno.EFAULT : run(call, value);
  };
}

/** Writes the structure back with the new port in it; the port stays even if that fails. */
function answer<F extends Fields>(
  call: Call,
  layout: Struct<F>,
  port: number,
  value: (port: number) => Inputs<F>,
): number {
  if (port < 0) return port;
  return answerTo(call, arg(call, 1), layout, value(port));
}

const remote = (call: Call, domid: number): number =>
  domid === DOMID_SELF ? call.domain.domid : domid;

const allocUnbound = withStruct(evtchn_alloc_unbound, (call, value) => {
  if (!call.domain.isSelf(value.dom)) return -Errno.ESRCH;
  const made = call.domain.ports.allocUnbound(remote(call, value.remote_dom));
  return answer(call, evtchn_alloc_unbound, made, (port) => ({ ...value, port }));
});

const bindInterdomain = withStruct(evtchn_bind_interdomain, (call, value) => {
  const { remote_dom, remote_port } = value;
  const made = call.domain.ports.bindInterdomain(remote(call, remote_dom), remote_port);
  return answer(call, evtchn_bind_interdomain, made, (local_port) => ({ ...value, local_port }));
});

const bindVirq = withStruct(evtchn_bind_virq, (call, value) => {
  const made = call.domain.ports.bindVirq(value.virq, xenVcpuId(value.vcpu));
  return answer(call, evtchn_bind_virq, made, (port) => ({ ...value, port }));
});

const bindIpi = withStruct(evtchn_bind_ipi, (call, value) => {
  const made = call.domain.ports.bindIpi(xenVcpuId(value.vcpu));
  return answer(call, evtchn_bind_ipi, made, (port) => ({ ...value, port }));
});

const bindPirq = withStruct(evtchn_bind_pirq, (call, value) => {
  const made = call.domain.ports.bindPirq(value.pirq);
  return answer(call, evtchn_bind_pirq, made, (port) => ({ ...value, port }));
});

/** There is no event array as long as 2-level ports are in use. */
const expandArray = withStruct(evtchn_expand_array, () => -Errno.EOPNOTSUPP);

/** 2-level ports have no priorities. */
const setPriority = withStruct(evtchn_set_priority, (call, { port }) =>
  call.domain.ports.status(evtchnPort(port)) === undefined ? -Errno.EINVAL : -Errno.ENOSYS,
);

const status = withStruct(evtchn_status, (call, value) => {
  if (!call.domain.isSelf(value.dom)) return -Errno.ESRCH;
  const found = call.domain.ports.status(evtchnPort(value.port));
  if (found === undefined) return -Errno.EINVAL;
  const filled = { ...value, status: found.status, vcpu: found.vcpu, u: found.u };
  return answerTo(call, arg(call, 1), evtchn_status, filled);
});

const reset = withStruct(evtchn_reset, (call, value) => {
  if (!call.domain.isSelf(value.dom)) return -Errno.ESRCH;
  call.domain.ports.reset();
  return 0;
});

function send({ domain, vcpu }: Call, { port: number }: { readonly port: number }): number {
  const port = evtchnPort(number);
  const { trace } = domain;
  if (trace !== undefined) {
    trace.sent(vcpu.kvm.id, TraceBy.MONITOR, port, domain.ports.target(port), 0, 0);
  }
  return domain.ports.send(port);
}

function unmask({ domain, vcpu }: Call, { port: number }: { readonly port: number }): number {
  const port = evtchnPort(number);
  const { trace } = domain;
  if (trace !== undefined) trace.unmasked(vcpu.kvm.id, port);
  return domain.ports.unmask(port);
}

const subOps: SubOps = new Map<number, Handler>([
  [Evtchnop.bind_interdomain, bindInterdomain],
  [Evtchnop.bind_virq, bindVirq],
  [Evtchnop.bind_pirq, bindPirq],
  [
    Evtchnop.close,
    withStruct(evtchn_port, (call, { port }) => call.domain.ports.close(evtchnPort(port))),
  ],
  [Evtchnop.send, withStruct(evtchn_port, send)],
  [Evtchnop.status, status],
  [Evtchnop.alloc_unbound, allocUnbound],
  [Evtchnop.bind_ipi, bindIpi],
  [
    Evtchnop.bind_vcpu,
    withStruct(evtchn_bind_vcpu, (call, { port, vcpu }) =>
      call.domain.ports.bindVcpu(evtchnPort(port), xenVcpuId(vcpu)),
    ),
  ],
  [Evtchnop.unmask, withStruct(evtchn_port, unmask)],
  [Evtchnop.reset, reset],
  [Evtchnop.expand_array, expandArray],
  [Evtchnop.set_priority, setPriority],
]);

/** event_channel_op(cmd, arg). */
export const eventChannelOp: Handler = (call) =>
  subOps.get(u32(call.args[0]))?.(call) ?? -Errno.ENOSYS;

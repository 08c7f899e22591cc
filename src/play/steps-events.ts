import { Errno } from "../base/index.js";
import {
  KVM_IRQFD,
  KVM_SET_GSI_ROUTING,
  KVM_XEN_HVM_EVTCHN_SEND,
  KvmIrqRoutingType,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_irq_routing_xen_evtchn,
  kvm_irqfd,
} from "../kvm/index.js";
import { evtchnFdAttribute } from "./attributes.js";
import { argument } from "./client.js";
import { answer } from "./format.js";
import { scanFields, strtou32, strtoul } from "./numbers.js";
import type { VmStep } from "./steps-vm.js";

/** `KVM_IRQFD_FLAG_DEASSIGN`. */
const IRQFD_DEASSIGN = 1;

/** How long `signal` waits, so that the kernel has passed the signal on. */
const SIGNAL_NS = 2_000_000;

const evtchnSend: VmStep = (client, words) => {
  const [port, vcpu, priority] = [1, 2, 3].map((at) => strtou32(argument(client, words, at)));
  const arg = kvm_irq_routing_xen_evtchn.encode({ port, vcpu, priority });
  return answer(client.callWith(client.vm, KVM_XEN_HVM_EVTCHN_SEND, arg));
};

const evtchnFd: VmStep = (client, words) => {
  const [sendPort = 0, type = 0, flags = 0] = [1, 2, 3].map((at) =>
    strtou32(argument(client, words, at)),
  );
  const fd = client.eventfd(argument(client, words, 4));
  return answer(evtchnFdAttribute(client, { sendPort, type, flags, fd }));
};

const eventfd: VmStep = (client, words) => {
  const at = Number(strtoul(argument(client, words, 1)) % BigInt(client.eventfds.length));
  client.eventfds[at] = Math.max(client.process.createEventfd(), -1);
  return answer(0);
};

const signal: VmStep = (client, words) => {
  const fd = client.process.eventfdOf(client.eventfd(argument(client, words, 1)));
  fd?.signal();
  client.time.pass(SIGNAL_NS);
  return answer(fd === undefined ? -Errno.EBADF : 0);
};

const drain: VmStep = (client, words) => {
  const fd = client.process.eventfdOf(client.eventfd(argument(client, words, 1)));
  if (fd === undefined) return answer(-Errno.EBADF);
  const count = fd.read();
  return answer(count === 0n ? -Errno.EAGAIN : count);
};

const irqfd: VmStep = (client, words) => {
  const arg = kvm_irqfd.encode({
    fd: client.eventfd(argument(client, words, 1)) >>> 0,
    gsi: strtou32(argument(client, words, 2)),
    flags: words[3] === undefined ? 0 : IRQFD_DEASSIGN,
  });
  return answer(client.callWith(client.vm, KVM_IRQFD, arg));
};

const routing: VmStep = (client, words) => {
  const routes = words.slice(1);
  const head = kvm_irq_routing.encode({ nr: routes.length });
  const bytes = new Uint8Array(head.length + routes.length * kvm_irq_routing_entry.size);
  bytes.set(head);
  // What a route leaves out is what the one before it said.
  let last: readonly number[] = [0, 0, 0];
  for (const [i, route] of routes.entries()) {
    const [gsi = 0, ...rest] = scanFields(route, 10, 4);
    last = last.map((before, at) => rest[at] ?? before);
    const [port, vcpu, priority] = last;
    const entry = kvm_irq_routing_entry.encode({
      gsi,
      type: KvmIrqRoutingType.XEN_EVTCHN,
      u: { xen_evtchn: { port, vcpu, priority } },
    });
    bytes.set(entry, head.length + i * entry.length);
  }
  return answer(client.callWith(client.vm, KVM_SET_GSI_ROUTING, bytes));
};

/** Steps about event channels and what signals them, by name. */
export const eventSteps: ReadonlyMap<string, VmStep> = new Map(
  Object.entries({
    evtchn_send: evtchnSend,
    evtchn_fd: evtchnFd,
    eventfd,
    signal,
    drain,
    irqfd,
    routing,
  }),
);

import { Pvclock } from "../abi/xen/pvclock.js";
import { Errno } from "../base/index.js";
import {
  KVM_GET_LAPIC,
  KVM_GET_VCPU_EVENTS,
  KVM_INTERRUPT,
  KVM_IRQ_LINE_STATUS,
  KVM_NMI,
  KVM_RUN,
  KVM_SET_CLOCK,
  KVM_SET_GSI_ROUTING,
  KVM_SET_LAPIC,
  KVM_SIGNAL_MSI,
  kvm_clock_data,
  kvm_interrupt,
  kvm_irq_level,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_lapic_state,
  kvm_msi,
  kvm_run,
  kvm_vcpu_events,
} from "../kvm/index.js";
import { argument } from "./client.js";
import { answer } from "./format.js";
import { migrate } from "./migrate.js";
import { mode16Step, modeStep } from "./mode.js";
import { scanFields, strtou32, strtoul } from "./numbers.js";
import type { VcpuStep } from "./steps-vcpu.js";
import type { VmStep } from "./steps-vm.js";

/** Fields of a route: its GSI, its type, and three words of the union. */
const ROUTE_FIELDS = 5;

const route: VmStep = (client, words) => {
  const routes = words.slice(1);
  const head = kvm_irq_routing.encode({ nr: routes.length });
  const bytes = new Uint8Array(head.length + routes.length * kvm_irq_routing_entry.size);
  bytes.set(head);
  for (const [i, text] of routes.entries()) {
    const [gsi, type, ...rest] = scanFields(text, 10, ROUTE_FIELDS);
    const entry = kvm_irq_routing_entry.encode({ gsi, type, u: { pad: rest } });
    bytes.set(entry, head.length + i * entry.length);
  }
  return answer(client.callWith(client.vm, KVM_SET_GSI_ROUTING, bytes));
};

const irqline: VmStep = (client, words) => {
  const bytes = kvm_irq_level.encode({
    $line: { irq: strtou32(argument(client, words, 1)) },
    level: strtou32(argument(client, words, 2)),
  });
  const result = client.callWith(client.vm, KVM_IRQ_LINE_STATUS, bytes);
  if (result !== 0) return answer(result);
  return `${answer(result)} status=${kvm_irq_level.decode(bytes).$line.status}`;
};

const msi: VmStep = (client, words) => {
  const bytes = kvm_msi.encode({
    address_lo: strtou32(argument(client, words, 1)),
    data: strtou32(argument(client, words, 2)),
  });
  return answer(client.callWith(client.vm, KVM_SIGNAL_MSI, bytes));
};

const clock: VmStep = (client, words) => {
  const bytes = kvm_clock_data.encode({ clock: strtoul(argument(client, words, 1)) });
  return answer(client.callWith(client.vm, KVM_SET_CLOCK, bytes));
};

const pvclock: VmStep = (client, words) => {
  const at = client.addressOf(strtoul(argument(client, words, 1)));
  if (at === 0n) return answer(-Errno.EFAULT);
  const bytes = client.load(at, Pvclock.SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const version = view.getUint32(Pvclock.VERSION, true);
  const written = version !== 0 && view.getUint32(Pvclock.TSC_TO_SYSTEM_MUL, true) !== 0;
  return ` = ${version & 1 ? "odd" : "even"} ${written ? "written" : "empty"}`;
};

/** More steps about the VM, by name. */
export const moreVmSteps: ReadonlyMap<string, VmStep> = new Map(
  Object.entries({ route, irqline, msi, clock, pvclock, migrate }),
);

const finish: VcpuStep = async (client, vcpu) => {
  const immediateExit = kvm_run.offset("immediate_exit");
  vcpu.run?.fill(1, immediateExit, immediateExit + 1);
  const result = await client.process.ioctl(vcpu.fd, KVM_RUN, 0n);
  vcpu.run?.fill(0, immediateExit, immediateExit + 1);
  return answer(result);
};

const events: VcpuStep = (client, vcpu) => {
  const bytes = new Uint8Array(kvm_vcpu_events.size);
  const result = client.callWith(vcpu.fd, KVM_GET_VCPU_EVENTS, bytes);
  if (result !== 0) return answer(result);
  const { exception, interrupt, nmi } = kvm_vcpu_events.decode(bytes);
  const faulted = exception.injected | exception.pending;
  const texts = [
    `exception=${faulted}/${faulted ? exception.nr : 0}`,
    `interrupt=${interrupt.injected}/${interrupt.injected ? interrupt.nr : 0}`,
    `shadow=${interrupt.shadow}`,
    `nmi=${nmi.injected}/${nmi.pending}/${nmi.masked}`,
  ];
  return `${answer(result)} ${texts.join(" ")}`;
};

const lapic: VcpuStep = (client, vcpu, { words }) => {
  const bytes = new Uint8Array(kvm_lapic_state.size);
  const at = strtou32(argument(client, words, 2)) & 0x3fc;
  const view = new DataView(bytes.buffer);
  let result = client.callWith(vcpu.fd, KVM_GET_LAPIC, bytes);
  const value = words[3];
  if (value === undefined) {
    return answer(result) + (result === 0 ? ` ${view.getUint32(at, true).toString(16)}` : "");
  }
  if (result === 0) {
    view.setUint32(at, strtou32(value), true);
    result = client.callWith(vcpu.fd, KVM_SET_LAPIC, bytes);
  }
  return answer(result);
};

const interrupt: VcpuStep = (client, vcpu, { words }) => {
  const bytes = kvm_interrupt.encode({ irq: strtou32(argument(client, words, 2)) });
  return answer(client.callWith(vcpu.fd, KVM_INTERRUPT, bytes));
};

/** More steps about a vCPU, by name. */
export const moreVcpuSteps: ReadonlyMap<string, VcpuStep> = new Map<string, VcpuStep>([
  ["compat", (client, vcpu) => modeStep(client, vcpu, "compat", 0)],
  ["mode16", mode16Step],
  ["finish", finish],
  ["events", events],
  ["lapic", lapic],
  ["nmi", (client, vcpu) => answer(client.call(vcpu.fd, KVM_NMI, 0n))],
  ["interrupt", interrupt],
]);

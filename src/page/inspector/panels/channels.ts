/** Event channels: the way of an event to each vCPU, and who is bound to what. */
import { Evtchnstat } from "../../../abi/xen/event-channel.js";
import { sharedInfoLayout } from "../../../abi/xen/shared-info.js";
import { VcpuInfo } from "../../../abi/xen/vcpu-info.js";
import { Virq } from "../../../abi/xen/xen.js";
import type { VmView } from "../../../inspect/protocol.js";
import type { XenVcpuView } from "../../../kvm/index.js";
import { asText } from "../../../trace/index.js";
import { count, el, hex, setText, Table } from "../dom.js";
import { type Panel, type PanelContext, vmName } from "../panel.js";

export const parts = {};

const virqs = new Map<number, string>(Object.entries(Virq).map(([name, nr]) => [nr, name]));
const stats = new Map<number, string>(Object.entries(Evtchnstat).map(([name, nr]) => [nr, name]));

/** A bit of a bitmap of a shared page. */
const bit = (bytes: Uint8Array, base: number, index: number): boolean =>
  (((bytes[base + (index >> 3)] ?? 0) >> (index & 7)) & 1) !== 0;

/** What a port is bound to, in words. */
function boundTo({ kvm, domain }: VmView, port: number): string {
  const own = domain?.ports.find((one) => one.port === port);
  switch (own?.state) {
    case "virq":
      return `VIRQ ${virqs.get(own.to) ?? own.to}`;
    case "pirq":
      return `PIRQ ${own.to}`;
    case "ipi":
      return "IPI";
    case "loopback":
      return `port ${own.to}`;
    case "backend":
      return `backend, its port ${own.to}`;
    case "unbound":
      return `nobody yet, for domain ${own.to}`;
    case undefined: {
      const route = kvm.evtchns.find(({ sendPort }) => sendPort === port);
      if (route === undefined) return "?";
      const target = route.to === undefined ? "eventfd" : `port ${route.to.port}`;
      return `${stats.get(route.type) ?? route.type}, ${target}`;
    }
  }
}

/** Ports that there are: the table of the user half; else what KVM and the shared page tell. */
function portsOf({ kvm, domain }: VmView): { port: number; vcpu: string }[] {
  if (domain !== undefined) {
    return domain.ports.map(({ port, vcpu }) => ({ port, vcpu: String(vcpu) }));
  }
  const ports = new Map(
    kvm.evtchns.map(({ sendPort, to }) => [sendPort, to === undefined ? "" : String(to.vcpu)]),
  );
  const bytes = kvm.sharedInfo?.bytes;
  const layout = sharedInfoLayout(kvm.longMode);
  for (let port = 1; bytes !== undefined && port < layout.ports; port++) {
    // A port that is not masked is in use.
    const used = bit(bytes, layout.evtchnPending, port) || !bit(bytes, layout.evtchnMask, port);
    if (used && kvm.evtchns.length > 0 && !ports.has(port)) ports.set(port, "");
  }
  for (const { timer, id } of kvm.vcpus) if (timer.port !== 0) ports.set(timer.port, String(id));
  return [...ports].sort(([a], [b]) => a - b).map(([port, vcpu]) => ({ port, vcpu }));
}

/** The row of a vCPU. */
function vcpuCells({ kvm }: VmView, vcpu: XenVcpuView): string[] {
  const info = vcpu.vcpuInfo?.bytes;
  const vector = vcpu.upcallVector || kvm.upcallVector;
  const how = vcpu.upcallVector !== 0 ? ", its own" : "";
  const { pollPort } = vcpu;
  const polls = pollPort === undefined ? "" : pollPort < 0 ? "several" : `port ${pollPort}`;
  const rest = [vector === 0 ? "none" : `${vector}${how}`, polls];
  if (info === undefined) return ["no vcpu_info", "", "", ...rest];
  const data = new DataView(info.buffer, info.byteOffset);
  const selector = kvm.longMode
    ? data.getBigUint64(VcpuInfo.EVTCHN_PENDING_SEL_64, true)
    : data.getUint32(VcpuInfo.EVTCHN_PENDING_SEL_COMPAT, true);
  return [
    String(info[VcpuInfo.EVTCHN_UPCALL_PENDING]),
    String(info[VcpuInfo.EVTCHN_UPCALL_MASK]),
    hex(selector),
    ...rest,
  ];
}

/** Pending and mask bit of a port. */
function portBits({ kvm }: VmView, port: number): string[] {
  const bytes = kvm.sharedInfo?.bytes;
  if (bytes === undefined) return ["no shared_info", ""];
  const layout = sharedInfoLayout(kvm.longMode);
  const state = (base: number): string => (bit(bytes, base, port) ? "1" : "0");
  return [state(layout.evtchnPending), state(layout.evtchnMask)];
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const vcpus = new Table(
    "The way of an event to each vCPU",
    ["vCPU", "upcall pending", "upcall mask", "selector", "vector", "polls"],
    true,
  );
  const ports = new Table(
    "Ports",
    ["port", "bound to", "vCPU", "pending", "masked", "events", "per s"],
    true,
  );
  const history = el("pre", { tabindex: "0", "aria-label": "History of a port" });
  const title = el("h3", {}, "Press a port for its history");
  host.append(vcpus.element, ports.element, title, history);
  let picked: string | undefined;
  let before = new Map<string, number>();
  let beforeTime = 0;

  function showHistory(): void {
    if (picked === undefined) return;
    const [vm = 0, port = 0] = picked.split(":").map(Number);
    const events = model.historyOf(vm, port)?.events ?? [];
    setText(title, `Port ${port}: what happened last`);
    const lines = events.slice(-40).map(asText).join("\n");
    setText(history, lines || "nothing since a panel was opened");
  }

  function pick(key: string): void {
    picked = key;
    showHistory();
  }

  return {
    update() {
      const { view } = model;
      if (view === undefined) return;
      const name = (one: VmView) => vmName(one, view.vms.length);
      vcpus.show(
        view.vms.flatMap((one) =>
          one.kvm.vcpus.map((vcpu) => ({
            key: `${one.vm}:${vcpu.id}`,
            cells: [`${name(one)}${vcpu.id}`, ...vcpuCells(one, vcpu)],
          })),
        ),
      );
      const seconds = beforeTime === 0 ? 0 : (view.hostTime - beforeTime) / 1e9;
      const now = new Map([...model.ports].map(([key, one]) => [key, one.count]));
      const rows = view.vms.flatMap((one) =>
        portsOf(one).map(({ port, vcpu }) => {
          const key = `${one.vm}:${port}`;
          const seen = now.get(key) ?? 0;
          const rate = seconds > 0 ? count((seen - (before.get(key) ?? 0)) / seconds) : "";
          const bound = [`${name(one)}${port}`, boundTo(one, port), vcpu];
          return { key, cells: [...bound, ...portBits(one, port), count(seen), rate] };
        }),
      );
      ports.show(rows, pick);
      before = now;
      beforeTime = view.hostTime;
      showHistory();
    },
  };
}

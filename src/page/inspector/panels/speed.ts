/** How fast the guest is, what the engine does for it, and where time goes. */
import type { InspectView, VmView } from "../../../inspect/protocol.js";
import { count, el, ms, setText, Table } from "../dom.js";
import type { InspectorModel } from "../model.js";
import { type Panel, type PanelContext, vmName } from "../panel.js";

export const parts = {};

type Row = { readonly key: string; readonly cells: readonly string[] };

/** Two views to compare, where there are two. */
interface Moment {
  readonly view: InspectView;
  readonly model: InspectorModel;
  /** Between them; 0 when there is one only. */
  readonly seconds: number;
}

function speedRow(one: VmView, { model, seconds }: Moment): Row {
  const before = model.earlier(one.vm);
  const executed = one.instructions - (before?.instructions ?? 0);
  const isKnown = seconds > 0 && before !== undefined;
  const { COMPILED = 0, REGIONS = 0, BUILD = 0 } = one.counters;
  const share = one.instructions > 0 ? (COMPILED / one.instructions) * 100 : 0;
  return {
    key: String(one.vm),
    cells: [
      ...[String(one.vm), count(one.instructions)],
      ...[isKnown ? (executed / seconds / 1e6).toFixed(1) : "", `${share.toFixed(1)} %`],
      ...[count(REGIONS), count(BUILD)],
    ],
  };
}

function counterRows(one: VmView, { view, model, seconds }: Moment): Row[] {
  const before = model.earlier(one.vm);
  return Object.entries(one.counters).map(([name, value]) => {
    const more = value - (before?.counters[name] ?? 0);
    const each = one.instructions > 0 ? ((value / one.instructions) * 1000).toFixed(3) : "";
    const rate = before !== undefined && seconds > 0 ? count(more / seconds) : "";
    const words = `${vmName(one, view.vms.length)}${name.toLowerCase().replaceAll("_", " ")}`;
    return { key: `${one.vm}:${name}`, cells: [words, count(value), rate, each] };
  });
}

function timeRows(model: InspectorModel): Row[] {
  const sorted = [...model.time.byVcpu].sort(([a], [b]) =>
    a.localeCompare(b, "en", { numeric: true }),
  );
  return sorted.map(([key, { halted, kvm, monitor, first, last }]) => {
    const all = last - first;
    const share = (ns: number): string =>
      `${ms(ns)}${all > 0 ? `, ${((ns / all) * 100).toFixed(1)} %` : ""}`;
    const cells = [halted, kvm, monitor, Math.max(0, all - halted - kvm - monitor)].map(share);
    const [vm, vcpu = ""] = key.split(":");
    return { key, cells: [vm === "0" ? vcpu : `VM ${vm}: ${vcpu}`, ...cells, ms(all)] };
  });
}

function exitRows(model: InspectorModel): Row[] {
  return [...model.summary.counts]
    .filter(([name]) => name.startsWith("exit "))
    .sort(([, a], [, b]) => b.count - a.count)
    .map(([name, line]) => ({ key: name, cells: [name.slice("exit ".length), count(line.count)] }));
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const note = el("p", { class: "note" });
  const speeds = new Table(
    "Instructions",
    ["VM", "executed", "MIPS", "of these compiled", "compiled regions", "blocks decoded"],
    true,
  );
  const times = new Table("Time of each vCPU since a panel was opened, by cause", [
    ...["vCPU", "halted", "hypercalls: KVM", "hypercalls: monitor"],
    ...["guest, and all other exits", "of"],
  ]);
  const exits = new Table("Exits since a panel was opened", ["reason", "count"]);
  const counters = new Table("Counters of the engine", [
    ...["counter", "now", "per s", "per 1,000 instructions"],
  ]);
  host.append(note, speeds.element, times.element, exits.element, counters.element);
  return {
    update() {
      const { view, before } = model;
      if (view === undefined) return;
      const seconds = before === undefined ? 0 : (view.hostTime - before.hostTime) / 1e9;
      const moment = { view, model, seconds };
      speeds.show(view.vms.map((one) => speedRow(one, moment)));
      times.show(timeRows(model));
      exits.show(exitRows(model));
      counters.show(view.vms.flatMap((one) => counterRows(one, moment)));
      const lost =
        model.dropped > 0
          ? ` ${count(model.dropped)} events came too fast: times and exits are too small.`
          : "";
      setText(note, `Speeds are those of the host's time between two views.${lost}`);
    },
  };
}

/** Runstates over time, as KVM accounts them, stacked; upcalls and timers as marks. */
import type uPlotType from "uplot";
import type { VmView } from "../../../inspect/protocol.js";
import type { XenVcpuView } from "../../../kvm/index.js";
import { runstateName } from "../../../trace/index.js";
import { el, ms, Table } from "../dom.js";
import { type Panel, type PanelContext, vmName } from "../panel.js";

export const parts = {};

const STATES = [0, 1, 2, 3] as const;
const COLOURS = ["#2f9e6e", "#d9a520", "#5a7fd6", "#9a9a9a"] as const;
/** @limit guest | moments in the plot of runstates | moments | the oldest go */
const MAX_POINTS = 3000;
/** Seconds that are shown while the plot follows. */
const WINDOW_S = 30;

/** The account at a moment: the current state goes on. */
export function timesAt({ runstate }: XenVcpuView, kvmclock: bigint): bigint[] {
  return runstate.times.map((time, state) =>
    state === runstate.state && runstate.entryTime !== 0n && kvmclock > runstate.entryTime
      ? time + (kvmclock - runstate.entryTime)
      : time,
  );
}

interface Chart {
  readonly plot: uPlotType;
  /** Seconds, and the shares of the four states as they are stacked: the last one is on top. */
  readonly data: [number[], number[], number[], number[], number[]];
  before: { readonly time: number; readonly times: readonly bigint[] } | undefined;
}

/** The plots of all vCPUs. */
class Charts {
  readonly element = el("div", { class: "charts" });
  readonly #model: PanelContext["model"];
  readonly #byVcpu = new Map<string, Chart>();
  #uPlot: typeof uPlotType | undefined;

  constructor(model: PanelContext["model"]) {
    this.#model = model;
    void Promise.all([import("uplot"), import("uplot/dist/uPlot.min.css")]).then(([module]) => {
      this.#uPlot = module.default;
    });
  }

  /** One more moment of a vCPU; `follows`: the newest is in sight. */
  add(view: VmView, vcpu: XenVcpuView, name: string, follows: boolean): void {
    const chart = this.#chartOf(`${view.vm}:${vcpu.id}`, name, view.vm, vcpu.id);
    if (chart === undefined) return;
    const { before, data, plot } = chart;
    const { time, kvmclock } = view.kvm;
    const times = timesAt(vcpu, kvmclock);
    chart.before = { time, times };
    if (before === undefined || time <= before.time) return;
    const spent = times.map((now, state) => Math.max(0, Number(now - (before.times[state] ?? 0n))));
    const all = spent.reduce((sum, ns) => sum + ns, 0);
    const last = time / 1e9;
    data[0].push(last);
    let height = 0;
    for (const state of STATES) {
      height += all > 0 ? (spent[state] ?? 0) / all : 0;
      // Drawn from the top down: each covers what is below it.
      data[4 - state]?.push(height);
    }
    if (data[0].length > MAX_POINTS) for (const list of data) list.shift();
    plot.setData(data, false);
    const first = Math.max(data[0][0] ?? 0, last - WINDOW_S);
    if (follows) plot.setScale("x", { min: first, max: last });
    else plot.redraw();
  }

  #chartOf(key: string, name: string, vm: number, vcpu: number): Chart | undefined {
    const known = this.#byVcpu.get(key);
    if (known !== undefined || this.#uPlot === undefined) return known;
    const data: Chart["data"] = [[], [], [], [], []];
    const box = el("figure", { "aria-label": `Runstates of ${name} over time` });
    this.element.append(box);
    const stroke = () => getComputedStyle(this.element).color;
    const percent = (_: unknown, values: number[]) => values.map((value) => `${value * 100} %`);
    const series = STATES.map((state) => ({
      ...{ label: runstateName(state), fill: COLOURS[state], stroke: COLOURS[state], width: 0 },
      points: { show: false },
    })).reverse();
    const options = {
      ...{ title: name, width: Math.max(280, this.element.clientWidth - 24), height: 150 },
      scales: { x: { time: false }, y: { range: [0, 1] as [number, number] } },
      axes: [
        { stroke, grid: { show: false } },
        { stroke, values: percent, grid: { show: false } },
      ],
      series: [{ label: "s" }, ...series],
      hooks: { draw: [(plot: uPlotType) => this.#mark(plot, vm, vcpu)] },
    };
    const chart: Chart = { plot: new this.#uPlot(options, data, box), data, before: undefined };
    this.#byVcpu.set(key, chart);
    return chart;
  }

  #mark(plot: uPlotType, vm: number, vcpu: number): void {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const event of this.#model.marks) {
      if (event.vm !== vm || event.vcpu !== vcpu) continue;
      const x = plot.valToPos(event.time / 1e9, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = event.kind === "fire" ? "#d33" : "#0a4";
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + (event.kind === "fire" ? 14 : 8));
      ctx.stroke();
    }
    ctx.restore();
  }
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const table = new Table(
    "Runstates now, and the time in each",
    ["vCPU", "state", ...STATES.map(runstateName)],
    true,
  );
  const follow = el("input", { type: "checkbox", id: "runstate-follow", checked: "" });
  const note =
    "KVM accounts a vCPU that halts as running, as Linux does; only a monitor says blocked. Drag to zoom, double-click for all. Marks above: upcalls (green), timers (red).";
  const charts = new Charts(model);
  host.append(
    el("p", { class: "tools" }, el("label", {}, follow, " follow")),
    ...[table.element, el("p", { class: "note" }, note), charts.element],
  );
  return {
    update() {
      const { view } = model;
      if (view === undefined) return;
      const many = view.vms.length;
      const all = view.vms.flatMap((one) => one.kvm.vcpus.map((vcpu) => ({ one, vcpu })));
      table.show(
        all.map(({ one, vcpu }) => ({
          key: `${one.vm}:${vcpu.id}`,
          cells: [
            `${vmName(one, many)}${vcpu.id}`,
            runstateName(vcpu.runstate.state),
            ...timesAt(vcpu, one.kvm.kvmclock).map(ms),
          ],
        })),
      );
      for (const { one, vcpu } of all) {
        charts.add(one, vcpu, `${vmName(one, many)}vCPU ${vcpu.id}`, follow.checked);
      }
    },
  };
}

/** Runstates over time, as KVM accounts them, stacked; upcalls and timers as marks. */
import type uPlotType from "uplot";
import type { VmView } from "../../../inspect/protocol.js";
import type { XenVcpuView } from "../../../kvm/index.js";
import { runstateName } from "../../../trace/index.js";
import { el, ms, setText, Table } from "../dom.js";
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

/** Seconds of the machine's time that the plots show. */
interface Range {
  readonly min: number;
  readonly max: number;
}

/** The plots of all vCPUs, which show the same time. */
class Charts {
  readonly element = el("div", { class: "charts" });
  /** What is shown; undefined: the last {@link WINDOW_S} seconds, and on. */
  range: Range | undefined;
  /** A person has chosen what is shown, in a plot. */
  onRange: () => void = () => undefined;
  readonly #model: PanelContext["model"];
  readonly #byVcpu = new Map<string, Chart>();
  #uPlot: typeof uPlotType | undefined;

  constructor(model: PanelContext["model"]) {
    this.#model = model;
    void Promise.all([import("uplot"), import("uplot/dist/uPlot.min.css")]).then(([module]) => {
      this.#uPlot = module.default;
    });
  }

  /** What is in sight now. */
  get shown(): Range | undefined {
    // A plot takes what it is told a moment later.
    if (this.range !== undefined) return this.range;
    const [first] = this.#byVcpu.values();
    const { min, max } = first?.plot.scales["x"] ?? {};
    return min == null || max == null ? undefined : { min, max };
  }

  /** All that is kept. */
  get all(): Range | undefined {
    const [first] = this.#byVcpu.values();
    const [min] = first?.data[0] ?? [];
    const max = first?.data[0].at(-1);
    return min === undefined || max === undefined ? undefined : { min, max };
  }

  /** Shows a time in all plots; undefined: the newest. */
  show(range: Range | undefined): void {
    this.range = range;
    if (range === undefined) return;
    for (const { plot } of this.#byVcpu.values()) plot.setScale("x", range);
  }

  /** One more moment of a vCPU. */
  add(view: VmView, vcpu: XenVcpuView, name: string): void {
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
    plot.setScale("x", this.range ?? { min: first, max: last });
  }

  #chartOf(key: string, name: string, vm: number, vcpu: number): Chart | undefined {
    const known = this.#byVcpu.get(key);
    if (known !== undefined || this.#uPlot === undefined) return known;
    const data: Chart["data"] = [[], [], [], [], []];
    const box = el("figure", { "aria-label": `Runstates of ${name} over time` });
    this.element.append(box);
    const stroke = () => getComputedStyle(this.element).color;
    const percent = (_: unknown, values: number[]) =>
      values.map((value) => `${(value * 100).toFixed(0)} %`);
    /** The share of a state where the pointer is: what is drawn has those below it, too. */
    const share = (_: unknown, height: number | null, at: number, point: number | null): string => {
      if (height === null || point === null) return "--";
      return `${((height - (data[at + 1]?.[point] ?? 0)) * 100).toFixed(1)} %`;
    };
    const series = STATES.map((state) => ({
      ...{ label: runstateName(state), fill: COLOURS[state], stroke: COLOURS[state], width: 0 },
      value: share,
      points: { show: false },
    })).reverse();
    const all = (): null => {
      this.#choose(this.all);
      return null;
    };
    const options = {
      ...{ title: name, width: Math.max(280, this.element.clientWidth - 24), height: 150 },
      scales: { x: { time: false }, y: { range: [0, 1] as [number, number] } },
      axes: [
        { stroke, grid: { show: false } },
        { stroke, values: percent, grid: { show: false } },
      ],
      series: [{ label: "s" }, ...series],
      cursor: { drag: { setScale: false }, bind: { dblclick: () => all } },
      hooks: {
        draw: [(plot: uPlotType) => this.#mark(plot, vm, vcpu)],
        setSelect: [(plot: uPlotType) => this.#chooseSelected(plot)],
      },
    };
    const chart: Chart = { plot: new this.#uPlot(options, data, box), data, before: undefined };
    this.#byVcpu.set(key, chart);
    return chart;
  }

  #choose(range: Range | undefined): void {
    this.show(range);
    this.onRange();
  }

  /** What was dragged over is shown from now on. */
  #chooseSelected(plot: uPlotType): void {
    const { left, width } = plot.select;
    if (width <= 0) return;
    const range = { min: plot.posToVal(left, "x"), max: plot.posToVal(left + width, "x") };
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#choose(range);
  }

  #mark(plot: uPlotType, vm: number, vcpu: number): void {
    const { ctx, bbox } = plot;
    const text = getComputedStyle(this.element).color;
    ctx.save();
    for (const event of this.#model.marks) {
      if (event.vm !== vm || event.vcpu !== vcpu) continue;
      const x = plot.valToPos(event.time / 1e9, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = event.kind === "fire" ? "#d33" : text;
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
    "KVM accounts a vCPU that halts as running, as Linux does; only a monitor says blocked. Drag to zoom, double-click for all. Marks above: upcalls (short), timers (long and red).";
  const charts = new Charts(model);
  const sight = el("output", { id: "runstate-sight" });
  const tell = (): void => {
    const shown = charts.shown;
    if (shown === undefined) return;
    setText(sight, `${shown.min.toFixed(3)} s to ${shown.max.toFixed(3)} s`);
  };
  charts.onRange = () => {
    follow.checked = false;
    tell();
  };
  follow.onchange = () => charts.show(follow.checked ? undefined : charts.shown);
  /** A button that moves and stretches what is shown. */
  const button = (name: string, change: (now: Range) => Range | undefined): HTMLElement => {
    const made = el("button", { type: "button" }, name);
    made.onclick = () => {
      const now = charts.shown;
      if (now === undefined) return;
      charts.show(change(now));
      charts.onRange();
    };
    return made;
  };
  const around = ({ min, max }: Range, factor: number): Range => {
    const [middle, half] = [(min + max) / 2, ((max - min) / 2) * factor];
    return { min: middle - half, max: middle + half };
  };
  const moved = ({ min, max }: Range, by: number): Range => {
    const way = (max - min) * by;
    return { min: min + way, max: max + way };
  };
  host.append(
    el(
      "p",
      { class: "tools" },
      el("label", {}, follow, " follow"),
      button("Earlier", (now) => moved(now, -0.5)),
      button("Later", (now) => moved(now, 0.5)),
      button("Zoom in", (now) => around(now, 0.5)),
      button("Zoom out", (now) => around(now, 2)),
      button("All", () => charts.all),
      sight,
    ),
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
        charts.add(one, vcpu, `${vmName(one, many)}vCPU ${vcpu.id}`);
      }
      tell();
    },
  };
}

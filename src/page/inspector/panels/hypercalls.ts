/** The hypercall log: filter, counts, who answered, export. */
import {
  argumentTexts,
  asJson,
  type EventFilter,
  hypercallName,
  parseEventFilter,
  resultText,
} from "../../../trace/index.js";
import { count, el, hex, setText, Table } from "../dom.js";
import type { Panel, PanelContext } from "../panel.js";

export const parts = {};

/** Rows of the log on the page. @limit guest | hypercalls on the page | rows | the newest are shown */
const MAX_ROWS = 200;

const ACTORS = { kvm: "KVM", monitor: "monitor" } as const;

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const filter = el("input", {
    ...{ id: "hypercall-filter", placeholder: "sched_op.poll, vcpu=0", spellcheck: "false" },
    autocomplete: "off",
  });
  const problem = el("output", { class: "problem", "aria-live": "polite" });
  const save = el("button", { type: "button" }, "Save as JSON lines");
  const clear = el("button", { type: "button" }, "Clear");
  const freeze = el("input", { type: "checkbox", id: "hypercall-freeze" });
  const seen = el("output");
  const log = new Table("Log, newest first", ["time, s", "vCPU", "call", "result", "by", "at RIP"]);
  const counts = new Table("Counts", ["hypercall", "count", "by KVM", "by the monitor", "µs each"]);
  host.append(
    el(
      "p",
      { class: "tools" },
      el("label", { for: "hypercall-filter" }, "Only "),
      ...[filter, problem, el("label", {}, freeze, " hold still"), save, clear, seen],
    ),
    counts.element,
    log.element,
  );
  let fits: EventFilter = () => true;
  filter.oninput = () => {
    try {
      fits = filter.value.trim() === "" ? () => true : parseEventFilter(filter.value);
      setText(problem, "");
    } catch (error) {
      setText(problem, error instanceof Error ? error.message : String(error));
    }
    update(true);
  };
  clear.onclick = () => {
    model.clear();
    update(true);
  };
  save.onclick = () => {
    const lines = model.hypercalls.filter(fits).map((event) => `${asJson(event)}\n`);
    const address = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    const link = el("a", { href: address, download: "hypercalls.jsonl" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };

  function update(always = false): void {
    if (freeze.checked && !always) return;
    const fitting = model.hypercalls.filter(fits);
    log.show(
      fitting
        .slice(-MAX_ROWS)
        .reverse()
        .map((event) => ({
          key: String(event.seq),
          cells: [
            (event.time / 1e9).toFixed(9),
            event.vm === 0 ? String(event.vcpu) : `VM ${event.vm}: ${event.vcpu}`,
            `${hypercallName(event.nr)}(${argumentTexts(event).join(", ")})`,
            event.result === undefined ? "?" : resultText(event.result),
            event.by === undefined ? "" : ACTORS[event.by],
            hex(event.rip),
          ],
        })),
    );
    const calls = [...model.summary.counts].filter(([, { isCall }]) => isCall);
    counts.show(
      calls
        .sort(([, a], [, b]) => b.count - a.count)
        .map(([name, { count: all, kvm, monitor, ns }]) => ({
          key: name,
          cells: [name, count(all), count(kvm), count(monitor), (ns / all / 1000).toFixed(1)],
        })),
    );
    const lost =
      model.dropped > 0 ? `, ${count(model.dropped)} events came too fast and are lost` : "";
    setText(seen, `${count(model.hypercallCount)} seen, ${count(fitting.length)} shown${lost}`);
  }
  return { update: () => update() };
}

/** The inspector of the page: tabs, each with a panel that is loaded when it is first opened. */
import type { FromInspected, ToInspected } from "../../inspect/protocol.js";
import { chunkFromBytes } from "../../inspect/wire.js";
import { el } from "./dom.js";
import { type InspectorLink, InspectorModel } from "./model.js";
import type { Panel, PanelContext, PanelModule } from "./panel.js";

/** All panels, in the order of their tabs. */
const PANELS: readonly (readonly [name: string, load: () => Promise<PanelModule>])[] = [
  ["Channels", () => import("./panels/channels.js")],
  ["Hypercalls", () => import("./panels/hypercalls.js")],
  ["Runstate", () => import("./panels/runstate.js")],
  ["Pages", () => import("./panels/pages.js")],
  ["Timers", () => import("./panels/timers.js")],
  ["Xenstore", () => import("./panels/store.js")],
  ["Grants", () => import("./panels/grants.js")],
  ["Attributes", () => import("./panels/attributes.js")],
  ["Speed", () => import("./panels/speed.js")],
];

/** A panel that has been loaded. */
interface Open {
  readonly module: PanelModule;
  readonly panel: Panel;
  readonly host: HTMLElement;
}

export class Inspector {
  readonly #link: InspectorLink;
  readonly model = new InspectorModel();
  readonly #tabs: HTMLButtonElement[] = [];
  readonly #body = el("div", { class: "panel", role: "tabpanel", tabindex: "0" });
  readonly #open = new Map<string, Open>();
  readonly #sets = new Map<number, (refused: string | undefined) => void>();
  #current = "";
  #nextSet = 1;

  /** Shows tabs in `host`; nothing is asked for until one is opened. */
  constructor(host: HTMLElement, link: InspectorLink) {
    this.#link = link;
    const list = el("div", { role: "tablist", "aria-label": "Panels" });
    for (const [name] of PANELS) {
      const tab = el(
        "button",
        { ...{ type: "button", role: "tab" }, "aria-selected": "false", tabindex: "-1" },
        name,
      );
      tab.onclick = () => void this.open(name);
      this.#tabs.push(tab);
      list.append(tab);
    }
    this.#tabs[0]?.setAttribute("tabindex", "0");
    list.onkeydown = (event) => this.#move(event);
    host.replaceChildren(list, this.#body);
  }

  /** Opens a panel; the name of the one that is open closes it. */
  async open(name: string): Promise<void> {
    if (name === this.#current) {
      this.close();
      return;
    }
    this.#current = name;
    for (const [at, tab] of this.#tabs.entries()) {
      const isThis = PANELS[at]?.[0] === name;
      tab.setAttribute("aria-selected", String(isThis));
      tab.tabIndex = isThis ? 0 : -1;
    }
    this.#body.setAttribute("aria-label", name);
    const panel = await this.#load(name);
    if (this.#current !== name) return;
    this.#body.replaceChildren(panel.host);
    this.#link.send({ kind: "watch", events: true, parts: panel.module.parts });
    panel.panel.update();
  }

  /** Shows no panel: nothing is noted any more. */
  close(): void {
    this.#current = "";
    for (const tab of this.#tabs) tab.setAttribute("aria-selected", "false");
    this.#body.replaceChildren();
    this.#link.send({ kind: "watch", events: false, parts: {} });
  }

  /** Another machine, or another connection to one: what is open is asked for again. */
  restart(): void {
    this.model.clear();
    const open = this.#open.get(this.#current);
    if (open === undefined) return;
    this.#link.send({ kind: "watch", events: true, parts: open.module.parts });
  }

  /** What the machine's thread says. */
  receive(message: FromInspected): void {
    if (message.kind === "set") {
      this.#sets.get(message.id)?.(message.refused);
      this.#sets.delete(message.id);
      return;
    }
    this.model.takeView(message);
    this.#open.get(this.#current)?.panel.update();
    this.#link.send({ kind: "seen" });
  }

  /** Events, as they cross. */
  receiveEvents(bytes: ArrayBuffer): void {
    const chunk = chunkFromBytes(bytes);
    if (chunk !== undefined) this.model.takeEvents(chunk);
  }

  async #load(name: string): Promise<Open> {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const [, load] = PANELS.find(([other]) => other === name) ?? [];
    if (load === undefined) throw new RangeError(name);
    const module = await load();
    const host = el("section", { class: name.toLowerCase() });
    const opened = { module, host, panel: module.create(host, this.#context()) };
    this.#open.set(name, opened);
    return opened;
  }

  #context(): PanelContext {
    return {
      model: this.model,
      send: (message) => this.#link.send(message),
      set: (message) =>
        new Promise((resolve) => {
          const id = this.#nextSet++;
          this.#sets.set(id, resolve);
          this.#link.send({ ...message, id } as ToInspected);
        }),
    };
  }

  /** The keys of a list of tabs. */
  #move(event: KeyboardEvent): void {
    const at = this.#tabs.indexOf(document.activeElement as HTMLButtonElement);
    const last = this.#tabs.length - 1;
    const places: Record<string, number> = {
      ...{ ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1 },
      ...{ Home: 0, End: last },
    };
    const next = places[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    for (const [place, tab] of this.#tabs.entries()) tab.tabIndex = place === next ? 0 : -1;
    this.#tabs[next]?.focus();
  }
}

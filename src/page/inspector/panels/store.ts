/** Xenstore as a tree, with watches and what changes. */
import type { StoreNodeView } from "../../../vmm/machine/index.js";
import { byteText, el, setText, Table } from "../dom.js";
import { ofTheMonitor, type Panel, type PanelContext } from "../panel.js";

export const parts = { store: true };

/** @limit guest | levels of xenstore's tree on the page | levels | deeper nodes are shown with the rest of their path */
const MAX_LEVELS = 24;
/** @limit guest | a value of xenstore on the page | characters | its start is shown */
const MAX_VALUE = 200;
/** @limit guest | changes of xenstore that the page keeps | changes | the oldest go */
const MAX_CHANGES = 100;
/** @limit guest | watches on the page | rows | the first are shown */
const MAX_WATCHES = 300;

/** A node on the page. */
interface Item {
  readonly row: HTMLLIElement;
  readonly level: number;
  readonly value: HTMLElement;
  readonly rights: HTMLElement;
  /** Where its children are; made with the first. */
  list: HTMLUListElement | undefined;
  generation: number;
}

/** The path above; the root has none, which is "". */
const parentOf = (path: string): string =>
  path === "/" ? "" : path.slice(0, path.lastIndexOf("/")) || "/";
const cut = (text: string): string =>
  text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
const rightsOf = ({ permissions }: StoreNodeView): string =>
  permissions.map(({ access, domid }) => `${access}${domid}`).join(" ");

/** The tree: elements stay while their nodes do, so that what is folded remains so. */
class Tree {
  readonly element = el("ul", { class: "tree", "aria-label": "Xenstore" });
  readonly #items = new Map<string, Item>();

  /** @returns what has changed since the last time; nothing the first time. */
  show(nodes: readonly StoreNodeView[]): { path: string; text: string }[] {
    const isFirst = this.#items.size === 0;
    const changes: { path: string; text: string }[] = [];
    const there = new Set(nodes.map(({ path }) => path));
    for (const [path, { row }] of this.#items) {
      if (there.has(path)) continue;
      row.remove();
      this.#items.delete(path);
      changes.push({ path, text: "is gone" });
    }
    for (const node of nodes) {
      const known = this.#items.get(node.path);
      const item = known ?? this.#add(node.path);
      const isNew = item.generation !== node.generation;
      item.value.classList.toggle("changed", isNew && !isFirst);
      if (!isNew) continue;
      item.generation = node.generation;
      const value = byteText(node.value, MAX_VALUE);
      setText(item.value, value === "" ? "" : `"${value}"`);
      setText(item.rights, rightsOf(node));
      changes.push({ path: node.path, text: `= "${value}"` });
    }
    return isFirst ? [] : changes;
  }

  /** Shows only nodes whose path has a text in it, and what is above them. */
  narrow(text: string): void {
    const wanted = new Set<string>();
    for (const path of this.#items.keys()) {
      if (!path.includes(text)) continue;
      for (let at = path; at !== "" && !wanted.has(at); at = parentOf(at)) wanted.add(at);
    }
    for (const [path, { row }] of this.#items) row.hidden = !wanted.has(path);
  }

  #add(path: string): Item {
    let above = parentOf(path);
    let parent = this.#items.get(above);
    while (parent !== undefined && parent.level >= MAX_LEVELS) {
      above = parentOf(above);
      parent = this.#items.get(above);
    }
    const name = parent === undefined ? path : path.slice(above === "/" ? 1 : above.length + 1);
    const value = el("span", { class: "value" });
    const rights = el("span", { class: "rights" });
    const label = el("span", {}, el("span", { class: "name" }, cut(name)), " ", value, " ", rights);
    const row = el("li", { "data-path": path }, label);
    const level = (parent?.level ?? 0) + 1;
    const item = { ...{ row, level, value, rights }, list: undefined, generation: Number.NaN };
    (parent === undefined ? this.element : listOf(parent)).append(row);
    this.#items.set(path, item);
    return item;
  }
}

/** Makes room for children: the node can be folded from now on. */
function listOf(item: Item): HTMLUListElement {
  if (item.list === undefined) {
    item.list = el("ul");
    const summary = el("summary", {}, ...item.row.childNodes);
    item.row.append(el("details", { open: "" }, summary, item.list));
  }
  return item.list;
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const filter = el("input", {
    ...{ id: "store-filter", placeholder: "device/vbd", spellcheck: "false" },
    autocomplete: "off",
  });
  const size = el("output");
  const tree = new Tree();
  const watches = new Table("Watches", ["domain", "path", "token"], true);
  const changed = new Table("Changes, newest first", ["time, s", "node", "what"]);
  const why = ofTheMonitor("Xenstore");
  const body = el(
    "div",
    {},
    el("p", { class: "tools" }, el("label", { for: "store-filter" }, "Only "), filter, size),
    ...[tree.element, watches.element, changed.element],
  );
  host.append(body, why);
  const changes: { key: string; cells: string[] }[] = [];
  let seen = 0;
  filter.oninput = () => tree.narrow(filter.value.trim());

  return {
    update() {
      body.hidden = model.inspected === "exec";
      why.hidden = model.inspected !== "exec";
      const one = model.view?.vms[0];
      const { nodes, watches: list = [] } = one?.domain ?? {};
      if (one === undefined || nodes === undefined) return;
      const time = (one.kvm.time / 1e9).toFixed(3);
      for (const { path, text } of tree.show(nodes)) {
        changes.unshift({ key: String(seen++), cells: [time, cut(path), text] });
      }
      changes.splice(MAX_CHANGES);
      if (filter.value.trim() !== "") tree.narrow(filter.value.trim());
      setText(size, `${nodes.length} nodes, ${list.length} watches`);
      changed.show(changes);
      watches.show(
        list.slice(0, MAX_WATCHES).map(({ domid, path, token }, at) => ({
          key: `${at} ${domid} ${path} ${token}`,
          cells: [String(domid), cut(path), cut(token)],
        })),
      );
    },
  };
}

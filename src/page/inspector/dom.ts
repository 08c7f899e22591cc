/** Elements, made and kept up to date in a few words. */
import type { InspectView, VmView } from "../../inspect/protocol.js";

type Child = Node | string;

/** An element with attributes and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets a text where it differs: selections and screen readers are left alone otherwise. */
export function setText(node: Element, text: string): boolean {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

/** A table whose rows are known by keys: rows that are the same stay, and cells that changed are marked for a moment. */
export class Table {
  readonly element: HTMLTableElement;
  readonly #body: HTMLTableSectionElement;
  readonly #rows = new Map<string, HTMLTableRowElement>();
  readonly #marks: boolean;

  /** `marks`: what changes is highlighted. */
  constructor(caption: string, columns: readonly string[], marks = false) {
    this.#marks = marks;
    this.#body = el("tbody");
    const heads = columns.map((name) => el("th", { scope: "col" }, name));
    this.element = el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...heads)),
      this.#body,
    );
  }

  /** The rows from now on, in their order; `onPick` makes the first cell a button. */
  show(
    rows: readonly { readonly key: string; readonly cells: readonly string[] }[],
    onPick?: (key: string) => void,
  ): void {
    const wanted = new Set(rows.map(({ key }) => key));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    for (const [at, { key, cells }] of rows.entries()) {
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = this.#make(key, cells, onPick);
        this.#rows.set(key, row);
      } else this.#update(row, cells);
      if (this.#body.rows[at] !== row) this.#body.insertBefore(row, this.#body.rows[at] ?? null);
    }
  }

  #make(
    key: string,
    cells: readonly string[],
    onPick?: (key: string) => void,
  ): HTMLTableRowElement {
    const row = el("tr", { "data-key": key });
    for (const [at, cell] of cells.entries()) {
      if (at > 0 || onPick === undefined) row.append(el("td", {}, cell));
      else {
        const button = el("button", { type: "button" }, cell);
        button.onclick = () => onPick(key);
        row.append(el("td", {}, button));
      }
    }
    return row;
  }

  #update(row: HTMLTableRowElement, cells: readonly string[]): void {
    for (const [at, text] of cells.entries()) {
      const cell = row.cells[at];
      const place = cell?.querySelector("button") ?? cell;
      if (place === null || place === undefined) continue;
      const changed = setText(place, text);
      if (this.#marks) place.classList.toggle("changed", changed);
    }
  }
}

/** A number as people read it. */
export const count = (value: number): string => Math.round(value).toLocaleString("en");

/** An address, or another number in hex. */
export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** Nanoseconds as milliseconds. */
export const ms = (ns: number | bigint): string => `${(Number(ns) / 1e6).toFixed(3)} ms`;

/** Bytes that a guest wrote, as text: what is not printable ASCII is \\xNN; at most `most` characters. */
export function byteText(bytes: Uint8Array, most: number): string {
  let text = "";
  for (const byte of bytes) {
    if (text.length >= most) return `${text}…`;
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
    text += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}

/** A choice of one of the vCPUs that there are. */
export class VcpuChoice {
  readonly element: HTMLElement;
  readonly #select = el("select");
  #known = "";

  constructor(onChange: () => void) {
    this.element = el("label", {}, "vCPU ", this.#select);
    this.#select.onchange = onChange;
  }

  /** The one that is chosen, of VMs as they are now. */
  pick(view: InspectView): { readonly one: VmView; readonly index: number } | undefined {
    const all = view.vms.flatMap((one) => one.kvm.vcpus.map((_, index) => ({ one, index })));
    const names = all.map(
      ({ one, index }) => `${vmName(one, view.vms.length)}${one.kvm.vcpus[index]?.id}`,
    );
    if (names.join() !== this.#known) {
      const { value } = this.#select;
      this.#known = names.join();
      this.#select.replaceChildren(...names.map((name) => el("option", {}, name)));
      if (names.includes(value)) this.#select.value = value;
    }
    return all[Math.max(0, names.indexOf(this.#select.value))];
  }
}

/** A heading for a VM where there are several. */
export const vmName = (view: VmView, of: number): string => (of > 1 ? `VM ${view.vm}: ` : "");

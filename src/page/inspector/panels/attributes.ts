/** Attributes of KVM's Xen support: what KVM_XEN_*_GET_ATTR would answer, and a field to set each that SET_ATTR can. */
import {
  attributeHints,
  attributeText,
  hvmAttributes,
  parseHvmAttr,
  parseVcpuAttr,
  vcpuAttributes,
} from "../../../inspect/attributes.js";
import type { InspectView } from "../../../inspect/protocol.js";
import { el, setText, VcpuChoice } from "../dom.js";
import type { Panel, PanelContext } from "../panel.js";

export const parts = {};

const hints: Readonly<Partial<Record<string, string>>> = attributeHints;

/** A table of attributes; `set` resolves with why not. */
class AttributeTable {
  readonly element: HTMLTableElement;
  readonly #body = el("tbody");
  readonly #values = new Map<string, HTMLElement>();
  readonly #set: (type: string, text: string) => Promise<string | undefined>;

  constructor(caption: string, set: (type: string, text: string) => Promise<string | undefined>) {
    this.#set = set;
    const heads = ["attribute", "GET_ATTR answers", "set to", ""];
    this.element = el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)))),
      this.#body,
    );
  }

  show(answers: readonly { readonly type: string; readonly text: string }[]): void {
    for (const { type, text } of answers) {
      let value = this.#values.get(type);
      if (value === undefined) {
        value = this.#row(type);
        this.#values.set(type, value);
      }
      value.classList.toggle("changed", setText(value, text));
    }
  }

  #row(type: string): HTMLElement {
    const value = el("td");
    const hint = hints[type];
    const row = el("tr", { "data-key": type }, el("th", { scope: "row" }, type), value);
    if (hint === undefined) row.append(el("td"), el("td"));
    else {
      const input = el("input", {
        ...{ placeholder: hint, spellcheck: "false", autocomplete: "off" },
        "aria-label": `${type}, new value`,
      });
      const said = el("output", { class: "problem", "aria-live": "polite" });
      const button = el("button", { type: "submit" }, "Set");
      button.setAttribute("aria-label", `Set ${type}`);
      const form = el("form", {}, input, button);
      form.onsubmit = (event) => {
        event.preventDefault();
        this.#set(type, input.value).then(
          (refused) => setText(said, refused ?? "set"),
          (error: unknown) => setText(said, error instanceof Error ? error.message : String(error)),
        );
      };
      row.append(el("td", {}, form), el("td", {}, said));
    }
    this.#body.append(row);
    return value;
  }
}

export function create(host: HTMLElement, { model, set }: PanelContext): Panel {
  const choice = new VcpuChoice(() => update());
  const chosen = (view: InspectView | undefined) => view && choice.pick(view);
  const vm = new AttributeTable("Of the VM", async (type, text) => {
    const one = chosen(model.view)?.one.vm ?? 0;
    return set({ kind: "setHvm", vm: one, attr: parseHvmAttr(type, text) });
  });
  const vcpu = new AttributeTable("Of the vCPU", async (type, text) => {
    const { one, index = 0 } = chosen(model.view) ?? {};
    const attr = parseVcpuAttr(type, text);
    return set({ kind: "setVcpu", vm: one?.vm ?? 0, vcpu: index, attr });
  });
  const note =
    "Set behind the guest's back, as a monitor's ioctl would: numbers are decimal, or hex behind 0x; GET_ATTR of TIMER would also deliver what waits.";
  host.append(
    el("p", { class: "tools" }, choice.element),
    ...[vm.element, vcpu.element, el("p", { class: "note" }, note)],
  );

  function update(): void {
    const found = chosen(model.view);
    if (found === undefined) return;
    const { one, index } = found;
    const texts = (answers: ReturnType<typeof hvmAttributes | typeof vcpuAttributes>) =>
      answers.map((answer) => ({ type: answer.type, text: attributeText(answer) }));
    vm.show(texts(hvmAttributes(one.kvm)));
    const shown = one.kvm.vcpus[index];
    if (shown !== undefined) vcpu.show(texts(vcpuAttributes(shown)));
  }
  return { update };
}

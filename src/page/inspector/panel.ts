import type { ToInspected } from "../../inspect/protocol.js";
import type { DomainViewParts } from "../../vmm/machine/index.js";
import { el } from "./dom.js";
import type { InspectorModel } from "./model.js";

/** What a panel works with. */
export interface PanelContext {
  readonly model: InspectorModel;
  send(message: ToInspected): void;
  /** Sets an attribute; resolves with why not. */
  set(
    message:
      | Omit<Extract<ToInspected, { kind: "setHvm" }>, "id">
      | Omit<Extract<ToInspected, { kind: "setVcpu" }>, "id">,
  ): Promise<string | undefined>;
}

/** A panel that is shown. */
export interface Panel {
  /** Something has come. */
  update(): void;
}

/** A panel's module. */
export interface PanelModule {
  /** What it needs of a view beside what is always there. */
  readonly parts: DomainViewParts;
  create(host: HTMLElement, context: PanelContext): Panel;
}

/** Says why a panel is empty under `exec`. */
export const ofTheMonitor = (what: string): HTMLElement =>
  el(
    "p",
    { class: "empty" },
    `${what}: that is kept by the program that runs under exec, not by KVM, so it cannot be shown here.`,
  );

export { vmName } from "./dom.js";

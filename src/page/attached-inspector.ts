/** The page as it is when it looks at a machine of another program. */
import type { InspectView } from "../inspect/protocol.js";
import { type Attached, AttachedLink } from "./attached.js";
import { Inspector } from "./inspector/inspector.js";

/** What of the page it uses. */
interface Parts extends Attached {
  readonly state: HTMLOutputElement;
  readonly figures: HTMLOutputElement;
  tell(text: string | undefined): void;
  readonly saveButton: HTMLButtonElement;
  readonly buttons: Readonly<Record<"pause" | "step" | "reset" | "stop", HTMLButtonElement>>;
}

export class AttachedInspector {
  readonly #parts: Parts;
  #state: InspectView["state"] = "running";
  #before = { instructions: 0, hostTime: 0 };

  constructor(host: HTMLElement, parts: Parts) {
    this.#parts = parts;
    const { buttons, inspected } = parts;
    const inspector = new Inspector(host, { send: (message) => link.send(message) });
    const link = new AttachedLink({
      opened: () => {
        parts.tell(undefined);
        void inspector.open("Channels");
      },
      message(message) {
        inspector.receive(message);
        if (message.kind === "view") show(message.view);
      },
      events: (bytes) => inspector.receiveEvents(bytes),
      closed: () => {
        parts.tell("the machine has ended, or its program is gone");
        parts.state.textContent = "ended";
        for (const button of Object.values(buttons)) button.disabled = true;
      },
    });
    const show = (view: InspectView): void => this.#show(view);
    buttons.step.hidden = true;
    buttons.stop.hidden = true;
    parts.saveButton.hidden = true;
    // Under exec the monitor decides.
    buttons.pause.hidden = inspected === "exec";
    buttons.reset.hidden = inspected === "exec";
    buttons.pause.onclick = () =>
      link.send({ kind: "control", what: this.#state === "running" ? "pause" : "resume" });
    buttons.reset.onclick = () => link.send({ kind: "control", what: "reset" });
    parts.state.textContent = "connecting";
  }

  #show(view: InspectView): void {
    const { state, figures, buttons, name } = this.#parts;
    this.#state = view.state;
    state.textContent = view.state;
    buttons.pause.disabled = view.state === "ended";
    buttons.reset.disabled = view.state === "ended";
    buttons.pause.textContent = view.state === "running" ? "Pause" : "Resume";
    const instructions = view.vms.reduce((sum, vm) => sum + vm.instructions, 0);
    const { hostTime } = view;
    const mips =
      ((instructions - this.#before.instructions) / (hostTime - this.#before.hostTime)) * 1e3;
    this.#before = { instructions, hostTime };
    figures.textContent = `${name} · ${instructions.toLocaleString("en")} instructions · ${Math.max(0, mips).toFixed(0)} MIPS`;
  }
}

import { download } from "./download.js";
import { Place } from "./kept.js";

/** Milliseconds after which it is said that a guest has not suspended itself so far. */
const PATIENCE_MS = 10_000;

/** Something that a person may do about a line. */
export interface Action {
  readonly name: string;
  run(): unknown;
}

/** What of the page it uses. */
export interface SavingParts {
  /** Asks the machine. */
  ask(): void;
  tell(text: string | undefined, ...actions: readonly Action[]): void;
  readonly button: HTMLButtonElement;
  /** The choice of the machine that is kept here. */
  readonly label: HTMLElement;
  readonly name: HTMLElement;
}

const megabytes = (file: Blob): string => `${(file.size / 1e6).toFixed(1)} MB`;

/** Saves machines: to the browser's private files where there are such, and to a file of the person's. */
export class Saving {
  readonly #parts: SavingParts;
  readonly #place: Promise<Place | undefined>;
  #impatient: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: SavingParts) {
    this.#parts = parts;
    this.#place = Place.take();
    parts.button.onclick = () => this.#begin();
  }

  /** The machine that this tab has saved last. */
  async kept(): Promise<File | undefined> {
    const file = await (await this.#place)?.file();
    this.#show(file);
    return file;
  }

  /** A machine was saved, and goes on. */
  async saved(snapshot: Blob): Promise<void> {
    clearTimeout(this.#impatient);
    const { tell } = this.#parts;
    const action = {
      name: "Download",
      run: () => download(snapshot, "machine.snapshot"),
    };
    try {
      const place = await this.#place;
      if (place === undefined) {
        tell(`saved (${megabytes(snapshot)}): this browser keeps no files, so download it`, action);
        return;
      }
      this.#show(await place.keep(snapshot));
      tell(`saved (${megabytes(snapshot)}): offered when this page is loaded again`, action);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      tell(`saved (${megabytes(snapshot)}), but the browser does not keep it: ${why}`, action);
    }
  }

  /** It could not be saved, and goes on; undefined: it is gone. */
  failed(text: string | undefined): void {
    clearTimeout(this.#impatient);
    if (text !== undefined) this.#parts.tell(`not saved: ${text}`);
  }

  #begin(): void {
    const { ask, tell, button } = this.#parts;
    button.disabled = true;
    tell("saving: the guest is asked to suspend itself");
    clearTimeout(this.#impatient);
    this.#impatient = setTimeout(() => {
      tell("the guest has not suspended itself so far: not every kernel does");
    }, PATIENCE_MS);
    ask();
  }

  #show(file: File | undefined): void {
    const { label, name } = this.#parts;
    label.hidden = file === undefined;
    if (file === undefined) return;
    const at = new Date(file.lastModified).toLocaleString();
    name.textContent = `the machine that was saved here, ${at}, ${megabytes(file)}`;
  }
}

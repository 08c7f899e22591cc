import { FitAddon } from "@xterm/addon-fit";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";

/**
 * Lines of output that can be looked at again.
 * @limit guest | lines of output that the page keeps | lines | the oldest go
 */
const MAX_LINES = 5000;

/** The terminal that a guest's console is shown on. */
export class ConsoleTerminal {
  readonly #terminal = new Terminal({
    scrollback: MAX_LINES,
    cursorBlink: false,
    fontFamily: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    fontSize: 14,
    screenReaderMode: false,
    theme: { background: "#101214" },
  });
  readonly #encoder = new TextEncoder();
  /** What the person types. */
  onInput: (bytes: Uint8Array) => void = () => undefined;
  /** The terminal has another size, in characters. */
  onSize: (rows: number, columns: number) => void = () => undefined;

  /** `keys`: the element that says how to leave by the keyboard. */
  constructor(element: HTMLElement, keys: HTMLElement) {
    const fit = new FitAddon();
    const terminal = this.#terminal;
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    still.onchange = () => {
      terminal.options.cursorBlink = !still.matches;
    };
    terminal.options.cursorBlink = !still.matches;
    terminal.loadAddon(fit);
    terminal.loadAddon(new WebLinksAddon());
    terminal.open(element);
    terminal.textarea?.setAttribute("aria-describedby", keys.id);
    new ResizeObserver(() => fit.fit()).observe(element);
    fit.fit();
    terminal.onData((text) => this.onInput(this.#encoder.encode(text)));
    terminal.onBinary((text) => this.onInput(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    terminal.onResize(({ rows, cols }) => this.onSize(rows, cols));
  }

  get rows(): number {
    return this.#terminal.rows;
  }

  get columns(): number {
    return this.#terminal.cols;
  }

  /** Shows bytes; `shown` is called when they are on the screen. */
  write(bytes: Uint8Array, shown: () => void): void {
    this.#terminal.write(bytes, shown);
  }

  /** Shows a line of this program's own, so that it differs from what the guest writes. */
  note(text: string): void {
    this.#terminal.write(`\r\n\x1b[2mkvm-xen: ${text}\x1b[0m\r\n`);
  }

  /** Begins anew. `plainLines`: the guest ends its lines with a line feed only, as no terminal driver is in it. */
  clear(plainLines: boolean): void {
    this.#terminal.reset();
    this.#terminal.options.convertEol = plainLines;
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** All lines that are kept, as text: for tests and for copying. */
  text(): string {
    const { active } = this.#terminal.buffer;
    const lines: string[] = [];
    for (let i = 0; i < active.length; i++) {
      const line = active.getLine(i);
      const text = line?.translateToString(true) ?? "";
      if (line?.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
      else lines.push(text);
    }
    return lines.join("\n").trimEnd();
  }
}

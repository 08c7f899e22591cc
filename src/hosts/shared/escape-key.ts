/** What a person at the console can tell the program around the guest. */
export type ConsoleCommand = "leave" | "reset" | "pause" | "save" | "help";

/** What {@link EscapeKey} makes of some typed bytes. */
export interface Typed<Command = ConsoleCommand> {
  /** What goes on to the guest. */
  readonly forward: Uint8Array;
  /** What the person wants of the program, in order; bytes behind "leave" are dropped. */
  readonly commands: readonly Command[];
}

const CTRL_BRACKET = 0x1d;
/** The keys behind Ctrl-], and what they are for. */
export const CONSOLE_COMMANDS: Readonly<Record<string, ConsoleCommand>> = {
  q: "leave",
  r: "reset",
  p: "pause",
  s: "save",
  "?": "help",
};

/** For people, in one line. */
export const ESCAPE_KEY_HELP =
  "Ctrl-] then q leaves, r resets the guest, p pauses it or lets it go on, s saves it (--save) and leaves; Ctrl-] twice is Ctrl-] for the guest";

/**
 * Finds the escape key, Ctrl-] and a letter, in what is typed at a terminal. Ctrl-] twice sends one Ctrl-] to the
 * guest; Ctrl-] before any other key sends both.
 */
export class EscapeKey<Command extends string = ConsoleCommand> {
  readonly #commands: Readonly<Record<string, Command>>;
  #armed = false;

  constructor(commands: Readonly<Record<string, Command>>) {
    this.#commands = commands;
  }

  /** Takes the next typed bytes; the two keys may come in different calls. */
  feed(bytes: Uint8Array): Typed<Command> {
    const forward: number[] = [];
    const found: Command[] = [];
    for (const byte of bytes) {
      if (!this.#armed) {
        if (byte === CTRL_BRACKET) this.#armed = true;
        else forward.push(byte);
        continue;
      }
      this.#armed = false;
      const command = this.#commands[String.fromCharCode(byte)];
      if (command !== undefined) found.push(command);
      if (command === "leave") break;
      if (command !== undefined) continue;
      forward.push(CTRL_BRACKET);
      if (byte !== CTRL_BRACKET) forward.push(byte);
    }
    return { forward: Uint8Array.from(forward), commands: found };
  }
}

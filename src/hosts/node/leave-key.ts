/** What {@link LeaveKey} makes of some typed bytes. */
export interface Typed {
  /** What goes on to the guest. */
  readonly forward: Uint8Array;
  /** The person wants to leave; bytes after the key are dropped. */
  readonly leave: boolean;
}

const CTRL_BRACKET = 0x1d;
const Q = "q".charCodeAt(0);

/**
 * Finds the leave key, Ctrl-] then q, in what is typed at a terminal. Ctrl-] twice sends one Ctrl-]
 * to the guest; Ctrl-] before any other key sends both.
 */
export class LeaveKey {
  #armed = false;

  /** Takes the next typed bytes; the two keys may come in different calls. */
  feed(bytes: Uint8Array): Typed {
    const forward: number[] = [];
    for (const byte of bytes) {
      if (!this.#armed) {
        if (byte === CTRL_BRACKET) this.#armed = true;
        else forward.push(byte);
        continue;
      }
      this.#armed = false;
      if (byte === Q) return { forward: Uint8Array.from(forward), leave: true };
      forward.push(CTRL_BRACKET);
      if (byte !== CTRL_BRACKET) forward.push(byte);
    }
    return { forward: Uint8Array.from(forward), leave: false };
  }
}

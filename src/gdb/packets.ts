/** The frames of gdb's remote protocol: `$DATA#CC`, acknowledged with + or - until both agree to do without. */

/**
 * Bytes of a packet, either way.
 * @limit client | a packet of gdb | bytes | the connection ends
 */
export const MAX_PACKET = 1 << 14;

/** What the other end sends. */
export type Input =
  | { readonly kind: "packet"; readonly data: string }
  /** Its checksum is wrong. */
  | { readonly kind: "bad" }
  /** Ctrl-C. */
  | { readonly kind: "interrupt" }
  | { readonly kind: "nak" }
  /** This is no gdb: hang up. */
  | { readonly kind: "stranger" };

const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;
const MINUS = 0x2d;
const CTRL_C = 3;

const hexOf = (byte: number): string => byte.toString(16).padStart(2, "0");

const checksum = (data: string): string => {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data.charCodeAt(i);
  return hexOf(sum & 0xff);
};

/** A packet as it is sent. Nothing in the answers needs to be escaped but what {@link escapeBytes} did. */
export const frame = (data: string): string => `$${data}#${checksum(data)}`;

/** Escapes what may not be in a packet as it is; the characters of `text` are bytes. */
export const escapeBytes = (text: string): string =>
  text.replaceAll(/[$#}*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ 0x20)}`);

/** Undoes that. */
export const unescapeBytes = (text: string): string =>
  text.replaceAll(/\}([\s\S])/g, (_, c: string) => String.fromCharCode(c.charCodeAt(0) ^ 0x20));

/** Takes bytes apart, as they come. */
export class PacketReader {
  /** The packet that has begun, its checksum included; characters are bytes. */
  #data: string | undefined;

  /** What has become whole. Ends with "stranger" when there is something that gdb never sends. */
  push(bytes: Uint8Array): Input[] {
    const inputs: Input[] = [];
    for (const byte of bytes) {
      const input = this.#data === undefined ? this.#outside(byte) : this.#inside(this.#data, byte);
      if (input !== undefined) inputs.push(input);
      if (input?.kind === "stranger") break;
    }
    return inputs;
  }

  #outside(byte: number): Input | undefined {
    if (byte === DOLLAR) this.#data = "";
    else if (byte === CTRL_C) return { kind: "interrupt" };
    else if (byte === MINUS) return { kind: "nak" };
    // A browser that was sent here begins with a letter.
    else if (byte !== PLUS) return { kind: "stranger" };
    return undefined;
  }

  #inside(data: string, byte: number): Input | undefined {
    if (data.length >= MAX_PACKET) return { kind: "stranger" };
    if (byte === DOLLAR && data.at(-3) !== "#") {
      this.#data = "";
      return undefined;
    }
    const more = data + String.fromCharCode(byte);
    this.#data = more;
    if (more.charCodeAt(more.length - 3) !== HASH) return undefined;
    this.#data = undefined;
    const contents = more.slice(0, -3);
    if (more.slice(-2).toLowerCase() !== checksum(contents)) return { kind: "bad" };
    return { kind: "packet", data: contents };
  }
}

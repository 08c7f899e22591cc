/** Messages of the xenstore protocol as bytes (Xen's `public/io/xs_wire.h`). */
import { XENSTORE_PAYLOAD_MAX, XSD_SOCKMSG_SIZE, xsd_sockmsg } from "../../../abi/xen/xs-wire.js";

/** `struct xsd_sockmsg` without its length. All u32. */
export interface XsHeader {
  readonly type: number;
  readonly reqId: number;
  readonly txId: number;
}

/** A whole message. */
export interface XsMessage extends XsHeader {
  readonly payload: Uint8Array;
}

/** Reads a header of {@link XSD_SOCKMSG_SIZE} bytes. */
export function decodeHeader(bytes: Uint8Array): XsHeader & { readonly length: number } {
  const { type, req_id, tx_id, len } = xsd_sockmsg.decode(bytes);
  return { type, reqId: req_id, txId: tx_id, length: len };
}

/** Writes a message; its payload has at most XENSTORE_PAYLOAD_MAX bytes. */
export function encodeMessage(message: XsMessage): Uint8Array {
  const bytes = new Uint8Array(XSD_SOCKMSG_SIZE + message.payload.length);
  const { type, reqId, txId, payload } = message;
  const head = { type, req_id: reqId, tx_id: txId, len: payload.length };
  xsd_sockmsg.write(new DataView(bytes.buffer), 0, head);
  bytes.set(payload, XSD_SOCKMSG_SIZE);
  return bytes;
}

/** Bytes as text, one character each: whatever the client sent comes back unchanged. */
export function toText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Text of {@link toText} as bytes. */
export const toBytes = (text: string): Uint8Array =>
  Uint8Array.from(text, (char) => char.charCodeAt(0));

/** The NUL-terminated strings at the beginning of a payload; what follows the last NUL is no string. */
export const splitStrings = (payload: Uint8Array): string[] =>
  toText(payload).split("\0").slice(0, -1);

/** The only string of a payload; undefined when there is anything else. */
export const onlyString = (payload: Uint8Array): string | undefined =>
  payload.length > 0 && payload.indexOf(0) === payload.length - 1
    ? toText(payload.subarray(0, -1))
    : undefined;

/** A number as C's atoi reads it, as an unsigned int: what is none is 0. */
export const readNumber = (text: string): number =>
  Number(BigInt.asUintN(32, BigInt(/^[ \t-\r]*([-+]?\d+)/.exec(text)?.[1] ?? 0)));

/** Strings with a NUL after each. */
export const joinStrings = (strings: readonly string[]): Uint8Array =>
  toBytes(strings.map((s) => `${s}\0`).join(""));

/**
 * A part of a directory listing, as XS_DIRECTORY_PART answers it: the node's generation, then whole names
 * from byte `offset` of the list on, then an empty name if nothing is left. An offset inside a name is the
 * client's affair.
 */
export function directoryPart(
  names: readonly string[],
  generation: number,
  offset: number,
): Uint8Array {
  const head = `${generation}\0`;
  const list = names.map((name) => `${name}\0`).join("");
  const rest = list.slice(offset);
  const room = XENSTORE_PAYLOAD_MAX - head.length - 1;
  if (rest.length <= room) return toBytes(`${head}${rest}\0`);
  return toBytes(head + rest.slice(0, rest.lastIndexOf("\0", room - 1) + 1));
}

/** Messages of the xenstore protocol as bytes (Xen's `public/io/xs_wire.h`). */
import { XENSTORE_PAYLOAD_MAX, XSD_SOCKMSG_SIZE } from "../../../abi/xen/xs-wire.js";

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
  const view = new DataView(bytes.buffer, bytes.byteOffset, XSD_SOCKMSG_SIZE);
  return {
    type: view.getUint32(0, true),
    reqId: view.getUint32(4, true),
    txId: view.getUint32(8, true),
    length: view.getUint32(12, true),
  };
}

/** Writes a message; its payload has at most XENSTORE_PAYLOAD_MAX bytes. */
export function encodeMessage(message: XsMessage): Uint8Array {
  const bytes = new Uint8Array(XSD_SOCKMSG_SIZE + message.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, message.type, true);
  view.setUint32(4, message.reqId, true);
  view.setUint32(8, message.txId, true);
  view.setUint32(12, message.payload.length, true);
  bytes.set(message.payload, XSD_SOCKMSG_SIZE);
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

/** The NUL-terminated strings that a payload consists of; undefined when the last has no NUL. */
export function splitStrings(payload: Uint8Array): string[] | undefined {
  if (payload.length === 0) return [];
  if (payload.at(-1) !== 0) return undefined;
  return toText(payload.subarray(0, -1)).split("\0");
}

/** Strings with a NUL after each. */
export const joinStrings = (strings: readonly string[]): Uint8Array =>
  toBytes(strings.map((s) => `${s}\0`).join(""));

/**
 * A part of a directory listing, as XS_DIRECTORY_PART answers it: the node's generation, then
 * whole names from byte `offset` on, then an empty name if nothing is left.
 */
export function directoryPart(
  names: readonly string[],
  generation: number,
  offset: number,
): Uint8Array | undefined {
  const head = `${generation}\0`;
  let room = XENSTORE_PAYLOAD_MAX - head.length - 1;
  let at = 0;
  let part = "";
  for (const name of names) {
    const size = name.length + 1;
    if (at >= offset) {
      if (size > room) return toBytes(head + part);
      part += `${name}\0`;
      room -= size;
    }
    at += size;
  }
  return offset > at ? undefined : toBytes(`${head}${part}\0`);
}

/** Messages as text, with numbers of 64 bits and bytes in them; chunks of events as bytes. */
import { TIMES, type TraceChunk, WORDS } from "../trace/index.js";

/**
 * A message as JSON: a bigint is `{"$n":"digits"}`, bytes are `{"$b":"hex"}`; nothing that is sent has such
 * members of its own.
 */
export const toText = (message: unknown): string =>
  JSON.stringify(message, (_key, value: unknown) => {
    if (typeof value === "bigint") return { $n: value.toString() };
    if (value instanceof Uint8Array) return { $b: hexOf(value) };
    return value;
  });

/** The message again. @throws SyntaxError when it is no such text. */
export function fromText(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    if ("$n" in value) return BigInt(String(value.$n));
    if ("$b" in value) return bytesOf(String(value.$b));
    return value;
  });
}

/** A view has thousands of bytes: looked up, they take less than half the time. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

function bytesOf(hex: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(hex)) throw new SyntaxError("bytes");
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16),
  );
}

/** Bytes before the times: first and dropped as doubles. */
const HEAD = 16;
const EVENT = TIMES * 8 + WORDS * 4;

/** A chunk as bytes, in the byte order of this machine: both ends are on it. */
export function chunkToBytes({
  first,
  dropped,
  words,
  times,
}: TraceChunk): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD + times.byteLength + words.byteLength);
  new Float64Array(bytes.buffer, 0, 2).set([first, dropped]);
  new Float64Array(bytes.buffer, HEAD, times.length).set(times);
  new Uint32Array(bytes.buffer, HEAD + times.byteLength, words.length).set(words);
  return bytes;
}

/** The chunk again; undefined when the length fits none. */
export function chunkFromBytes(buffer: ArrayBuffer): TraceChunk | undefined {
  const count = (buffer.byteLength - HEAD) / EVENT;
  if (!Number.isInteger(count) || count < 0) return undefined;
  const [first = 0, dropped = 0] = new Float64Array(buffer, 0, 2);
  const times = new Float64Array(buffer, HEAD, count * TIMES);
  const words = new Uint32Array(buffer, HEAD + times.byteLength, count * WORDS);
  return { first, dropped, times, words };
}

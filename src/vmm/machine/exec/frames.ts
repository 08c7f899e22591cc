/** Frames between a machine and the agent in its guest: docs/guest-agent.md. */

/** What the machine sends. */
export const ToAgent = { RESET: 0, START: 1, STDIN: 2, KILL: 3 } as const;
/** What the agent sends. */
export const FromAgent = {
  READY: 0x80,
  STDOUT: 0x81,
  STDERR: 0x82,
  EXIT: 0x83,
  FAILED: 0x84,
  TAKEN: 0x85,
} as const;

/** The version of the protocol that READY names. */
export const AGENT_VERSION = 1;
/** The id of a READY frame, by which the beginning of a conversation is found. */
export const READY_MAGIC = 0x6e78766b;
/** Payload of READY: version, programs at a time, window for input, longest START; 32 bits each. */
export const READY_LENGTH = 16;

/** Bytes of a frame before its payload: type, id and length of the payload, 32 bits each, little-endian. */
export const HEADER = 12;

/** One frame. */
export interface AgentFrame {
  readonly type: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

/**
 * Bytes of a payload; the agent sends 4096 at most.
 * @limit guest | a frame of the guest's agent | bytes | EXEC_LOST
 */
export const MAX_PAYLOAD = 65536;

/** A frame as bytes. */
export function encodeFrame(
  type: number,
  id: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, id, true);
  view.setUint32(8, payload.length, true);
  bytes.set(payload, HEADER);
  return bytes;
}

/** 32-bit numbers as a payload. */
export function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true);
  return bytes;
}

/** A 32-bit number of a payload; 0 when it is too short. */
export function wordAt({ payload }: AgentFrame, index: number): number {
  if (payload.length < 4 * index + 4) return 0;
  return new DataView(payload.buffer, payload.byteOffset).getUint32(4 * index, true);
}

/** Payload of START: two counts, then the folder, the words and the variables, each with a NUL behind it. */
export function startPayload(
  folder: string,
  argv: readonly string[],
  variables: readonly string[],
): Uint8Array {
  const text = [folder, ...argv, ...variables].map((one) => `${one}\0`).join("");
  const strings = new TextEncoder().encode(text);
  const payload = new Uint8Array(8 + strings.length);
  payload.set(words(argv.length, variables.length));
  payload.set(strings, 8);
  return payload;
}

/** Takes frames out of a stream of bytes. */
export class FrameReader {
  #bytes = new Uint8Array(0);
  /** Until it has come, what comes is somebody else's. */
  #isSynchronised = false;

  /** More bytes. */
  push(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#bytes.length + bytes.length);
    all.set(this.#bytes);
    all.set(bytes, this.#bytes.length);
    this.#bytes = all;
  }

  /** What comes now is not to be understood until the next READY. */
  restart(): void {
    this.#isSynchronised = false;
    this.#bytes = new Uint8Array(0);
  }

  /** The next whole frame; undefined when there is none yet, "senseless" when there can be none. */
  next(): AgentFrame | "senseless" | undefined {
    if (!this.#isSynchronised) this.#seekReady();
    if (!this.#isSynchronised || this.#bytes.length < HEADER) return undefined;
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
    const [type, id, length] = [0, 4, 8].map((at) => view.getUint32(at, true)) as [
      number,
      number,
      number,
    ];
    if (length > MAX_PAYLOAD) return "senseless";
    if (this.#bytes.length < HEADER + length) return undefined;
    const payload = this.#bytes.slice(HEADER, HEADER + length);
    this.#bytes = this.#bytes.subarray(HEADER + length);
    return { type, id, payload };
  }

  #seekReady(): void {
    const start = encodeFrame(FromAgent.READY, READY_MAGIC, new Uint8Array(READY_LENGTH));
    const wanted = start.subarray(0, HEADER);
    let at = 0;
    const differs = (): boolean => {
      const here = this.#bytes.subarray(at, at + HEADER);
      return here.some((byte, i) => byte !== wanted[i]);
    };
    while (at < this.#bytes.length && differs()) at += 1;
    this.#bytes = this.#bytes.subarray(at);
    this.#isSynchronised = this.#bytes.length >= HEADER;
  }
}

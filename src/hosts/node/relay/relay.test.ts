import { describe, expect, it } from "vitest";
import type { Frame, Network } from "../../../ports/index.js";
import type { WebSocketListener, WebSocketPeer } from "../websocket.js";
import { relay } from "./relay.js";

/** A page and a network that do what a test says. */
function joined(allows = true) {
  let listener: WebSocketListener | undefined;
  let receiver: (frames: readonly Frame[]) => number = () => 0;
  let onRoom: () => void = () => undefined;
  const seen = {
    ...{ sent: [] as Uint8Array[], toPage: [] as Uint8Array[], paused: false, resumes: 0 },
    ...{ closed: undefined as number | undefined, networkClosed: 0, left: 0 },
    ...{ isFull: false, waiting: 0 },
  };
  const peer = {
    get waiting() {
      return seen.waiting;
    },
    send: (bytes: Uint8Array) => seen.toPage.push(bytes),
    pause: () => {
      seen.paused = true;
    },
    resume: () => {
      seen.paused = false;
    },
    listen: (one: WebSocketListener) => {
      listener = one;
    },
    close: (code: number) => {
      seen.closed = code;
    },
  } as unknown as WebSocketPeer;
  const network: Network = {
    offers: { checksum: false, segmentation: true },
    get isFull() {
      return seen.isFull;
    },
    send: ({ bytes }) => seen.sent.push(bytes),
    onRoom: (one) => {
      onRoom = one;
    },
    onFrames: (one) => {
      receiver = one;
    },
    resume: () => seen.resumes++,
    close: () => {
      seen.networkClosed++;
      return Promise.resolve();
    },
  };
  relay(peer, network, { allows: () => allows }, () => seen.left++);
  return {
    seen,
    say: (bytes: Uint8Array) => listener?.bytes?.(bytes),
    listener: () => listener,
    room: () => onRoom(),
    receive: (...frames: Uint8Array[]) =>
      receiver(frames.map((bytes) => ({ bytes, checksum: "unknown" }))),
  };
}

const frame = (mark: number, length = 60) => new Uint8Array(length).fill(mark);

describe("a relay", () => {
  it("carries frames both ways", () => {
    const { seen, say, receive } = joined();
    say(frame(1));
    say(frame(2, 65_553));
    expect(seen.sent).toEqual([frame(1), frame(2, 65_553)]);
    expect(receive(frame(3), frame(4))).toBe(2);
    expect(seen.toPage).toEqual([frame(3), frame(4)]);
  });

  it("lets the page wait while the network has no room, and loses nothing", () => {
    const { seen, say, room } = joined();
    seen.isFull = true;
    say(frame(1));
    expect(seen.paused).toBe(true);
    say(frame(2));
    expect(seen.sent).toEqual([]);
    seen.isFull = false;
    room();
    expect(seen.sent).toEqual([frame(1), frame(2)]);
    expect(seen.paused).toBe(false);
  });

  it("lets the network wait while the page does not read", () => {
    const { seen, receive, listener } = joined();
    seen.waiting = (1 << 20) + 1;
    expect(receive(frame(1))).toBe(0);
    expect(seen.toPage).toEqual([]);
    seen.waiting = 0;
    listener()?.drained?.();
    expect(seen.resumes).toBe(1);
    expect(receive(frame(1))).toBe(1);
  });

  it("does not carry what its guard does not allow", () => {
    const { seen, say } = joined(false);
    say(frame(1));
    expect(seen.sent).toEqual([]);
    expect(seen.closed).toBeUndefined();
  });

  it.each([
    ["13 bytes", new Uint8Array(13)],
    ["more than a frame may have", new Uint8Array(65_554)],
  ])("closes a page that sends %s", (_, bytes) => {
    const { seen, say } = joined();
    say(bytes);
    expect(seen.closed).toBe(1002);
    expect(seen.sent).toEqual([]);
  });

  it("closes a page that sends text", () => {
    const { seen, listener } = joined();
    listener()?.message("hello");
    expect(seen.closed).toBe(1003);
  });

  it("gives its network back when the page goes, with what waits for it", () => {
    const { seen, say, listener, room } = joined();
    seen.isFull = true;
    say(frame(1));
    listener()?.closed();
    expect([seen.networkClosed, seen.left]).toEqual([1, 1]);
    seen.isFull = false;
    room();
    expect(seen.sent).toEqual([]);
  });
});

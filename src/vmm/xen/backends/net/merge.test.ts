import { describe, expect, it } from "vitest";
import type { Frame } from "../../../../ports/index.js";
import { ip, isChecked, LINUX, plain, withCard } from "./frontend.fixture.js";
import { mergeSegments } from "./merge.js";
import { segment } from "./packet.js";

const TCP = 6;
const UDP = 17;
const SIZE = 1448;
const TAKES = {
  sg: true,
  gso4: true,
  gso6: true,
  checksum4: true,
  checksum6: true,
  notifies: true,
};

describe.each([4, 6] as const)("segments over IPv%i", (version) => {
  const header = 14 + (version === 4 ? 40 : 60);
  const tcp = header - 20;
  const cut = (length: number, tcpFlags = 0x18): Frame[] =>
    segment({
      ...{ bytes: ip(version, TCP, plain(length), { tcpFlags }), checksum: "blank" },
      segmentSize: SIZE,
    }) ?? [];
  const merged = (frames: readonly Frame[], from = 0, takes = TAKES): number =>
    mergeSegments(frames, from, takes).count;
  /** With one byte of a frame changed, if that is there. */
  const changed = (frames: readonly Frame[], which: number, at: number, bits: number): Frame[] =>
    frames.map((frame, i) => {
      if (i !== which) return frame;
      const bytes = frame.bytes.slice();
      bytes[at] = (bytes[at] as number) ^ bits;
      return { ...frame, bytes };
    });

  it.each([2 * SIZE, 2 * SIZE + 1, 5000, 65000])("%i bytes are one packet again", (length) => {
    const frames = cut(length);
    const { frame, count } = mergeSegments(frames, 0, TAKES);
    expect(count).toBe(frames.length);
    expect(frame).toMatchObject({ checksum: "blank", segmentSize: SIZE });
    expect(segment(frame)).toEqual(frames);
    // Of a blank checksum the field has the pseudo header's sum: with the sum of what follows it is right.
    const whole = ip(version, TCP, plain(length), { tcpFlags: 0x18 });
    expect(frame.bytes.subarray(header)).toEqual(whole.subarray(header));
    const field = new DataView(frame.bytes.buffer).getUint16(tcp + 16);
    const body = frame.bytes.slice(tcp);
    let sum = 0;
    body.set([field >> 8, field & 255], 16);
    for (let i = 0; i < body.length; i++)
      sum += i % 2 ? (body[i] as number) : (body[i] as number) << 8;
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
    const right = frame.bytes.slice();
    const view = new DataView(right.buffer);
    view.setUint16(tcp + 16, ~sum & 0xffff);
    expect(isChecked(right)).toBe(true);
  });

  it("are of one packet at most, of 64 KiB at most, and up to one that is pushed or shorter", () => {
    const frames = cut(4 * SIZE, 0x10);
    expect(merged(frames)).toBe(4);
    expect(merged(frames, 1)).toBe(3);
    expect(merged(frames, 3)).toBe(1);
    expect(merged(changed(frames, 1, tcp + 13, 0x08))).toBe(2);
    expect(merged(changed(frames, 0, tcp + 13, 0x08))).toBe(1);
    const long = cut(40 * SIZE, 0x10);
    const next = changed(long, -1, 0, 0).map((frame) => {
      const bytes = frame.bytes.slice();
      const view = new DataView(bytes.buffer);
      view.setUint32(tcp + 4, view.getUint32(tcp + 4) + 40 * SIZE);
      return { ...frame, bytes };
    });
    expect([merged(long), merged([...long, ...next])]).toEqual([40, 45]);
    const room = 65535 - (header - 14) - 45 * SIZE;
    for (const [length, count] of [
      [room, 46],
      [room + 1, 45],
    ] as const) {
      const [short] = cut(length, 0x10) as [Frame];
      const view = new DataView(short.bytes.buffer);
      view.setUint32(tcp + 4, view.getUint32(tcp + 4) + 45 * SIZE);
      expect(merged([...long, ...next.slice(0, 5), short])).toBe(count);
    }
  });

  it("a longer one, one that is early, late or twice, and one of no data are others", () => {
    const [a, b, c] = cut(3 * SIZE, 0x10) as [Frame, Frame, Frame];
    expect(merged([a, c])).toBe(1);
    expect(merged([b, a])).toBe(1);
    expect(merged([a, a])).toBe(1);
    expect(merged([a, b, b, c])).toBe(2);
    const [short] = cut(100, 0x10) as [Frame];
    const late = changed([short], 0, 0, 0);
    const [small] = late as [Frame];
    const view = new DataView(small.bytes.buffer);
    view.setUint32(tcp + 4, new DataView(a.bytes.buffer).getUint32(tcp + 4) + SIZE);
    expect(merged([a, small])).toBe(2);
    expect(merged([a, small, c])).toBe(2);
    const [empty] = cut(0, 0x10) as [Frame];
    expect(merged([empty, a])).toBe(1);
    new DataView(empty.bytes.buffer).setUint32(tcp + 4, view.getUint32(tcp + 4));
    expect(merged([a, empty])).toBe(1);
    expect(merged([a, { ...small, bytes: Uint8Array.of(...small.bytes, 0) }])).toBe(1);
    const first = new DataView(short.bytes.buffer).getUint32(tcp + 4);
    const [longer] = changed([b], 0, 0, 0) as [Frame];
    new DataView(longer.bytes.buffer).setUint32(tcp + 4, first + 100);
    expect(merged([short, longer])).toBe(1);
  });

  /** A segment of so many bytes at a place of the stream. */
  const at = (sequence: number, length: number): Frame => {
    const bytes = ip(version, TCP, plain(length), { tcpFlags: 0x10 });
    new DataView(bytes.buffer).setUint32(tcp + 4, sequence);
    return { bytes, checksum: "valid" };
  };

  it.each([0, 0x7fffffff, 0x80000000, 0xffffff00])("follow each other at %i", (sequence) => {
    const frames = [0, 1, 2].map((i) => at(sequence + i * 1000, 1000));
    expect([merged(frames), merged(frames.toReversed())]).toEqual([3, 1]);
  });

  it("have 48 bytes at least, but for the last; and one alone is as it was", () => {
    const of = (length: number) => [0, 1, 2].map((i) => at(i * length, length));
    expect([merged(of(48)), merged(of(47))]).toEqual([3, 1]);
    expect(merged([at(0, 48), at(48, 1)])).toBe(2);
    const [alone] = of(1000) as [Frame];
    expect(mergeSegments([alone], 0, TAKES)).toEqual({ frame: alone, count: 1 });
  });

  it("whose headers say different things are others", () => {
    const frames = cut(3 * SIZE, 0x10);
    const own = version === 4 ? [1, 6, 8, 12, 15, 16, 19] : [1, 3, 7, 8, 23, 24, 39];
    const places = [
      ...[0, 5, 6, 11],
      ...own.map((at) => 14 + at),
      ...[0, 1, 2, 3, 8, 11, 14, 15, 18, 19].map((at) => tcp + at),
    ];
    for (const at of places) expect([at, merged(changed(frames, 1, at, 1))]).toEqual([at, 1]);
    for (const bit of [1, 2, 4, 0x10, 0x20, 0x40, 0x80]) {
      expect([bit, merged(changed(frames, 1, tcp + 13, bit))]).toEqual([bit, 1]);
      expect([bit, merged(changed(frames, 0, tcp + 13, bit))]).toEqual([bit, 1]);
    }
  });

  it("are left alone when their checksum is unknown, or blank, and when the guest takes no large ones", () => {
    const frames = cut(3 * SIZE, 0x10);
    for (const checksum of ["unknown", "blank"] as const) {
      expect(merged(frames.map((frame) => ({ ...frame, checksum })))).toBe(1);
      expect(merged(frames.map((frame, i) => (i === 1 ? { ...frame, checksum } : frame)))).toBe(1);
    }
    expect(merged(frames.map((frame) => ({ ...frame, segmentSize: SIZE })))).toBe(1);
    expect(merged(frames, 0, { ...TAKES, sg: false })).toBe(1);
    expect(merged(frames, 0, { ...TAKES, [`gso${version}`]: false })).toBe(1);
    expect(merged(frames, 0, { ...TAKES, [version === 4 ? "gso6" : "gso4"]: false })).toBe(3);
    const padded = frames.map((frame) => ({ ...frame, bytes: Uint8Array.of(...frame.bytes, 0) }));
    expect(merged(padded)).toBe(1);
    const udp = [0, 1].map(() => ({
      bytes: ip(version, UDP, plain(99)),
      checksum: "valid" as const,
    }));
    expect(merged(udp)).toBe(1);
  });

  it("come to the guest as one packet, with what is before and behind them", () => {
    const { frontend, network } = withCard();
    frontend.connect(4, LINUX);
    frontend.post(20);
    const other: Frame = { bytes: plain(60), checksum: "unknown" };
    expect(network.deliver([other, ...cut(3 * SIZE), other])).toBe(5);
    const got = frontend.received();
    expect(got[0]?.bytes).toEqual(plain(60));
    expect(got.at(-1)?.bytes).toEqual(plain(60));
    // Data validated, blank checksum, more to come, says how it is to be cut.
    expect(got[1]?.flags).toBe(15);
    expect(got).toHaveLength(2 + Math.ceil((header + 3 * SIZE) / 4096) + 1);
  });
});

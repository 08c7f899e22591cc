import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seed } from "../../../../base/seed.fixture.js";
import { ip, isChecked, plain } from "./frontend.fixture.js";
import { completeChecksum, findTransport, segment } from "./packet.js";

const TCP = 6;
const UDP = 17;
const data = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => i * 5 + (i >> 7));

describe("checksums", () => {
  it.each([
    ["TCP over IPv4", ip(4, TCP, data(1001))],
    ["UDP over IPv4", ip(4, UDP, data(1000))],
    ["TCP over IPv6", ip(6, TCP, data(1001))],
    ["UDP over IPv6", ip(6, UDP, data(3))],
    ["TCP without data", ip(4, TCP, data(0))],
    ["TCP with a VLAN tag", ip(4, TCP, data(77), { vlan: true })],
    ["TCP behind an extension header", ip(6, TCP, data(77), { extension: true })],
    ["64 KiB", ip(4, TCP, data(65535 - 40))],
  ])("%s", (_, whole) => {
    const frame = whole.slice();
    expect(isChecked(frame)).toBe(false);
    expect(completeChecksum(frame)).toBe(true);
    expect(isChecked(frame)).toBe(true);
  });

  it("do not depend on what was in the field", () => {
    const [a, b] = [ip(4, TCP, data(9)), ip(4, TCP, data(9))];
    b.set([0x12, 0x34], 14 + 20 + 16);
    completeChecksum(a);
    completeChecksum(b);
    expect(a).toEqual(b);
  });

  it("of UDP are never 0, which says that there is none", () => {
    const frame = ip(4, UDP, new Uint8Array(2));
    completeChecksum(frame);
    const [high = 0, low = 0] = frame.subarray(40, 42);
    // The data that makes the sum 0xffff.
    const again = ip(4, UDP, Uint8Array.of(high, low));
    completeChecksum(again);
    expect([...again.subarray(40, 42)]).toEqual([0xff, 0xff]);
    expect(isChecked(again)).toBe(true);
  });

  it("leave what is behind the packet out: short frames are padded", () => {
    const frame = ip(4, UDP, data(4));
    const padded = new Uint8Array(60).fill(0xee);
    padded.set(frame);
    completeChecksum(frame);
    completeChecksum(padded);
    expect(padded.subarray(0, frame.length)).toEqual(frame);
  });

  const broken: [string, Uint8Array, number, number[]][] = [
    ["a fragment", ip(4, UDP, data(8)), 20, [0x20, 0]],
    ["a later fragment", ip(4, UDP, data(8)), 20, [0, 9]],
    ["another protocol", ip(4, UDP, data(8)), 23, [1]],
    ["a header of 4 bytes", ip(4, UDP, data(8)), 14, [0x41]],
    ["a header beyond the packet", ip(4, UDP, data(0)), 14, [0x4f]],
    ["a version that is none", ip(4, UDP, data(8)), 14, [0x55]],
    ["a length beyond the frame", ip(4, UDP, data(8)), 16, [0xff, 0xff]],
    ["a length within the header", ip(4, UDP, data(8)), 16, [0, 20]],
    ["IPv6: a length beyond the frame", ip(6, TCP, data(8)), 18, [0xff, 0xff]],
    ["IPv6: another version", ip(6, TCP, data(8)), 14, [0x40]],
    ["IPv6: a fragment", ip(6, TCP, data(8)), 20, [44]],
    [
      "IPv6: an extension header beyond the frame",
      ip(6, TCP, data(8), { extension: true }),
      55,
      [255],
    ],
  ];
  it.each(broken)("%s: there is none to compute", (_, whole, at, bytes) => {
    expect(findTransport(whole)).toBeDefined();
    const frame = whole.slice();
    frame.set(bytes, at);
    const before = frame.slice();
    expect(completeChecksum(frame)).toBe(false);
    expect(frame).toEqual(before);
  });

  it.each([
    ["ARP that looks like IPv4", ip(4, UDP, data(8)), [0x08, 0x06]],
    ["ARP that looks like IPv6", ip(6, UDP, data(8)), [0x08, 0x06]],
    ["IPv6 that says IPv4", ip(6, UDP, data(8)), [0x08, 0x00]],
    ["IPv4 that says IPv6", ip(4, UDP, data(8)), [0x86, 0xdd]],
  ])("%s is none of both", (_, frame, type) => {
    const other = frame.slice();
    other.set(type, 12);
    expect(findTransport(other)).toBeUndefined();
  });

  it.each([
    [UDP, 8],
    [TCP, 20],
  ])("protocol %i has a header of %i bytes at least within IPv4's length", (protocol, size) => {
    const frame = ip(4, protocol, data(8));
    for (const [length, isThere] of [
      [20 + size, true],
      [20 + size - 1, false],
    ] as const) {
      new DataView(frame.buffer).setUint16(16, length);
      expect(findTransport(frame) !== undefined).toBe(isThere);
    }
  });

  it("options of IPv4 are passed, and a frame that must not be cut is no fragment", () => {
    const frame = ip(4, UDP, data(24));
    frame.set([0x46], 14);
    frame.set([0x40, 0], 20);
    expect(findTransport(frame)).toMatchObject({ ip: 14, start: 38, end: frame.length });
  });

  it("TCP's may be 0", () => {
    const frame = ip(4, TCP, new Uint8Array(2));
    completeChecksum(frame);
    // The data that makes the sum 0xffff.
    const again = ip(4, TCP, frame.subarray(50, 52));
    completeChecksum(again);
    expect([...again.subarray(50, 52)]).toEqual([0, 0]);
    expect(isChecked(again)).toBe(true);
  });

  // RFC 8200, section 4: hop-by-hop options, routing, destination options; the length is in units of 8 bytes beyond the first 8.
  it.each([0, 43, 60])("extension headers of kind %i are passed, up to eight", (kind) => {
    for (const [count, length] of [
      [1, 8],
      [1, 24],
      [3, 16],
      [8, 8],
      [9, 8],
    ] as const) {
      const frame = ip(6, UDP, data(count * length));
      const start = 54 + count * length;
      frame[20] = kind;
      for (let i = 0; i < count; i++)
        frame.set([i + 1 < count ? kind : UDP, length / 8 - 1], 54 + i * length);
      const found = findTransport(frame);
      if (count > 8) expect(found).toBeUndefined();
      else expect(found).toMatchObject({ protocol: UDP, ip: 14, start, end: frame.length });
    }
  });

  it.each([
    1, 44, 50, 51, 58, 59,
  ])("what is behind a header of kind %i is not looked for", (kind) => {
    const frame = ip(6, UDP, data(24));
    frame[20] = kind;
    frame.set([UDP, 0], 54);
    expect(findTransport(frame)).toBeUndefined();
  });

  it("extension headers without end are left", () => {
    const frame = ip(6, TCP, data(400));
    frame[20] = 60;
    // Each says that 8 bytes of the same kind follow.
    for (let at = 54; at + 8 <= frame.length; at += 8) frame.set([60, 0], at);
    expect(completeChecksum(frame)).toBe(false);
  });

  it("any bytes whatever are read within their frame", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          ip(4, TCP, data(30)),
          ip(6, UDP, data(30)),
          ip(4, TCP, data(9), { vlan: true }),
          plain(60),
        ),
        fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 12 }),
        fc.nat(120),
        (frame, changes, length) => {
          const bytes = frame.slice(0, length);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const found = findTransport(bytes);
          if (found !== undefined) expect(found.end).toBeLessThanOrEqual(bytes.length);
          completeChecksum(bytes);
          segment({ bytes, checksum: "blank", segmentSize: 48 });
        },
      ),
      { seed, numRuns: 2000 },
    );
  });
});

describe.each([4, 6] as const)("segments of TCP over IPv%i", (version) => {
  const header = 14 + (version === 4 ? 40 : 60);
  const cut = (length: number, segmentSize: number, tcpFlags = 0x99) => {
    const bytes = ip(version, TCP, data(length), { tcpFlags });
    return segment({ bytes, checksum: "blank", segmentSize }) ?? [];
  };

  it.each([
    [5000, 1448],
    [1448, 1448],
    [1449, 1448],
    [100, 1448],
    [0, 1448],
    [65000, 48],
  ])("%i bytes by %i", (length, size) => {
    const frames = cut(length, size);
    expect(frames).toHaveLength(Math.max(1, Math.ceil(length / size)));
    expect(frames.every(({ bytes }) => isChecked(bytes))).toBe(true);
    const joined = frames.flatMap(({ bytes }) => [...bytes.subarray(header)]);
    expect(Uint8Array.from(joined)).toEqual(data(length));
    let sequence = 0xfffffff0;
    for (const [i, { bytes }] of frames.entries()) {
      const view = new DataView(bytes.buffer);
      expect(view.getUint32(header - 16)).toBe(sequence);
      sequence = (sequence + bytes.length - header) >>> 0;
      const last = i === frames.length - 1;
      // FIN and PSH are the last one's, CWR is the first one's.
      expect(bytes[header - 7]).toBe(0x10 | (last ? 0x09 : 0) | (i === 0 ? 0x80 : 0));
      if (version === 4) expect(view.getUint16(18)).toBe((0xfffe + i) & 0xffff);
    }
  });

  it("are none of UDP, with a header beyond the packet, or below the smallest size", () => {
    const udp = ip(version, UDP, new Uint8Array(3000).fill(0x50));
    expect(segment({ bytes: udp, checksum: "blank", segmentSize: 1448 })).toBeUndefined();
    const bytes = ip(version, TCP, data(20));
    bytes[header - 8] = 0xf0;
    expect(segment({ bytes, checksum: "blank", segmentSize: 1448 })).toBeUndefined();
    bytes[header - 8] = 0x40;
    expect(segment({ bytes, checksum: "blank", segmentSize: 1448 })).toBeUndefined();
    const right = ip(version, TCP, data(2000));
    expect(segment({ bytes: right, checksum: "blank", segmentSize: 47 })).toBeUndefined();
    expect(segment({ bytes: right, checksum: "blank" })).toBeUndefined();
  });
});

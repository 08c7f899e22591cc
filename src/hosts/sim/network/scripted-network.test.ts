import { describe, expect, it } from "vitest";
import type { Frame } from "../../../ports/index.js";
import { HeapTimers, ScriptedNetwork, VirtualClock } from "../index.js";
import {
  EtherType,
  ethernet,
  join,
  type Packet,
  Protocol,
  readIpv4,
  transportChecksum,
  viewOf,
  writeIpv4,
} from "./packets.js";

const GUEST_MAC = Uint8Array.of(0, 0x16, 0x3e, 1, 2, 3);
const GUEST = 0x0a00020f;
const HOST = 0x0a000202;

/** A network, and what the guest received of it. */
function network(options: { loss?: number; seed?: number } = {}) {
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const net = new ScriptedNetwork({ clock, timers, ...options });
  const got: Frame[] = [];
  net.onFrames((frames) => got.push(...frames) * 0 + frames.length);
  /** Lets time go on until nothing happens within so many nanoseconds. */
  const settle = (ns = 1e6): void => {
    for (;;) {
      const next = timers.nextDeadlineNs();
      if (next === undefined || next > clock.monotonicNs() + ns) return;
      clock.virtual.jump(Math.max(next, clock.monotonicNs()));
      timers.runDue();
    }
  };
  const send = (bytes: Uint8Array): void => net.send({ bytes, checksum: "unknown" });
  const packets = (): Packet[] => {
    settle();
    return got.splice(0).flatMap(({ bytes }) => readIpv4(bytes) ?? []);
  };
  return { net, clock, timers, got, settle, send, packets };
}

const packet = (protocol: number, payload: Uint8Array): Uint8Array => {
  const mac = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
  return writeIpv4({ mac, source: GUEST, destination: HOST, protocol, payload }, GUEST_MAC, 1);
};

function udp(from: number, to: number, body: Uint8Array): Uint8Array {
  const payload = join(new Uint8Array(8), body);
  viewOf(payload).setUint16(0, from);
  viewOf(payload).setUint16(2, to);
  viewOf(payload).setUint16(4, payload.length);
  return packet(Protocol.UDP, payload);
}

interface Tcp {
  readonly sequence: number;
  readonly acknowledged?: number;
  readonly flags: number;
  readonly data?: Uint8Array;
  readonly port?: number;
  readonly window?: number;
}

function tcp({
  sequence,
  acknowledged = 0,
  flags,
  data = new Uint8Array(0),
  port = 7,
  window = 8000,
}: Tcp) {
  const payload = join(new Uint8Array(20), data);
  const view = viewOf(payload);
  view.setUint16(0, 4000);
  view.setUint16(2, port);
  view.setUint32(4, sequence);
  view.setUint32(8, acknowledged);
  view.setUint16(12, 0x5000 | flags);
  view.setUint16(14, window);
  const whole = { mac: GUEST_MAC, source: GUEST, destination: HOST, protocol: 6, payload };
  view.setUint16(16, transportChecksum(whole));
  return packet(Protocol.TCP, payload);
}

const readTcp = (packet: Packet): Required<Tcp> => {
  const view = viewOf(packet.payload);
  expect(transportChecksum(packet)).toBe(0);
  return {
    sequence: view.getUint32(4),
    acknowledged: view.getUint32(8),
    flags: view.getUint8(13),
    port: view.getUint16(0),
    window: view.getUint16(14),
    data: packet.payload.subarray((view.getUint8(12) >> 4) * 4),
  };
};

const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

describe("a scripted network", () => {
  it("answers ARP for its own address only, 0.2 ms later", () => {
    const { send, got, settle, clock } = network();
    const ask = (address: number): Uint8Array => {
      const body = new Uint8Array(28);
      body.set([0, 1, 8, 0, 6, 4, 0, 1]);
      body.set(GUEST_MAC, 8);
      viewOf(body).setUint32(14, GUEST);
      viewOf(body).setUint32(24, address);
      return ethernet(new Uint8Array(6).fill(255), GUEST_MAC, EtherType.ARP, body);
    };
    send(ask(0x0a000203));
    send(ask(HOST));
    settle();
    expect(clock.monotonicNs()).toBe(200_000);
    expect(got.map(({ bytes }) => Buffer.from(bytes).toString("hex"))).toEqual([
      `00163e01020352550a000202${"0806"}0001080006040002${"52550a000202"}0a000202${"00163e010203"}0a00020f`,
    ]);
  });

  it("answers ping with what it got", () => {
    const { send, packets } = network();
    const payload = Uint8Array.of(8, 0, 0xff, 0xf0, 1, 2, 3, 4, 5, 6);
    send(packet(Protocol.ICMP, payload));
    const [answer] = packets();
    // 0xfff0 + 0x0800, folded.
    expect([...(answer?.payload ?? [])]).toEqual([0, 0, 0x07, 0xf1, 1, 2, 3, 4, 5, 6]);
    expect([answer?.source, answer?.destination]).toEqual([HOST, GUEST]);
  });

  it("leases an address, and refuses another one", () => {
    const { send, packets } = network();
    const message = (...options: number[]): Uint8Array => {
      const bytes = new Uint8Array(240);
      bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
      bytes.set(GUEST_MAC, 28);
      bytes.set([0x63, 0x82, 0x53, 0x63], 236);
      return udp(68, 67, join(bytes, Uint8Array.of(...options, 255)));
    };
    const reply = (): number[] => {
      const [answer] = packets();
      const body = answer?.payload.subarray(8) ?? new Uint8Array(300);
      expect([...body.subarray(4, 8)]).toEqual([0xde, 0xad, 0xbe, 0xef]);
      return [...body.subarray(16, 20), ...body.subarray(242, 243)];
    };
    send(message(53, 1, 1));
    expect(reply()).toEqual([10, 0, 2, 15, 2]);
    send(message(53, 1, 3, 50, 4, 10, 0, 2, 15));
    expect(reply()).toEqual([10, 0, 2, 15, 5]);
    send(message(53, 1, 3, 50, 4, 10, 0, 2, 16));
    expect(reply()).toEqual([0, 0, 0, 0, 6]);
    // Options that are no options, and no request at all.
    send(message(53, 1, 7));
    send(message(53));
    send(udp(68, 67, new Uint8Array(9)));
    expect(packets()).toEqual([]);
  });

  it("echoes UDP on port 7", () => {
    const { send, packets } = network();
    send(udp(999, 7, Uint8Array.of(1, 2, 3)));
    send(udp(999, 8, Uint8Array.of(1, 2, 3)));
    const answers = packets();
    expect(
      answers.map(({ payload }) => [...payload.subarray(0, 6), ...payload.subarray(8)]),
    ).toEqual([[0, 7, 3, 231, 0, 11, 1, 2, 3]]);
    expect(answers.map(transportChecksum)).toEqual([0]);
  });

  it("keeps what the guest has no room for, up to 1 MiB, and tells when it takes frames again", () => {
    const { net, send, settle, clock } = network();
    let room = 0;
    let told = 0;
    const got: number[] = [];
    net.onFrames((frames) => {
      const taken = frames.slice(0, room);
      room -= taken.length;
      got.push(...taken.map(({ bytes }) => bytes.length));
      return taken.length;
    });
    net.onRoom(() => {
      told += 1;
    });
    for (let i = 0; !net.isFull; i++) send(udp(999, 7, new Uint8Array(1000 + (i % 7))));
    expect(clock.monotonicNs()).toBe(0);
    settle();
    expect([told, net.isFull, got]).toEqual([1, false, []]);
    for (let i = 0; i < 200; i++) send(udp(999, 7, new Uint8Array(1400)));
    settle();
    room = 5000;
    net.resume();
    settle();
    expect(got.length * 1045).toBeGreaterThan(1 << 20);
    expect(got.length * 1000).toBeLessThan(1.1 * (1 << 20));
  });

  it("loses as many frames as it is told, the same ones in every run", () => {
    const run = (seed: number) => {
      const { send, packets } = network({ loss: 0.25, seed });
      for (let i = 0; i < 400; i++) send(udp(i, 7, new Uint8Array(1)));
      return packets().map(({ payload }) => viewOf(payload).getUint16(2));
    };
    const first = run(1);
    expect(first).toEqual(run(1));
    expect(first).not.toEqual(run(2));
    // A frame and its answer have two ways to be lost.
    expect(first.length / 400).toBeGreaterThan(0.45);
    expect(first.length / 400).toBeLessThan(0.68);
  });
});

describe("its TCP on port 7", () => {
  const open = (options: Parameters<typeof network>[0] = {}) => {
    const all = network(options);
    all.send(tcp({ sequence: 0xfffffffe, flags: SYN }));
    const [answer] = all.packets().map(readTcp);
    expect(answer).toMatchObject({ sequence: 0, acknowledged: 0xffffffff, flags: SYN | ACK });
    all.send(tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK }));
    expect(all.packets()).toEqual([]);
    return all;
  };
  const data = Uint8Array.from({ length: 1200 }, (_, i) => i);

  it("echoes in segments of the size that it was told, and ends when the other side does", () => {
    const { send, packets } = open();
    send(tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK, data }));
    const answers = packets().map(readTcp);
    expect(answers.map((one) => [one.sequence, one.acknowledged, one.data.length])).toEqual([
      [1, 1199, 536],
      [537, 1199, 536],
      [1073, 1199, 128],
    ]);
    expect(join(...answers.map((one) => one.data))).toEqual(data);
    send(tcp({ sequence: 1199, acknowledged: 1201, flags: ACK | FIN }));
    expect(packets().map(readTcp)).toMatchObject([
      { sequence: 1201, acknowledged: 1200, flags: ACK | FIN },
    ]);
    send(tcp({ sequence: 1200, acknowledged: 1202, flags: ACK }));
    expect(packets()).toEqual([]);
    // It is forgotten.
    send(tcp({ sequence: 1200, acknowledged: 1202, flags: ACK }));
    expect(packets().map(readTcp)).toMatchObject([{ flags: RST | ACK, sequence: 1202 }]);
  });

  it("sends again what is not acknowledged, and takes nothing out of order or twice", () => {
    const { send, packets, settle } = open();
    send(tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK, data: data.subarray(0, 9) }));
    expect(packets()).toHaveLength(1);
    settle(250e6);
    expect(packets().map(readTcp)).toMatchObject([{ sequence: 1, data: data.subarray(0, 9) }]);
    send(tcp({ sequence: 100, acknowledged: 10, flags: ACK, data }));
    send(tcp({ sequence: 0xffffffff, acknowledged: 10, flags: ACK, data: data.subarray(0, 9) }));
    expect(packets().map((one) => readTcp(one).acknowledged)).toEqual([8, 8]);
    // Half of it is new.
    send(tcp({ sequence: 4, acknowledged: 10, flags: ACK, data: data.subarray(5, 20) }));
    expect(packets().map(readTcp)).toMatchObject([
      { acknowledged: 19, data: data.subarray(9, 20) },
    ]);
  });

  it("waits for the window of the other side, and asks when it is closed", () => {
    const { send, packets, settle } = open();
    send(tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK, data, window: 100 }));
    expect(packets().map((one) => readTcp(one).data.length)).toEqual([100]);
    send(tcp({ sequence: 1199, acknowledged: 101, flags: ACK, window: 0 }));
    expect(packets()).toEqual([]);
    settle(250e6);
    expect(packets().map((one) => readTcp(one).data.length)).toEqual([1]);
    send(tcp({ sequence: 1199, acknowledged: 102, flags: ACK, window: 8000 }));
    expect(packets().map((one) => readTcp(one).data.length)).toEqual([536, 536, 27]);
  });

  it("begins anew with a guest that has forgotten the connection", () => {
    const { send, packets } = open();
    send(tcp({ sequence: 0xfffffffe, flags: SYN }));
    expect(packets().map(readTcp)).toMatchObject([{ acknowledged: 0xffffffff }]);
    send(tcp({ sequence: 70, flags: SYN }));
    expect(packets().map(readTcp)).toMatchObject([{ acknowledged: 71, flags: SYN | ACK }]);
  });

  it("resets other ports, forgets who is silent, and takes no broken checksum", () => {
    const { send, packets, settle, timers } = open();
    send(tcp({ sequence: 5, flags: SYN, port: 8 }));
    const broken = tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK, data });
    broken[broken.length - 1] = 0;
    send(broken);
    expect(packets().map(readTcp)).toMatchObject([{ flags: RST | ACK, acknowledged: 6 }]);
    send(tcp({ sequence: 0xffffffff, acknowledged: 1, flags: ACK, data }));
    settle(200e9);
    expect(timers.nextDeadlineNs()).toBeUndefined();
  });
});

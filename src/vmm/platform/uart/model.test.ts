import { describe, expect, it } from "vitest";
import { Uart } from "./model.js";

function setUp(room = Number.POSITIVE_INFINITY) {
  const sent: number[] = [];
  const levels: boolean[] = [];
  const uart = new Uart({
    transmit: (byte) => sent.push(byte),
    canTransmit: () => sent.length < room,
    setInterrupt: (level) => levels.push(level),
  });
  return { uart, sent, levels };
}

describe("Uart", () => {
  it("passes the probe of Linux's 8250 driver", () => {
    const { uart } = setUp();
    uart.write(1, 0x0f);
    expect(uart.read(1)).toBe(0x0f);
    uart.write(1, 0);
    expect(uart.read(1)).toBe(0);
    uart.write(4, 0x10 | 0x0a);
    expect(uart.read(6) & 0xf0).toBe(0x90);
    uart.write(4, 0);
    uart.write(2, 1);
    expect(uart.read(2) >> 6).toBe(3);
    uart.write(7, 0xa5);
    expect(uart.read(7)).toBe(0xa5);
  });

  it("sends, and tells that it can send again", () => {
    const { uart, sent, levels } = setUp();
    uart.write(1, 2);
    expect(levels).toEqual([true]);
    expect(uart.read(2) & 0xf).toBe(2);
    expect(levels).toEqual([true, false]);
    uart.write(0, 0x41);
    expect(sent).toEqual([0x41]);
    expect(levels).toEqual([true, false, true]);
    expect(uart.read(5)).toBe(0x60);
    uart.write(1, 0);
    expect(levels).toEqual([true, false, true, false]);
    uart.write(1, 2);
    expect(uart.read(2) & 0xf).toBe(2);
  });

  it("keeps the interrupt up while input waits", () => {
    const { uart, levels } = setUp();
    uart.write(1, 1);
    uart.receive(Uint8Array.of(1, 2));
    expect(levels).toEqual([true]);
    expect(uart.read(2)).toBe(4);
    expect(uart.read(5) & 1).toBe(1);
    expect([uart.read(0), uart.read(0)]).toEqual([1, 2]);
    expect(uart.read(5) & 1).toBe(0);
    expect(uart.read(2)).toBe(1);
    expect(levels).toEqual([true, false]);
    uart.write(4, 0);
    uart.receive(Uint8Array.of(3));
    expect(levels).toEqual([true, false]);
  });

  it("has a divisor behind DLAB, and clears its input", () => {
    const { uart, sent } = setUp();
    uart.write(3, 0x83);
    uart.write(0, 0x0c);
    uart.write(1, 0x01);
    expect([uart.read(0), uart.read(1)]).toEqual([0x0c, 0x01]);
    uart.write(3, 3);
    expect(uart.read(1)).toBe(0);
    expect(sent).toEqual([]);
    uart.receive(Uint8Array.of(1));
    uart.write(2, 3);
    expect(uart.read(5) & 1).toBe(0);
  });

  it("loops back what it sends, and keeps no more of it than of any input", () => {
    const { uart, sent } = setUp();
    uart.write(4, 0x10);
    for (let i = 0; i < (1 << 20) + 100; i++) uart.write(0, i & 0xff);
    expect(sent).toEqual([]);
    let count = 0;
    let inOrder = true;
    while ((uart.read(5) & 1) !== 0) inOrder = uart.read(0) === (count++ & 0xff) && inOrder;
    expect(inOrder).toBe(true);
    expect(count).toBe(1 << 20);
  });

  it("is busy while nobody takes what it sends, and tells when it is ready again", () => {
    const { uart, sent, levels } = setUp(2);
    uart.write(1, 2);
    expect(uart.read(2) & 0xf).toBe(2);
    uart.write(0, 1);
    expect(uart.read(5)).toBe(0x60);
    expect(uart.read(2) & 0xf).toBe(2);
    uart.write(0, 2);
    expect(uart.read(5)).toBe(0);
    expect(uart.read(2) & 0xf).toBe(1);
    uart.write(0, 3);
    expect(sent).toEqual([1, 2]);
    expect(levels.at(-1)).toBe(false);
    sent.length = 0;
    uart.ready();
    expect(levels.at(-1)).toBe(true);
    expect(uart.read(5)).toBe(0x60);
    uart.write(0, 4);
    expect(sent).toEqual([4]);
  });
});

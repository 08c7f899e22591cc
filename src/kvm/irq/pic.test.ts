import { expect, it } from "vitest";
import { PicPair } from "./pic.js";

function setUp() {
  let rises = 0;
  const pic = new PicPair(() => rises++);
  // ICW1 to ICW4 as a PC's firmware does, all lines open
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x30],
    [0x21, 4],
    [0x21, 1],
    [0xa0, 0x11],
    [0xa1, 0x38],
    [0xa1, 2],
    [0xa1, 1],
    [0x21, 0],
    [0xa1, 0],
  ] as const) {
    pic.write(port, value);
  }
  return { pic, rises: () => rises };
}

it("passes what a probe for it writes and reads back", () => {
  const pic = new PicPair(() => undefined);
  pic.write(0x21, 0xfb);
  expect(pic.read(0x21)).toBe(0xfb);
});

it("serves lines by priority, the second controller through line 2", () => {
  const { pic } = setUp();
  pic.setLine(4, 0, true);
  pic.setLine(12, 0, true);
  pic.setLine(1, 0, true);
  expect(pic.output).toBe(true);
  expect(pic.acknowledge()).toBe(0x31);
  expect(pic.output).toBe(false);
  pic.write(0x20, 0x20);
  expect(pic.acknowledge()).toBe(0x3c);
  pic.write(0xa0, 0x20);
  pic.write(0x20, 0x20);
  expect(pic.acknowledge()).toBe(0x34);
});

it("needs a new edge, unless the line is level-triggered", () => {
  const { pic } = setUp();
  pic.setLine(5, 0, true);
  expect(pic.acknowledge()).toBe(0x35);
  pic.write(0x20, 0x20);
  expect(pic.output).toBe(false);
  pic.write(0x4d0, 0x20);
  pic.setLine(5, 0, false);
  pic.setLine(5, 0, true);
  expect(pic.acknowledge()).toBe(0x35);
  pic.write(0x20, 0x20);
  expect(pic.output).toBe(true);
});

it("masks, ends specifically, and answers spuriously", () => {
  const { pic, rises } = setUp();
  pic.write(0x21, 0x08);
  pic.setLine(3, 0, true);
  expect(pic.output).toBe(false);
  expect(pic.acknowledge()).toBe(0x37);
  pic.write(0x21, 0);
  expect(rises()).toBe(1);
  expect(pic.acknowledge()).toBe(0x33);
  pic.write(0x20, 0x0b);
  expect(pic.read(0x20)).toBe(8);
  pic.write(0x20, 0x63);
  expect(pic.read(0x20)).toBe(0);
});

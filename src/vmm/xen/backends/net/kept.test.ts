/** What a network card's part of an exact snapshot may say. */
import { describe, expect, it } from "vitest";
import { MAX_FRAME } from "../../../../ports/index.js";
import { netLayer } from "./kept.js";

const grant = { ref: 1, readonly: false, gfn: 2 };
const frame = (length: number, checksum = "valid", segmentSize: number | null = null) => ({
  ...{ bytes: Buffer.alloc(length, 7).toString("hex"), checksum, segmentSize },
});
const takes = {
  sg: true,
  gso4: true,
  gso6: false,
  checksum4: true,
  checksum6: false,
  notifies: true,
};
const record = (changes: object = {}) => ({
  ...{ what: "tcp", numbers: [1, 0.5], bytes: "0102", timer: { atNs: 5, order: 0 } },
  ...changes,
});
const file = (waiting: object[], network: object[] = []) => ({
  connection: {
    ...{ tx: 8, rx: 9, port: 3, txPage: grant, rxPage: grant, takes, txAt: 4, rxAt: 5, waiting },
  },
  network,
});

/** Whether a file is taken; it must then be written as it was. */
function isTaken(data: object): boolean {
  let value: ReturnType<typeof netLayer.read>;
  try {
    value = netLayer.read(data as never, "net");
  } catch {
    return false;
  }
  expect(netLayer.write(value)).toEqual(data);
  return true;
}

describe("a network card in an exact snapshot", () => {
  it("has all that is written, and nothing else", () => {
    expect(isTaken(file([frame(60, "blank", 1448)], [record(), record({ timer: null })]))).toBe(
      true,
    );
    expect(isTaken({ connection: null, network: [] })).toBe(true);
    const whole = file([frame(60)], [record()]);
    for (const name of Object.keys(whole.connection)) {
      const { [name as "tx"]: _, ...connection } = whole.connection;
      expect([name, isTaken({ ...whole, connection })]).toEqual([name, false]);
    }
    for (const name of Object.keys(takes)) {
      const { [name as "sg"]: _, ...some } = takes;
      const connection = { ...whole.connection, takes: some };
      expect([name, isTaken({ ...whole, connection })]).toEqual([name, false]);
    }
    for (const name of Object.keys(record())) {
      const { [name as "what"]: _, ...some } = record();
      expect([name, isTaken(file([], [some]))]).toEqual([name, false]);
    }
  });

  it.each<[string, boolean, object]>([
    ["a frame of a header", true, frame(14)],
    ["a frame of less", false, frame(13)],
    ["the longest frame", true, frame(MAX_FRAME)],
    ["a longer frame", false, frame(MAX_FRAME + 1)],
    ["an unknown checksum", true, frame(60, "unknown")],
    ["no such checksum", false, frame(60, "")],
    ["the shortest segment", true, frame(60, "blank", 1)],
    ["no segment", false, frame(60, "blank", 0)],
    ["the longest segment", true, frame(60, "blank", 0xffff)],
    ["a longer segment", false, frame(60, "blank", 0x10000)],
  ])("%s: %s", (_, expected, waiting) => {
    expect(isTaken(file([waiting]))).toBe(expected);
  });

  it.each<[string, boolean, object]>([
    ["a name of 20 characters", true, { what: "x".repeat(20) }],
    ["a longer name", false, { what: "x".repeat(21) }],
    ["64 numbers", true, { numbers: Array(64).fill(1) }],
    ["more numbers", false, { numbers: Array(65).fill(1) }],
    ["no bytes", true, { bytes: "" }],
    ["128 KiB", true, { bytes: "00".repeat(1 << 17) }],
    ["more bytes", false, { bytes: "00".repeat((1 << 17) + 1) }],
    ["a timer before all", false, { timer: { atNs: 5, order: -1 } }],
    ["a timer without a time", false, { timer: { order: 0 } }],
  ])("%s of a network: %s", (_, expected, changes) => {
    expect(isTaken(file([], [record(changes)]))).toBe(expected);
  });

  it("has 65,536 frames and 131,072 records at most", () => {
    const frames = (count: number) => isTaken(file(Array(count).fill(frame(14))));
    expect([frames(1 << 16), frames((1 << 16) + 1)]).toEqual([true, false]);
    const short = record({ numbers: [], bytes: "", timer: null });
    const records = (count: number) => isTaken(file([], Array(count).fill(short)));
    expect([records(1 << 17), records((1 << 17) + 1)]).toEqual([true, false]);
  });
});

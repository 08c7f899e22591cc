import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { expect, it, vi } from "vitest";
import { type ConsoleInput, StandardConsole } from "./console.js";

class FakeTerminal extends EventEmitter {
  readonly isTTY = true;
  raw: (boolean | string)[] = [];
  setRawMode(raw: boolean) {
    this.raw.push(raw);
  }
  resume() {}
  pause() {}
}

function setUp(input: ConsoleInput) {
  const output = new PassThrough();
  const events = { onCommand: vi.fn(), onOutputClosed: vi.fn() };
  const console = new StandardConsole(input, output, events);
  const received: string[] = [];
  console.onData((bytes) => received.push(Buffer.from(bytes).toString("latin1")));
  console.open();
  return { console, output, events, received };
}

it("makes a terminal raw, and restores it once", () => {
  const terminal = new FakeTerminal();
  const { console } = setUp(terminal as ConsoleInput);
  expect(terminal.raw).toEqual([true]);
  console.close();
  console.close();
  expect(terminal.raw).toEqual([true, false]);
  console.reclaim();
  expect(terminal.raw).toEqual([true, false]);
});

it("takes the terminal over again when the process goes on", () => {
  const terminal = new FakeTerminal();
  const { console } = setUp(terminal as ConsoleInput);
  console.reclaim();
  expect(terminal.raw).toEqual([true, false, true]);
});

it("makes the terminal show what it gets as it is whenever it is made raw", () => {
  const terminal = new FakeTerminal();
  const order: (boolean | string)[] = terminal.raw;
  const events = { onCommand: vi.fn(), onOutputClosed: vi.fn() };
  const pass = () => order.push("opost off");
  const console = new StandardConsole(terminal as ConsoleInput, new PassThrough(), events, pass);
  console.open();
  console.reclaim();
  console.close();
  expect(order).toEqual([true, "opost off", false, true, "opost off", false]);
});

it("passes Ctrl-C to the guest and leaves at Ctrl-] q", () => {
  const terminal = new FakeTerminal();
  const { received, events } = setUp(terminal as ConsoleInput);
  terminal.emit("data", Buffer.from("a\x03"));
  expect(received).toEqual(["a\x03"]);
  expect(events.onCommand).not.toHaveBeenCalled();
  terminal.emit("data", Buffer.from("\x1dq"));
  expect(events.onCommand.mock.calls).toEqual([["leave"]]);
  expect(received).toEqual(["a\x03"]);
});

it("passes a pipe through unchanged, escape key included, and survives its end", async () => {
  const pipe = new PassThrough();
  const { received, events, console } = setUp(pipe as unknown as ConsoleInput);
  expect(console.hasEscapeKey).toBe(false);
  pipe.end("\x1dq\xff", "latin1");
  await vi.waitFor(() => expect(received.join("")).toBe("\x1dq\xff"));
  expect(events.onCommand).not.toHaveBeenCalled();
});

it("keeps what comes before the guest listens", () => {
  const terminal = new FakeTerminal();
  const events = { onCommand: vi.fn(), onOutputClosed: vi.fn() };
  const console = new StandardConsole(terminal as ConsoleInput, new PassThrough(), events);
  console.open();
  terminal.emit("data", Buffer.from("early"));
  const received: string[] = [];
  console.onData((bytes) => received.push(Buffer.from(bytes).toString()));
  expect(received).toEqual(["early"]);
});

it("writes bytes unchanged and copies them", () => {
  const { console, output } = setUp(new FakeTerminal() as ConsoleInput);
  const bytes = Uint8Array.of(0x41, 0x0a, 0xff, 0x00);
  console.write(bytes);
  bytes.fill(0);
  expect([...(output.read() as Buffer)]).toEqual([0x41, 0x0a, 0xff, 0x00]);
});

it("reports that nobody reads any more", () => {
  const { output, events } = setUp(new FakeTerminal() as ConsoleInput);
  output.emit("error", Object.assign(new Error("EPIPE"), { code: "EPIPE" }));
  expect(events.onOutputClosed).toHaveBeenCalledOnce();
});

it("does not fail when the terminal has gone away", () => {
  const terminal = new FakeTerminal();
  const { console } = setUp(terminal as ConsoleInput);
  terminal.setRawMode = () => {
    throw new Error("EIO");
  };
  expect(() => console.close()).not.toThrow();
});

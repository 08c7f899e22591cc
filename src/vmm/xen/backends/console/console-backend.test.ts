import { describe, expect, it } from "vitest";
import { makeDomain } from "../../kvm.fixture.js";
import { toBytes, toText } from "../../xenstore/wire.js";
import { ConsoleBackend } from "./console-backend.js";
import { ConsoleFrontend, forget, REF } from "./frontend.fixture.js";

function setUp(number = 1) {
  const heard: string[] = [];
  const told: string[] = [];
  let type: (bytes: Uint8Array) => void = () => undefined;
  const stream = {
    write: (bytes: Uint8Array) => heard.push(toText(bytes)),
    onData: (receiver: typeof type) => {
      type = receiver;
    },
  };
  const options = { channel: "org.example.test", onConnected: () => told.push("connected") };
  const backend = new ConsoleBackend(number, stream, options);
  const test = makeDomain([backend]);
  const frontend = new ConsoleFrontend(test, number);
  return { backend, test, frontend, heard, told, type: (text: string) => type(toBytes(text)) };
}

describe("a PV console beside hvc0", () => {
  it("tells programs in the guest its name, and connects at Initialised as Linux needs it", () => {
    const { frontend, backend, told } = setUp();
    expect(frontend.peek(`${frontend.frontend}/name`)).toBe("org.example.test");
    expect(frontend.read("state")).toBe("2");
    frontend.connect();
    expect(frontend.read("state")).toBe("4");
    frontend.write("state", "4");
    expect(told).toEqual(["connected"]);
    expect(backend.status()).toEqual({ name: "hvc1", class: "console", connected: true });
  });

  it("carries bytes both ways", () => {
    const { frontend, heard, type } = setUp();
    type("lost: there is no driver");
    frontend.connect();
    frontend.say("hello");
    expect(heard).toEqual(["hello"]);
    type("and back\0\xff");
    expect(frontend.hear()).toBe("and back\0\xff");
  });

  it("lets go of the page when the guest does", () => {
    const { frontend, backend } = setUp();
    frontend.connect();
    expect(frontend.flags(REF)).not.toBe(1);
    frontend.write("state", "5");
    expect(frontend.read("state")).toBe("5");
    frontend.write("state", "6");
    expect(frontend.read("state")).toBe("6");
    expect(frontend.flags(REF)).toBe(1);
    expect(backend.status().connected).toBe(false);
  });

  it("says what is wrong with a frontend", () => {
    const { frontend, test } = setUp();
    frontend.write("state", "3");
    expect(frontend.error()).toBe("22 ring-ref is no number");
    expect(test.lines.join()).toContain("hvc1: ring-ref is no number");
  });

  it("is as new after a soft reset", () => {
    const { frontend, test, heard, told } = setUp();
    frontend.connect();
    test.domain.softReset();
    expect(frontend.read("state")).toBe("2");
    frontend.connect();
    frontend.say("again");
    expect(heard).toEqual(["again"]);
    expect(told).toHaveLength(2);
  });

  it("leaves the ring alone while it is suspended, and keeps input", async () => {
    const { frontend, backend, heard, type } = setUp();
    frontend.connect();
    await backend.suspend();
    frontend.say("later");
    type("input");
    expect([heard, frontend.hear()]).toEqual([[], ""]);
    backend.resume();
    expect([heard, frontend.hear()]).toEqual([["later"], "input"]);
  });

  it("goes on in the place of one that was saved, with the input that waited", async () => {
    const { frontend, backend, test, type } = setUp();
    frontend.connect();
    await backend.suspend();
    type("\x00\xffkept");
    const saved = JSON.parse(JSON.stringify(backend.save()));
    forget(frontend, backend);
    const heard: string[] = [];
    const told: string[] = [];
    const stream = {
      write: (bytes: Uint8Array) => heard.push(toText(bytes)),
      onData: () => undefined,
    };
    const next = new ConsoleBackend(1, stream, {
      onConnected: () => told.push("connected"),
      onRestored: () => told.push("restored"),
    });
    next.restore(test.domain, saved);
    expect(told).toEqual(["restored"]);
    expect(frontend.hear()).toBe("\x00\xffkept");
    frontend.say("hello");
    expect(heard).toEqual(["hello"]);
  });

  it.each([
    null,
    {},
    { place: { ref: -1, port: 1 } },
    { input: "0" },
    { input: 5 },
    { device: 1 },
  ])("refuses damaged data: %j", async (damage) => {
    const { frontend, backend, test } = setUp();
    frontend.connect();
    await backend.suspend();
    const saved = JSON.parse(JSON.stringify(backend.save()));
    forget(frontend, backend);
    const data =
      damage === null || Object.keys(damage).length === 0 ? damage : { ...saved, ...damage };
    const next = new ConsoleBackend(1, { write: () => undefined, onData: () => undefined });
    expect(() => next.restore(test.domain, data)).toThrow(
      expect.objectContaining({ code: "STATE_DAMAGED" }),
    );
  });

  it.each([0, 8, 1.5, Number.NaN])("has no number %s", (number) => {
    const make = () =>
      new ConsoleBackend(number, { write: () => undefined, onData: () => undefined });
    expect(make).toThrow(expect.objectContaining({ code: "CONSOLE_NUMBER" }));
  });
});

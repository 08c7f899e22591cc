import { describe, expect, it } from "vitest";
import { Xencons } from "../../../../abi/xen/console.js";
import { putBytes, takeBytes } from "../../byte-ring.js";
import { makeDomain } from "../../kvm.fixture.js";
import { LinearPage } from "../../shared-page.js";
import { toBytes, toText } from "../../xenstore/wire.js";
import { GuestSide } from "../guest.fixture.js";
import { ConsoleBackend } from "./console-backend.js";

const REF = 8;
const GFN = 0x50;
const FROM_GUEST = {
  data: Xencons.out,
  size: Xencons.OUT_SIZE,
  cons: Xencons.out_cons,
  prod: Xencons.out_prod,
};
const TO_GUEST = {
  data: Xencons.in,
  size: Xencons.IN_SIZE,
  cons: Xencons.in_cons,
  prod: Xencons.in_prod,
};

class ConsoleFrontend extends GuestSide {
  port0 = 0;

  constructor(test: ReturnType<typeof makeDomain>, number = 1) {
    super(test, `console/${number}`);
  }

  /** As hvc_xen does it. */
  connect(state = 3): void {
    this.grant(REF, GFN);
    this.port0 = this.port();
    this.write("ring-ref", `${REF}`);
    this.write("port", `${this.port0}`);
    this.write("state", `${state}`);
  }

  say(text: string): void {
    putBytes(this.page, FROM_GUEST, toBytes(text));
    this.notify(this.port0);
  }

  hear(): string {
    return toText(takeBytes(this.page, TO_GUEST, Xencons.IN_SIZE) ?? new Uint8Array(0));
  }

  get page(): LinearPage {
    const { physmap, config } = this.test.domain;
    const at = physmap.memory.locate(GFN * 4096, 4096);
    if (at === undefined) throw new Error("the frame is not there");
    return new LinearPage(config.vm.linear, at);
  }
}

/** As if the old backend had never been: its process is gone. */
function forget(frontend: ConsoleFrontend, backend: ConsoleBackend): void {
  backend.disconnect(() => undefined);
  const paths = [`${frontend.frontend}/state`, "/local/domain/1/error/device/console/1/error"];
  for (const path of paths) frontend.test.domain.store.unwatch(0, path, path);
}

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

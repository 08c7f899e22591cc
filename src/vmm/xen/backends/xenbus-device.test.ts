import { describe, expect, it } from "vitest";
import { makeDomain } from "../kvm.fixture.js";
import { GuestSide } from "./guest.fixture.js";
import { XenbusDevice, type XenbusDriver } from "./xenbus-device.js";

/** A device of a class that needs one key, `key`, whose connections may take their time to end. */
function setUp(connectsAt = [3, 4]) {
  const test = makeDomain();
  const log: string[] = [];
  let drain: () => void = () => undefined;
  let slow = false;
  const driver: XenbusDriver = {
    class: "vbd",
    id: "51712",
    name: "xvda",
    connectsAt: new Set(connectsAt),
    nodes: () => ({ frontend: { "virtual-device": "51712" }, backend: { sectors: "8" } }),
    connectTo: (frontend) => {
      const key = frontend.number("key");
      log.push(`connect ${key}`);
      return key === undefined ? "key is no number" : undefined;
    },
    disconnect: (onDrained) => {
      log.push("disconnect");
      drain = onDrained;
      if (!slow) onDrained();
    },
  };
  const device = new XenbusDevice(test.domain, driver);
  device.announce(true);
  const guest = new GuestSide(test, "vbd/51712");
  const connect = (): void => {
    guest.write("key", "1");
    guest.write("state", "3");
    guest.write("state", "4");
    log.length = 0;
  };
  return {
    ...{ test, driver, device, guest, log, connect },
    drain: () => drain(),
    beSlow: () => {
      slow = true;
    },
  };
}

describe("XenbusDevice", () => {
  it("is complete before the guest looks", () => {
    const { guest } = setUp();
    const { frontend, backend } = guest;
    const names = ["backend", "backend-id", "virtual-device", "state"];
    expect(names.map((name) => guest.peek(`${frontend}/${name}`))).toEqual([
      ...[backend, "0", "51712", "1"],
    ]);
    const own = ["frontend", "frontend-id", "online", "sectors", "state"];
    expect(own.map((name) => guest.read(name))).toEqual([frontend, "1", "1", "8", "2"]);
    const { store } = guest.test.domain;
    expect(store.write(1, 0, `${backend}/state`, Uint8Array.of(0x34))).toBe("EACCES");
    expect(store.rm(1, 0, backend)).toBe("EACCES");
  });

  it.each<[string, number[], string[]]>([
    ["Linux's disk: boot, power-off", [3, 4, 5, 6], ["4", "5", "6"]],
    ["a network card, which knows no 3", [4, 5, 6], ["4", "5", "6"]],
    ["GRUB: 3, then 6 and 1 for the kernel", [3, 6, 1, 3], ["4", "6", "2", "4"]],
    ["Windows closes first", [5, 6, 1, 3, 4], ["5", "6", "2", "4"]],
    ["kexec: down to 1", [3, 4, 5, 6, 1], ["4", "5", "6", "2"]],
    // What is written inside of the guest's own request is heard of after it: 5 and 6 are over then.
    ["a new kernel that finds 4 and says 1 at once", [3, 4, 1, 3], ["4", "2", "4"]],
    ["closed, and open again without 1", [3, 6, 3], ["4", "6", "4"]],
    ["what is no step of a frontend", [2, 7, 8, 9, 0], []],
  ])("follows %s", (_, states, expected) => {
    const { guest } = setUp();
    guest.write("key", "7");
    const seen = guest.watchStates();
    for (const state of states) guest.write("state", `${state}`);
    expect(seen).toEqual(expected.length === 0 ? ["6"] : expected);
  });

  it("waits for 4 where the class says so", () => {
    const { guest, log } = setUp([4]);
    guest.write("key", "7");
    guest.write("state", "3");
    expect(log).toEqual([]);
    guest.write("state", "4");
    expect(log).toEqual(["connect 7"]);
  });

  it.each([
    "",
    " 4",
    "4 ",
    "+4",
    "0x4",
    "4\0",
    "44444444444",
    "vier",
    "-1",
    "1".repeat(2000),
  ])("does not move for the state %j", (state) => {
    const { guest, connect, log } = setUp();
    connect();
    guest.write("state", state);
    expect([guest.read("state"), log]).toEqual(["4", []]);
  });

  it("reads no key that is not a decimal number of 32 bits", () => {
    for (const key of ["4294967296", "-1", "1e3", "", " 1", "1".repeat(65)]) {
      const { guest, log } = setUp();
      guest.write("key", key);
      guest.write("state", "3");
      expect([key, log, guest.read("state")]).toEqual([key, ["connect undefined"], "5"]);
    }
  });

  it("says what is wrong when it cannot connect, and takes another try", () => {
    const { guest, test } = setUp();
    guest.write("state", "3");
    guest.write("state", "4");
    expect(guest.read("state")).toBe("5");
    const error = guest.peek("/local/domain/0/error/backend/vbd/1/51712/error");
    expect(error).toBe("22 key is no number");
    expect(test.lines).toEqual(["xvda: key is no number"]);
    guest.write("state", "6");
    guest.write("state", "1");
    guest.write("key", "1");
    guest.write("state", "3");
    expect(guest.read("state")).toBe("4");
  });

  it("repeats what the guest complains of, but not without end", () => {
    const { test } = setUp();
    const path = "/local/domain/1/error/device/vbd/51712/error";
    const say = (text: string): void => {
      test.domain.store.write(1, 0, path, new TextEncoder().encode(text));
    };
    say("2 reading backend fields\u001b[2J\n");
    expect(test.lines).toEqual(["xvda: the guest says: 2 reading backend fields?[2J?"]);
    for (let i = 0; i < 50; i++) say(`${i} again`);
    say("x".repeat(2000));
    expect(test.lines).toHaveLength(8);
  });

  it("does not care for paths that the guest has written", () => {
    const { guest, connect, test } = setUp();
    connect();
    guest.write("backend", "/local/domain/0/backend/vbd/1/666");
    guest.write("backend-id", "1");
    guest.write("state", "5");
    guest.write("state", "6");
    expect(guest.read("state")).toBe("6");
    expect(guest.peek("/local/domain/0/backend/vbd/1/666")).toBeUndefined();
    expect(test.lines).toEqual([]);
  });

  it.each([
    "/local/domain/1/device/vbd/51712/state",
    "/local/domain/1/device/vbd/51712",
  ])("takes the removal of %s for the end", (path) => {
    const { guest, connect, log, test } = setUp();
    connect();
    expect(test.domain.store.rm(1, 0, path)).toBeUndefined();
    expect(log).toEqual(["disconnect"]);
    expect(guest.read("state")).toBe("6");
  });

  it("takes one step after another when the old connection takes long to end", () => {
    const { guest, connect, log, drain, beSlow } = setUp();
    connect();
    beSlow();
    const seen = guest.watchStates();
    for (const state of ["6", "1", "3", "5", "3", "6", "1", "3"]) guest.write("state", state);
    expect([log, seen]).toEqual([["disconnect"], []]);
    drain();
    // The guest did not wait: of all its states only the last one counts.
    expect(log).toEqual(["disconnect", "connect 1"]);
    expect(seen).toEqual(["6", "4"]);
  });

  it("leaves nothing of what a guest does between 6 and 1", () => {
    const { guest, connect, log, drain, beSlow } = setUp();
    connect();
    beSlow();
    guest.write("state", "6");
    guest.write("state", "1");
    expect(guest.read("state")).toBe("4");
    drain();
    expect([log, guest.read("state")]).toEqual([["disconnect"], "2"]);
  });

  it("is unplugged with the frontend's consent", async () => {
    const { guest, connect, device, log } = setUp();
    connect();
    const seen = guest.watchStates();
    let gone = false;
    const unplugged = device.unplug().then(() => {
      gone = true;
    });
    await Promise.resolve();
    expect([guest.read("online"), seen, gone]).toEqual(["0", ["5"], false]);
    // A frontend that goes on does not get it back.
    guest.write("state", "4");
    expect([seen, log]).toEqual([["5"], []]);
    guest.write("state", "6");
    await unplugged;
    expect(log).toEqual(["disconnect"]);
    expect(guest.peek(guest.backend)).toBeUndefined();
    expect(guest.peek(guest.frontend)).toBeUndefined();
    await device.unplug();
  });

  it("is unplugged at once where no frontend uses it", async () => {
    const { guest, device } = setUp();
    const seen = guest.watchStates();
    await device.unplug();
    expect(guest.peek(guest.backend)).toBeUndefined();
    expect(seen.at(-1)).toBe("gone");
    guest.write("state", "3");
  });

  it("tells of changed nodes by the state that it has", () => {
    const { guest, connect, device } = setUp();
    connect();
    const seen = guest.watchStates();
    device.update({ sectors: "16" });
    expect([guest.read("sectors"), seen]).toEqual(["16", ["4"]]);
  });

  it("is replaced without a trace, and its successor waits until all is drained", () => {
    const { guest, connect, device, driver, test, log, drain, beSlow } = setUp();
    connect();
    guest.write("stale", "1");
    beSlow();
    let next: XenbusDevice | undefined;
    device.abandon(() => next?.ready());
    next = new XenbusDevice(test.domain, { ...driver, name: "next" });
    next.announce(false);
    expect([guest.read("state"), guest.peek(`${guest.frontend}/state`)]).toEqual(["1", "1"]);
    expect(guest.peek(`${guest.frontend}/stale`)).toBeUndefined();
    guest.write("key", "2");
    guest.write("state", "3");
    expect(log).toEqual(["disconnect"]);
    drain();
    expect(log).toEqual(["disconnect", "connect 2"]);
    expect(guest.read("state")).toBe("4");
  });

  it("is restored as it was, without a word to the guest", () => {
    const { guest, connect, device, driver, test } = setUp();
    connect();
    const saved = JSON.parse(JSON.stringify(device.save()));
    device.abandon(() => undefined);
    const seen = guest.watchStates();
    const next = new XenbusDevice(test.domain, driver);
    next.restore(saved);
    next.ready();
    expect(seen).toEqual([]);
    guest.write("state", "5");
    expect(seen).toEqual(["5"]);
    for (const damaged of [null, {}, { ...saved, state: 9 }, { ...saved, online: 1 }]) {
      expect(() => next.restore(damaged)).toThrow("damaged");
    }
  });
});

import { describe, expect, it } from "vitest";
import { makeDomain } from "../../kvm.fixture.js";
import { toBytes, toText } from "../../xenstore/wire.js";
import { ConsoleBackend, type ConsoleOptions } from "./console-backend.js";
import { ConsoleFrontend, forget, GFN, REF } from "./frontend.fixture.js";

/** A console from its first node to its end: who hears what, and what is left of it. */
class Stream {
  readonly heard: string[] = [];
  room = 4096;
  type: (text: string) => void = () => undefined;
  makeRoom: () => void = () => undefined;

  write(bytes: Uint8Array): void {
    this.heard.push(toText(bytes));
  }
  onData(receiver: (bytes: Uint8Array) => void): void {
    this.type = (text) => receiver(toBytes(text));
  }
  onRoom(listener: () => void): void {
    this.makeRoom = listener;
  }
}

function setUp(options: ConsoleOptions = {}) {
  const stream = new Stream();
  const backend = new ConsoleBackend(1, stream, options);
  const test = makeDomain([backend]);
  const frontend = new ConsoleFrontend(test);
  return { stream, backend, test, frontend, domain: test.domain };
}

/** What a suspended console saves, and another process that has it. */
async function moved(all: ReturnType<typeof setUp>, change: (saved: Saved) => void = () => {}) {
  const { backend, frontend } = all;
  await backend.suspend();
  const saved: Saved = JSON.parse(JSON.stringify(backend.save()));
  forget(frontend, backend);
  change(saved);
  const stream = new Stream();
  const told: string[] = [];
  const next = new ConsoleBackend(1, stream, {
    onConnected: () => told.push("connected"),
    onRestored: () => told.push("restored"),
  });
  return { saved, stream, told, next, restore: () => next.restore(all.domain, saved as never) };
}

/** What `save` gives, for those who damage it. */
interface Saved {
  device: { state: number; online: boolean; connected: boolean };
  place: Record<string, unknown> | null;
  input: unknown;
}

type Damage = (saved: Saved) => void;

describe("the nodes of a console", () => {
  it.each([
    ["without a channel", {}, undefined],
    ["with one", { channel: "org.example.agent" }, "org.example.agent"],
  ])("%s are those of libxl (docs/misc/channel.txt)", async (_, options, name) => {
    const { frontend, backend } = setUp(options);
    const at = (node: string) => frontend.peek(`${frontend.frontend}/${node}`);
    expect([at("type"), at("output"), at("tty")]).toEqual(["ioemu", "pty", ""]);
    expect([at("name"), frontend.read("name")]).toEqual([name, name]);
    expect(frontend.read("protocol")).toBe("vt100");
    expect(await backend.identity()).toEqual({ generation: name });
  });
});

describe("a console that is in no domain yet", () => {
  it("has no guest, loses input, and lets all be done with it", async () => {
    const stream = new Stream();
    const backend = new ConsoleBackend(7, stream);
    backend.reset();
    stream.type("lost");
    stream.makeRoom();
    expect(backend.status()).toEqual({ name: "hvc7", class: "console", connected: false });
    expect(backend.save()).toEqual({ device: null, place: null, input: "" });
    await backend.suspend();
    backend.resume();
    await backend.unplug();
    await backend.close();
  });
});

describe("a frontend that cannot be served", () => {
  it.each([
    ["no ring", { "ring-ref": "x" }, "ring-ref is no number"],
    ["no port", { port: "x" }, "port is no number"],
    ["a ring that is not granted", { "ring-ref": "99" }, "ring-ref 99 cannot be used"],
    ["a port that there is not", { port: "4000" }, "port 4000 is not for this domain"],
  ])("with %s is told so, and the next try is free", (_, changes, reason) => {
    const { frontend, backend, domain, stream } = setUp();
    frontend.connect(1);
    for (const [name, value] of Object.entries(changes)) frontend.write(name, value);
    frontend.write("state", "3");
    expect(frontend.error()?.startsWith(`22 ${reason}`)).toBe(true);
    expect([frontend.read("state"), backend.status().connected]).toEqual(["5", false]);
    expect([frontend.flags(REF), domain.grantTable.inUse]).toEqual([1, false]);
    frontend.write("state", "6");
    frontend.write("state", "1");
    frontend.connect();
    frontend.say("hello");
    expect(stream.heard).toEqual(["hello"]);
  });

  it("with a ring for reading only is told so", () => {
    const { frontend } = setUp();
    frontend.connect(1);
    frontend.grant(REF, GFN, { flags: 5 });
    frontend.write("state", "3");
    expect(frontend.error()).toMatch(/^22 ring-ref 8 cannot be used/);
  });
});

describe("a connection", () => {
  it("takes what was written before it was there, and waits for room on the host", () => {
    const { frontend, stream } = setUp();
    frontend.connect(1);
    stream.room = 3;
    frontend.say("hello");
    expect(stream.heard).toEqual([]);
    frontend.write("state", "3");
    expect(stream.heard).toEqual(["hel"]);
    stream.room = 10;
    stream.makeRoom();
    expect(stream.heard).toEqual(["hel", "lo"]);
  });

  it("costs work for each look at the ring", () => {
    const { frontend, domain } = setUp();
    frontend.connect();
    domain.takeWork();
    frontend.say("a");
    const once = domain.takeWork();
    frontend.say("b");
    frontend.say("c");
    expect([once > 0, domain.takeWork()]).toEqual([true, 2 * once]);
  });

  it("ends with what is in its ring; the next one has nothing of it", () => {
    const { frontend, stream, backend } = setUp();
    frontend.connect();
    frontend.write("state", "6");
    frontend.say("late");
    stream.type("lost");
    stream.makeRoom();
    expect([stream.heard, frontend.hear()]).toEqual([[], ""]);
    expect([frontend.flags(REF), backend.save()]).toMatchObject([1, { place: null, input: "" }]);
  });

  it("stands a page that the balloon takes", () => {
    const { frontend, stream, domain } = setUp();
    frontend.connect();
    domain.physmap.release(GFN);
    frontend.notify(frontend.port0);
    stream.type("lost");
    frontend.notify(frontend.port0);
    domain.physmap.populate(GFN);
    frontend.say("here");
    expect([stream.heard.join(""), frontend.read("state")]).toEqual(["here", "4"]);
  });

  it("begins while it is suspended, and carries nothing before it goes on", async () => {
    const { frontend, stream, backend } = setUp();
    await backend.suspend();
    frontend.connect();
    frontend.say("later");
    stream.type("input");
    stream.makeRoom();
    expect([frontend.read("state"), stream.heard, frontend.hear()]).toEqual(["4", [], ""]);
    backend.resume();
    expect([stream.heard, frontend.hear()]).toEqual([["later"], "input"]);
    backend.resume();
    frontend.say("more");
    expect(stream.heard).toEqual(["later", "more"]);
  });
});

describe("a console that is unplugged", () => {
  it("goes when the guest lets go, and its page is the guest's again", async () => {
    const { frontend, backend, stream } = setUp();
    frontend.connect();
    const unplugged = backend.unplug();
    expect([frontend.read("state"), frontend.read("online")]).toEqual(["5", "0"]);
    frontend.write("state", "6");
    await unplugged;
    expect([frontend.peek(frontend.frontend), frontend.read("state")]).toEqual([
      undefined,
      undefined,
    ]);
    expect([frontend.flags(REF), backend.status().connected]).toEqual([1, false]);
    stream.type("lost");
    await backend.unplug();
    expect(backend.save()).toEqual({ device: null, place: null, input: "" });
  });
});

describe("a console in another process", () => {
  it("takes what the guest wrote meanwhile", async () => {
    const all = setUp();
    all.frontend.connect();
    const { stream, restore, told } = await moved(all);
    all.frontend.say("meanwhile");
    restore();
    expect([stream.heard, told]).toEqual([["meanwhile"], ["restored"]]);
    expect(all.frontend.flags(REF)).not.toBe(1);
  });

  it("has input of every byte that waited, and no more", async () => {
    const all = setUp();
    all.frontend.connect();
    await all.backend.suspend();
    const bytes = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    all.stream.type(bytes);
    const { saved, restore } = await moved(all);
    expect(saved.input).toMatch(/^000102.*fdfeff$/);
    restore();
    expect([all.frontend.hear(), all.frontend.hear()]).toEqual([bytes, ""]);
  });

  it("sees that its guest let go meanwhile", async () => {
    const all = setUp();
    all.frontend.connect();
    const { next, restore } = await moved(all);
    all.frontend.write("state", "6");
    restore();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["6", false]);
    expect(all.frontend.flags(REF)).toBe(1);
  });

  it("without a driver is as it was, and is told of one that comes", async () => {
    const all = setUp();
    const { stream, told, next, restore } = await moved(all);
    restore();
    stream.type("lost");
    expect([told, next.status().connected]).toEqual([[], false]);
    all.frontend.connect();
    expect([told, next.status().connected, all.frontend.hear()]).toEqual([["connected"], true, ""]);
  });

  it("carries nothing while it is suspended", async () => {
    const all = setUp();
    all.frontend.connect();
    const { stream, next, restore } = await moved(all);
    await next.suspend();
    restore();
    all.frontend.say("later");
    stream.type("input");
    expect([stream.heard, all.frontend.hear()]).toEqual([[], ""]);
    next.resume();
    expect([stream.heard, all.frontend.hear()]).toEqual([["later"], "input"]);
  });

  it("goes on after a soft reset", async () => {
    const all = setUp();
    all.frontend.connect();
    const { stream, next, restore } = await moved(all);
    restore();
    next.reset();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["2", false]);
    all.frontend.connect();
    all.frontend.say("again");
    expect(stream.heard).toEqual(["again"]);
  });

  const damages: [string, Damage][] = [
    ...["ref", "port"].flatMap((name) =>
      [undefined, null, "8", -1, 8.5, 2 ** 32, 4000].map((value): [string, Damage] => {
        const damage: Damage = (saved) => void Object.assign(saved.place ?? {}, { [name]: value });
        return [`${name} ${value}`, damage];
      }),
    ),
    ["no place", (saved) => void Object.assign(saved, { place: null })],
    ["no connection", (saved) => void Object.assign(saved.device, { connected: false })],
    ...[undefined, null, 5, "0", "0g", "g0", "00 ", "0A"].map((input): [string, Damage] => {
      const damage: Damage = (saved) => void Object.assign(saved, { input });
      return [`input ${JSON.stringify(input)}`, damage];
    }),
  ];
  it.each(damages)("refuses %s", async (_, damage) => {
    const all = setUp();
    all.frontend.connect();
    const { restore } = await moved(all, damage);
    expect(restore).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  });
});

import { expect, it } from "vitest";
import { makeDomain } from "../../kvm.fixture.js";
import { ConsoleBackend } from "./console-backend.js";
import { ConsoleFrontend, forget } from "./frontend.fixture.js";

/** A console, and what its stream has heard. */
function consoleOf(isBusy = false) {
  const heard: string[] = [];
  let type: (text: string) => void = () => undefined;
  const backend = new ConsoleBackend(
    1,
    {
      write: (bytes) => heard.push(Buffer.from(bytes).toString()),
      onData: (receiver) => {
        type = (text) => receiver(Buffer.from(text));
      },
    },
    { isBusy: () => isBusy },
  );
  return { backend, heard, type: (text: string) => type(text) };
}

it("goes on in the middle of what it does, and nobody is told", () => {
  const { backend, type } = consoleOf();
  const frontend = new ConsoleFrontend(makeDomain([backend]));
  frontend.connect();
  type(`${"a".repeat(1024)}waits`);
  const kept = JSON.parse(JSON.stringify(backend.kept()));
  forget(frontend, backend);
  const states = frontend.watchStates();
  const next = consoleOf();
  next.backend.keep(frontend.test.domain, kept);
  expect([states, next.heard, next.backend.status().connected]).toEqual([[], [], true]);
  // What was in the ring and what waited come in their order, and what is typed now behind it.
  next.type(" longer");
  expect(frontend.hear()).toBe("a".repeat(1024));
  frontend.say("heard");
  expect([next.heard, frontend.hear()]).toEqual([["heard"], "waits longer"]);
});

it("without a guest's driver waits for one, as before", () => {
  const { backend } = consoleOf();
  const frontend = new ConsoleFrontend(makeDomain([backend]));
  const kept = JSON.parse(JSON.stringify(backend.kept()));
  forget(frontend, backend);
  const next = consoleOf();
  next.backend.keep(frontend.test.domain, kept);
  frontend.connect();
  frontend.say("here");
  expect(next.heard).toEqual(["here"]);
});

it("is not saved in the middle of what another process could not go on with", () => {
  const { backend } = consoleOf(true);
  new ConsoleFrontend(makeDomain([backend])).connect();
  expect(() => backend.kept()).toThrow(
    expect.objectContaining({
      code: "SNAPSHOT_IMPOSSIBLE",
      message: expect.stringMatching(/hvc1/),
    }),
  );
});

it("refuses what it has not given", () => {
  const { backend } = consoleOf();
  const frontend = new ConsoleFrontend(makeDomain([backend]));
  frontend.connect();
  const kept = JSON.parse(JSON.stringify(backend.kept()));
  const bad = [
    null,
    { ...kept, place: null },
    { ...kept, place: { ref: -1, port: 1 } },
    { ...kept, place: { ref: 9999, port: 1 } },
    { ...kept, input: "0" },
    { ...kept, device: { bus: { state: 99, online: true, connected: true } } },
  ];
  for (const each of bad) {
    forget(frontend, backend);
    const next = consoleOf().backend;
    const keep = () => next.keep(frontend.test.domain, each);
    expect(keep).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
    forget(frontend, next);
  }
});

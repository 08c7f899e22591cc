import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { HostError } from "../../base/index.js";
import type { Disk } from "../../ports/index.js";
import { BlockBackend } from "../../vmm/machine/index.js";
import { answerFor } from "./control.js";
import { type ControlTarget, methods } from "./methods.js";

/** A machine that notes what it is told. */
function setUp() {
  const told: string[] = [];
  const note =
    (name: string) =>
    (...args: unknown[]): void =>
      void told.push([name, ...args.map((arg) => JSON.stringify(arg) ?? "-")].join(" "));
  const machine: ControlTarget["machine"] = {
    ...{ state: "running", instructions: 7, reboots: 1, memoryBytes: 4096, devices: [] },
    addDevice: (device) => {
      if (device.name === "xvdz") throw new HostError("DEVICE_NAME", "there is one");
      told.push(`addDevice ${device.name}`);
    },
    removeDevice: async (name) => note("removeDevice")(name),
    resizeDevice: async (name, bytes) => note("resizeDevice")(name, bytes),
    suspend: async () => note("suspend")(),
    save: async () => {
      throw new HostError("SNAPSHOT_IMPOSSIBLE", "this guest is none");
    },
    ...{ pause: note("pause"), resume: note("resume"), reset: note("reset"), stop: note("stop") },
    requestShutdown: note("requestShutdown"),
    setConsoleSize: note("setConsoleSize"),
    setMemoryTarget: note("setMemoryTarget"),
  };
  const never = (): void => undefined;
  const disk: Disk & { closed: boolean } = {
    ...{ size: 4096, readonly: true, blockSize: 4096, canDiscard: false, closed: false },
    ...{ read: never, write: never, flush: never, discard: never },
    resize: () => Promise.resolve(),
    idle: () => Promise.resolve(),
    close: async () => {
      disk.closed = true;
    },
  };
  const answer = answerFor({
    machine,
    openDevice: { disk: async (name) => new BlockBackend(name, disk) },
  });
  const ask = async (method: unknown, params?: unknown, id: unknown = 1) =>
    JSON.parse(await answer(JSON.stringify({ id, method, params })));
  return { told, disk, answer, ask };
}

it("each method does what its name says", async () => {
  const { told, ask } = setUp();
  const calls: [string, object, string | undefined][] = [
    ["pause", {}, "pause"],
    ["resume", {}, 'resume "cancelled"'],
    ["resume", { as: "restored" }, 'resume "restored"'],
    ["reset", {}, "reset"],
    ["stop", {}, "stop"],
    ["requestShutdown", { how: "reboot" }, 'requestShutdown "reboot"'],
    ["suspend", {}, "suspend"],
    ["setMemoryTarget", { bytes: 1e6 }, "setMemoryTarget 1000000"],
    ["setConsoleSize", { rows: 24, columns: 80 }, "setConsoleSize 24 80"],
    ["removeDevice", { name: "xvdb" }, 'removeDevice "xvdb"'],
    ["resizeDevice", { name: "xvdb", bytes: 8192 }, 'resizeDevice "xvdb" 8192'],
    ["resizeDevice", { name: "xvdb" }, 'resizeDevice "xvdb" -'],
  ];
  for (const [method, params, line] of calls) {
    expect(await ask(method, params)).toEqual({ id: 1, result: null });
    expect(told.splice(0)).toEqual([line]);
  }
  expect(await ask("addDevice", { disk: "xvdc" })).toEqual({ id: 1, result: { name: "xvdc" } });
  expect(told).toEqual(["addDevice xvdc"]);
  const status = { state: "running", instructions: 7, reboots: 1, memoryBytes: 4096, devices: [] };
  expect(await ask("status")).toEqual({ id: 1, result: status });
  expect(await ask("save", { file: "x" })).toMatchObject({
    error: { code: "SNAPSHOT_IMPOSSIBLE" },
  });
  const tried = new Set([...calls.map(([method]) => method), "addDevice", "save", "status"]);
  expect(new Set(Object.keys(methods))).toEqual(tried);
});

it("each method is in docs/control.md", () => {
  const page = readFileSync(new URL("../../../docs/control.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  expect(rows).toEqual(Object.keys(methods));
});

it("what makes no sense is refused, by a code, and does nothing", async () => {
  const { told, answer, ask } = setUp();
  const code = async (line: Promise<{ error?: { code: string } }>) => (await line).error?.code;
  const raw = async (line: string) => code(answer(line).then((text) => JSON.parse(text)));
  expect(await raw("{")).toBe("NO_JSON");
  expect(await raw("[1]")).toBe("NO_JSON");
  expect(await raw("null")).toBe("NO_JSON");
  for (const method of ["toString", "__proto__", "constructor", 1, undefined]) {
    expect(await code(ask(method))).toBe("NO_METHOD");
  }
  const wrong: [string, unknown][] = [
    ["pause", [1]],
    ["pause", "now"],
    ["pause", { hard: true }],
    ["resume", { as: "new" }],
    ["requestShutdown", {}],
    ["setMemoryTarget", { bytes: "1" }],
    ["removeDevice", { name: 1 }],
    ["resizeDevice", { name: "xvda", bytes: null }],
    ["addDevice", {}],
    ["addDevice", { tape: "x" }],
    ["addDevice", { toString: "x" }],
    ["addDevice", { disk: 1 }],
    ["addDevice", { disk: "xvdc", name: "b" }],
  ];
  for (const [method, params] of wrong) expect(await code(ask(method, params))).toBe("BAD_PARAMS");
  expect(told).toEqual([]);
});

it("a request that is refused says why, with its own id; a device that is not taken is closed", async () => {
  const { disk, ask } = setUp();
  expect(await ask("addDevice", { disk: "xvdz" }, "mine")).toEqual({
    id: "mine",
    error: { code: "DEVICE_NAME", message: "there is one" },
  });
  expect(disk.closed).toBe(true);
  expect(await ask("pause", {}, { odd: 1 })).toEqual({ id: null, result: null });
});

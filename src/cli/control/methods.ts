/** What clients of `--control` may ask for: the methods of a machine, by their names. */
import { HostError } from "../../base/index.js";
import { writeSnapshotFile } from "../../hosts/node/index.js";
import type { Backend, Machine } from "../../vmm/machine/index.js";

/** A machine that is controlled. */
export interface ControlTarget {
  readonly machine: Pick<
    Machine,
    | "addDevice"
    | "devices"
    | "instructions"
    | "memoryBytes"
    | "pause"
    | "reboots"
    | "removeDevice"
    | "requestShutdown"
    | "reset"
    | "resizeDevice"
    | "resume"
    | "save"
    | "setConsoleSize"
    | "setMemoryTarget"
    | "state"
    | "stop"
    | "suspend"
  >;
  /** Opens devices as the options of the command line do, by the option's name. */
  readonly openDevice: Readonly<Record<string, (text: string) => Promise<Backend>>>;
}

/** What a request carries: as it came. */
export type Params = Readonly<Record<string, unknown>>;

type Method = (target: ControlTarget, params: Params) => unknown;

/** A request that makes no sense. */
const refuse = (message: string): HostError => new HostError("BAD_PARAMS", message);

function text(params: Params, name: string): string {
  const value = params[name];
  if (typeof value !== "string") throw refuse(`"${name}" has to be a text`);
  return value;
}

function number(params: Params, name: string): number {
  const value = params[name];
  if (typeof value !== "number") throw refuse(`"${name}" has to be a number`);
  return value;
}

function oneOf<const T extends string>(params: Params, name: string, words: readonly T[]): T {
  const word = words.find((one) => one === params[name]);
  if (word === undefined) throw refuse(`"${name}" has to be ${words.join(" or ")}`);
  return word;
}

interface Entry {
  /** Names that its parameters may have. */
  readonly takes: readonly string[] | "a kind of device";
  readonly run: Method;
}

/** All of them, by name; docs/control.md has a line for each. */
export const methods: Readonly<Record<string, Entry>> = {
  status: {
    takes: [],
    run({ machine }) {
      const { state, instructions, reboots, memoryBytes, devices } = machine;
      return { state, instructions, reboots, memoryBytes, devices };
    },
  },
  pause: { takes: [], run: ({ machine }) => machine.pause() },
  resume: {
    takes: ["as"],
    run: ({ machine }, params) =>
      machine.resume(oneOf({ as: "cancelled", ...params }, "as", ["cancelled", "restored"])),
  },
  reset: { takes: [], run: ({ machine }) => machine.reset() },
  stop: { takes: [], run: ({ machine }) => machine.stop() },
  requestShutdown: {
    takes: ["how"],
    run: ({ machine }, params) =>
      machine.requestShutdown(oneOf(params, "how", ["poweroff", "reboot"])),
  },
  suspend: { takes: [], run: ({ machine }) => machine.suspend() },
  save: { takes: ["file", "exact"], run: save },
  setMemoryTarget: {
    takes: ["bytes"],
    run: ({ machine }, params) => machine.setMemoryTarget(number(params, "bytes")),
  },
  setConsoleSize: {
    takes: ["rows", "columns"],
    run: ({ machine }, params) =>
      machine.setConsoleSize(number(params, "rows"), number(params, "columns")),
  },
  addDevice: { takes: "a kind of device", run: addDevice },
  removeDevice: {
    takes: ["name"],
    run: ({ machine }, params) => machine.removeDevice(text(params, "name")),
  },
  resizeDevice: {
    takes: ["name", "bytes"],
    run: ({ machine }, params) => {
      const bytes = params["bytes"] === undefined ? undefined : number(params, "bytes");
      return machine.resizeDevice(text(params, "name"), bytes);
    },
  },
};

/** The guest stays suspended: resume or stop follows. An exact one goes on by itself. */
async function save({ machine }: ControlTarget, params: Params): Promise<void> {
  const file = text(params, "file");
  await writeSnapshotFile(file, await machine.save({ exact: params["exact"] === true }));
}

/** The one parameter is named as the option of the command line, and has its text. */
async function addDevice({ machine, openDevice }: ControlTarget, params: Params) {
  const [kind = "", ...more] = Object.keys(params);
  const open = Object.hasOwn(openDevice, kind) ? openDevice[kind] : undefined;
  if (open === undefined || more.length > 0) {
    throw refuse(`give one of ${Object.keys(openDevice).join(", ")}`);
  }
  const device = await open(text(params, kind));
  try {
    machine.addDevice(device);
  } catch (refusal) {
    await device.close();
    throw refusal;
  }
  return { name: device.name };
}

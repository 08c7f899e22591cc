/** The worker that runs the machine: the page's own thread stays free. */
import { HostError } from "../base/index.js";
import { Engine } from "../engine/bridge/index.js";
import {
  BlobSink,
  BlobSource,
  BrowserClock,
  BrowserLoop,
  BrowserTimers,
  browserDecompressors,
  browserEntropy,
} from "../hosts/browser/index.js";
import { SeededEntropy } from "../hosts/sim/entropy.js";
import { HeapTimers, VirtualClock } from "../hosts/sim/index.js";
import type { Inspection } from "../inspect/inspection.js";
import type { FromInspected, ToInspected } from "../inspect/protocol.js";
import type { Disk } from "../ports/index.js";
import {
  type Backend,
  consoleCommandLine,
  Machine,
  type MachinePorts,
  SavedMachine,
} from "../vmm/machine/index.js";
import type { BootRequest, StartRequest, ToPage, ToWorker } from "./protocol.js";
import { Stepper } from "./stepper.js";
import { WorkerConsole } from "./worker-console.js";

/** Milliseconds between two words about what the machine does. */
const STATUS_MS = 250;

const port = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: ToPage, transfer?: Transferable[]): void;
};
const say = (message: ToPage, transfer: Transferable[] = []) => port.postMessage(message, transfer);

const loop = new BrowserLoop();
const console = new WorkerConsole((bytes) => say({ kind: "output", bytes }, [bytes.buffer]));
let machine: Machine | undefined;
let stepper: Stepper | undefined;
let inspection: Promise<Inspection> | undefined;
let clock: TimePorts["clock"] | undefined;
/** The terminal's size, which may change while the machine is made. */
let size = { rows: 24, columns: 80 };

const log: MachinePorts["log"] = {
  warn: (text) => say({ kind: "log", text }),
  debug: () => undefined,
};

type TimePorts = Pick<MachinePorts, "clock" | "timers" | "entropy">;

function timePorts(choice: StartRequest["clock"]): TimePorts {
  if (choice === "virtual") {
    const clock = new VirtualClock();
    return { clock, timers: new HeapTimers(clock), entropy: new SeededEntropy() };
  }
  const clock = new BrowserClock();
  clock.work = () => machine?.instructions ?? 0;
  return { clock, timers: new BrowserTimers(clock), entropy: browserEntropy };
}

async function start(request: StartRequest): Promise<void> {
  size = request;
  say({ kind: "progress", text: "loading the engine" });
  const answer = await fetch(request.engine);
  if (!answer.ok) throw new HostError("NOT_BUILT", `the engine cannot be loaded: ${answer.status}`);
  const core = new Uint8Array(await answer.arrayBuffer());
  const time = timePorts(request.clock);
  const seed = new Uint8Array(8);
  time.entropy.fill(seed);
  const engine = await compile(core, new DataView(seed.buffer).getBigUint64(0));
  const ports = { engine, decompressors: browserDecompressors, loop, log, console, ...time };
  machine = await makeMachine(request, ports);
  stepper = new Stepper(machine, loop);
  clock = time.clock;
  machine.setConsoleSize(size.rows, size.columns);
  say({ kind: "started" });
  const timer = setInterval(() => tell(), STATUS_MS);
  const end = await machine.run();
  clearInterval(timer);
  tell();
  say({ kind: "end", end });
}

/** @throws HostError NOT_BUILT when the browser compiles nothing here: the page's rules forbid it, or the file is another one. */
async function compile(core: Uint8Array<ArrayBuffer>, seed: bigint): Promise<Engine> {
  try {
    return await Engine.compile(core, { seed, compilerLater: true });
  } catch (error) {
    if (error instanceof HostError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    const hint =
      "pages with a Content-Security-Policy need script-src 'wasm-unsafe-eval' (docs/browser.md)";
    throw new HostError("NOT_BUILT", `the engine cannot be compiled here: ${why}; ${hint}`);
  }
}

/** What an inspector says; what answers it is loaded when the first one says something. */
async function inspect(message: ToInspected): Promise<void> {
  if (machine === undefined || clock === undefined) return;
  inspection ??= openInspection(machine, clock);
  (await inspection).receive(message);
}

async function openInspection(
  inspected: Machine,
  clock: Pick<TimePorts["clock"], "monotonicNs">,
): Promise<Inspection> {
  const { Inspection, machineTarget } = await import("../inspect/index.js");
  const output = {
    send: (message: FromInspected) => say({ kind: "inspect", message }),
    sendEvents: ({ buffer }: Uint8Array<ArrayBuffer>) =>
      say({ kind: "events", bytes: buffer }, [buffer]),
  };
  const every = (ms: number, callback: () => void) => {
    const timer = setInterval(callback, ms);
    return () => clearInterval(timer);
  };
  return new Inspection(machineTarget(inspected, clock), output, every);
}

async function makeMachine(request: StartRequest, ports: MachinePorts): Promise<Machine> {
  const { boot, snapshot } = request;
  const disk = await openDisk(request);
  if (boot !== undefined) return bootMachine(boot, request.network, disk, ports);
  if (snapshot === undefined) throw new RangeError("nothing to start");
  say({ kind: "progress", text: "reading the snapshot" });
  const saved = await SavedMachine.open(new BlobSource(snapshot));
  const macs = saved.devices.flatMap(({ mac }) => (mac === undefined ? [] : [mac]));
  const devices = [
    ...(disk === undefined ? [] : [disk.device]),
    ...(macs.length === 0 ? [] : await openSavedCards(macs, request.network)),
  ];
  return Machine.restore(saved, { devices }, ports);
}

/** A disk, with what a machine does with it. */
type OpenDisk = { readonly device: Backend } & Pick<
  typeof import("./worker-disk.js"),
  "bootFilesOf"
> & { readonly disk: Disk };

async function openDisk({
  disk: image,
  keepsChanges,
}: StartRequest): Promise<OpenDisk | undefined> {
  if (image === undefined) return undefined;
  const { bootFilesOf, diskDevice, openDisk } = await import("./worker-disk.js");
  const disk = await openDisk(image, keepsChanges, log);
  return { disk, device: diskDevice(disk), bootFilesOf };
}

async function bootMachine(
  boot: BootRequest,
  network: string | undefined,
  disk: OpenDisk | undefined,
  ports: MachinePorts,
): Promise<Machine> {
  const { memoryBytes, cpus } = boot;
  const { kernel, initrd, append } = await filesOf(boot, disk);
  const devices = [
    ...(disk === undefined ? [] : [disk.device]),
    ...(network === undefined ? [] : [await openCard(network, ports)]),
  ];
  say({ kind: "progress", text: "unpacking the kernel" });
  return Machine.create(
    {
      kernel,
      ...(initrd === undefined ? {} : { initrd }),
      commandLine: consoleCommandLine(append, boot.console),
      memoryBytes,
      cpus,
      console: boot.console,
      devices,
    },
    ports,
  );
}

async function openCard(address: string, { entropy }: MachinePorts): Promise<Backend> {
  say({ kind: "progress", text: "connecting the network" });
  const card = await import("./card.js");
  return card.openCard(address, entropy, log);
}

async function openSavedCards(macs: readonly string[], address?: string): Promise<Backend[]> {
  say({ kind: "progress", text: "connecting the network" });
  const card = await import("./card.js");
  return card.openSavedCards(macs, address, log);
}

/** What is booted: what the person gave, or the kernel that is installed on the disk. */
async function filesOf(
  { kernel, initrd, append }: BootRequest,
  disk: OpenDisk | undefined,
): Promise<{ kernel: Uint8Array; initrd: Uint8Array | undefined; append: string }> {
  if (kernel !== undefined) return { kernel, initrd, append };
  if (disk === undefined) throw new HostError("USAGE", "choose a kernel, or a disk that has one");
  say({ kind: "progress", text: "looking for a kernel on the disk" });
  return disk.bootFilesOf(disk.disk, append);
}

/** Saves the machine, which goes on then. */
async function save(saved: Machine): Promise<void> {
  try {
    const snapshot = await saved.save();
    if (saved.state === "suspended") saved.resume();
    const sink = new BlobSink();
    await snapshot.write(sink);
    say({ kind: "saved", snapshot: sink.blob() });
  } catch (refusal) {
    if (!(refusal instanceof HostError)) throw refusal;
    if (saved.state === "suspended") saved.resume();
    say({ kind: "notSaved", text: refusal.message });
  }
}

function tell(): void {
  if (machine === undefined) return;
  const { state, instructions, reboots, memoryBytes } = machine;
  say({ kind: "status", status: { state, instructions, reboots, memoryBytes } });
}

function fail(error: unknown): void {
  if (error instanceof HostError) {
    say({ kind: "refused", code: error.code, text: error.message });
    return;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  say({ kind: "refused", code: undefined, text });
}

function obey(message: ToWorker): void {
  switch (message.kind) {
    case "start":
      start(message.request).catch(fail);
      return;
    case "input":
      console.receive(message.bytes);
      return;
    case "shown":
      console.shown(message.bytes);
      return;
    case "size":
      size = message;
      machine?.setConsoleSize(message.rows, message.columns);
      return;
    case "ping":
      say({ kind: "pong" });
      return;
    case "inspect":
      inspect(message.message).catch(fail);
      return;
  }
  if (machine === undefined || machine.state === "ended") return;
  if (message.kind === "pause") machine.pause();
  else if (message.kind === "resume") resume(machine);
  else if (message.kind === "step") stepper?.step();
  else if (message.kind === "save") save(machine).catch(fail);
  else machine.reset();
  tell();
}

function resume(paused: Machine): void {
  if (paused.state !== "running") paused.resume();
}

port.onmessage = ({ data }) => {
  try {
    obey(data);
  } catch (error) {
    fail(error);
  }
};

/** The page: a machine in a worker, its terminal, and what one can do to it. */

import { CONSOLE_COMMANDS, EscapeKey } from "../hosts/shared/escape-key.js";
import { type Attached, attachedMachine, hasToken, ownRelay } from "./attached.js";
import { MachineClient, type MachineListener } from "./client.js";
import { element } from "./elements.js";
import {
  debianGuest,
  embeddedGuest,
  type GuestFiles,
  ownGuest,
  type SortedFiles,
  servedGuest,
  sortFiles,
} from "./guests.js";
import type { Inspector } from "./inspector/inspector.js";
import { imageName, keptChanges } from "./kept-changes.js";
import type { MachineStatus, StartRequest } from "./protocol.js";
import { type Action, Saving } from "./saving.js";
import { ConsoleTerminal } from "./terminal.js";

const MIB = 1 << 20;
/** Where the engine is. */
const engineCore = new URL("../../dist/engine/core.wasm", import.meta.url).href;

const terminal = new ConsoleTerminal(
  element("terminal", HTMLElement),
  element("keys", HTMLElement),
);
const state = element("state", HTMLOutputElement);
const figures = element("figures", HTMLOutputElement);
const message = element("message", HTMLElement);
const form = element("form", HTMLFormElement);
const settings = element("settings", HTMLDetailsElement);
const append = element("append", HTMLInputElement);
const network = element("network", HTMLInputElement);
network.value = ownRelay() ?? "";
const fileInputs = {
  kernel: element("kernel", HTMLInputElement),
  initrd: element("initrd", HTMLInputElement),
  disk: element("disk", HTMLInputElement),
  snapshot: element("snapshot", HTMLInputElement),
};
const buttons = {
  pause: element("pause", HTMLButtonElement),
  step: element("step", HTMLButtonElement),
  reset: element("reset", HTMLButtonElement),
  stop: element("stop", HTMLButtonElement),
};
const saveButton = element("save", HTMLButtonElement);

const served = hasToken() ? Promise.resolve(undefined) : servedGuest();
const dropped: SortedFiles = {};
let client: MachineClient | undefined;
let isPaused = false;
let before = { instructions: 0, at: performance.now() };

/** Shows a line above the terminal, with buttons if there is something to do. */
function tell(text: string | undefined, ...actions: readonly Action[]): void {
  message.hidden = text === undefined;
  message.textContent = text ?? "";
  for (const { name, run } of actions) {
    const button = document.createElement("button");
    button.textContent = name;
    button.onclick = () => void run();
    message.append(button);
  }
}

function showState(text: string, runs: boolean, paused = false): void {
  state.textContent = text;
  isPaused = paused;
  buttons.pause.disabled = !runs;
  buttons.pause.textContent = paused ? "Resume" : "Pause";
  buttons.step.disabled = !paused;
  buttons.reset.disabled = !runs;
  saveButton.disabled = text !== "running";
  buttons.stop.disabled = client === undefined;
}

function showStatus(status: MachineStatus): void {
  const now = performance.now();
  const mips = (status.instructions - before.instructions) / (now - before.at) / 1000;
  before = { instructions: status.instructions, at: now };
  const runs = status.state !== "ended";
  showState(status.state, runs, status.state === "paused");
  const memory = `${Math.round(status.memoryBytes / MIB)} MiB`;
  const speed = `${Math.max(0, mips).toFixed(0)} MIPS`;
  figures.textContent = `${status.instructions.toLocaleString("en")} instructions · ${speed} · ${memory}`;
}

const panels = element("panels", HTMLElement);
let inspector: Inspector | undefined;
/** Opens the inspector, which is loaded only then, or closes it. */
async function toggleInspector(): Promise<void> {
  const { Inspector } = await import("./inspector/inspector.js");
  const isNew = inspector === undefined;
  inspector ??= new Inspector(panels, {
    send: (message) => client?.say({ kind: "inspect", message }),
  });
  panels.hidden = !isNew && !panels.hidden;
  if (panels.hidden) inspector.close();
  else await inspector.open("Channels");
}
const inspectButton = element("inspect", HTMLButtonElement);
inspectButton.onclick = () => {
  void toggleInspector().then(() => {
    inspectButton.setAttribute("aria-expanded", String(!panels.hidden));
  });
};

const listener: MachineListener = {
  progress: (text) => showState(text, false),
  started() {
    tell(undefined);
    showState("running", true);
    inspector?.restart();
    terminal.focus();
  },
  output: (bytes, shown) => terminal.write(bytes, shown),
  log: (text) => terminal.note(text),
  status: showStatus,
  saved: (snapshot) => void saving?.saved(snapshot),
  notSaved: (text) => saving?.failed(text),
  ended(text) {
    client = undefined;
    saving?.failed(undefined);
    terminal.note(text);
    showState("ended", false);
    tell(text, { name: "Start again", run: start });
  },
  refused(code, text) {
    client = undefined;
    showState("no machine", false);
    settings.open = true;
    tell(
      code === undefined
        ? `this is a defect of kvm-xen, please report it: ${text}`
        : `${text} (${code})`,
    );
  },
  inspected: (inspect) => inspector?.receive(inspect),
  events: (bytes) => inspector?.receiveEvents(bytes),
  died(text) {
    client = undefined;
    saving?.failed(undefined);
    showState("gone", false);
    tell(text, { name: "Restart", run: start });
  },
};

const saving = hasToken()
  ? undefined
  : new Saving({
      ask: () => client?.say({ kind: "save" }),
      tell,
      button: saveButton,
      label: element("kept-label", HTMLElement),
      name: element("kept-name", HTMLElement),
    });

/** A file that was chosen or dropped. */
const chosenFile = (name: keyof SortedFiles): File | undefined =>
  fileInputs[name].files?.[0] ?? dropped[name];

/** The snapshot that the form names, if it names one. */
async function chosenSnapshot(): Promise<Blob | undefined> {
  const choice = new FormData(form).get("guest");
  if (choice !== "kept" && choice !== "snapshot") return undefined;
  const file = choice === "kept" ? await saving?.kept() : chosenFile("snapshot");
  if (file === undefined) throw new Error("choose a file with a saved machine, or drop one here");
  return file;
}

async function chosenGuest(): Promise<GuestFiles> {
  const progress = (text: string) => showState(text, false);
  const choice = new FormData(form).get("guest");
  if (choice === "embedded") return embeddedGuest(progress);
  if (choice === "debian") {
    const guest = await served;
    if (guest === undefined) throw new Error("the server of this page has no Debian guest");
    return debianGuest(guest, progress);
  }
  const own: SortedFiles = {};
  for (const name of ["kernel", "initrd", "disk"] as const) {
    const file = chosenFile(name);
    if (file !== undefined) own[name] = file;
  }
  if (own.kernel === undefined && own.disk === undefined) {
    throw new Error("choose a kernel, or a disk that has one, or drop them here");
  }
  return ownGuest(own);
}

function bootOf(guest: GuestFiles): NonNullable<StartRequest["boot"]> {
  const number = (id: string) => element(id, HTMLInputElement).valueAsNumber;
  return {
    ...(guest.kernel === undefined ? {} : { kernel: guest.kernel }),
    ...(guest.initrd === undefined ? {} : { initrd: guest.initrd }),
    append: `${guest.append} ${append.value}`.trim(),
    memoryBytes: number("memory") * MIB,
    cpus: number("cpus"),
    console: element("console", HTMLSelectElement).value as "hvc0" | "ttyS0" | "none",
  };
}

/** Starts what the form says, in place of what runs. */
async function start(): Promise<void> {
  stop();
  tell(undefined);
  terminal.clear(new FormData(form).get("guest") === "embedded");
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const mine = new MachineClient(worker, listener);
  client = mine;
  try {
    const snapshot = await chosenSnapshot();
    let what: Pick<StartRequest, "boot" | "snapshot">;
    let disk = chosenFile("disk");
    if (snapshot !== undefined) what = { snapshot };
    else {
      const guest = await chosenGuest();
      what = { boot: bootOf(guest) };
      disk = guest.disk;
    }
    if (client !== mine) return;
    if (snapshot !== undefined) terminal.note("the machine goes on where it was saved");
    before = { instructions: 0, at: performance.now() };
    mine.start({
      ...what,
      ...(disk === undefined ? {} : { disk }),
      ...(network.value.trim() === "" ? {} : { network: network.value.trim() }),
      keepsChanges: element("keep-changes", HTMLInputElement).checked,
      clock: element("clock", HTMLSelectElement).value as "real" | "virtual",
      engine: engineCore,
      rows: terminal.rows,
      columns: terminal.columns,
    });
  } catch (error) {
    if (client !== mine) return;
    stop();
    settings.open = true;
    tell(error instanceof Error ? error.message : String(error));
  }
}

function stop(): void {
  client?.close();
  client = undefined;
  showState("no machine", false);
}

/** The keys of `npm start`, and one to leave the terminal by the keyboard: Tab itself is the guest's. */
const escapeKey = new EscapeKey({ ...CONSOLE_COMMANDS, "\t": "out" });
const KEYS =
  "Ctrl-] then Tab goes on to the buttons, q stops the machine, r resets it, p pauses it or lets it go on, s saves it; Ctrl-] twice is Ctrl-] for the guest";
const commands = {
  out: () => (buttons.pause.disabled ? inspectButton : buttons.pause).focus(),
  leave: () => buttons.stop.click(),
  reset: () => buttons.reset.click(),
  pause: () => buttons.pause.click(),
  save: () => saveButton.click(),
  help: () => terminal.note(KEYS),
};
terminal.onInput = (typed) => {
  const { forward: bytes, commands: wanted } = escapeKey.feed(typed);
  if (bytes.length > 0) client?.say({ kind: "input", bytes });
  for (const command of wanted) commands[command]();
};
terminal.onSize = (rows, columns) => client?.say({ kind: "size", rows, columns });
buttons.pause.onclick = () => client?.say({ kind: isPaused ? "resume" : "pause" });
buttons.step.onclick = () => client?.say({ kind: "step" });
buttons.reset.onclick = () => client?.say({ kind: "reset" });
buttons.stop.onclick = () => {
  stop();
  tell("the machine was stopped", { name: "Start again", run: start });
};
form.onsubmit = (event) => {
  event.preventDefault();
  settings.open = false;
  void start();
};

for (const [name, input] of Object.entries(fileInputs)) {
  input.onchange = () => choose(name === "snapshot" ? "snapshot" : "files");
}

function choose(guest: "files" | "snapshot" | "kept" | "embedded"): void {
  const radio = form.querySelector<HTMLInputElement>(`input[value=${guest}]`);
  if (radio !== null) radio.checked = true;
}

async function drop(files: readonly File[]): Promise<void> {
  const sorted = await sortFiles(files);
  Object.assign(dropped, sorted);
  choose(sorted.snapshot === undefined ? "files" : "snapshot");
  for (const input of Object.values(fileInputs)) input.value = "";
  settings.open = true;
  const { kernel, initrd, disk, snapshot } = dropped;
  const named = sorted.snapshot === undefined ? [kernel, initrd, disk] : [snapshot];
  const names = named.flatMap((file) => (file ? [file.name] : []));
  tell(`dropped: ${names.join(", ")}`, { name: "Start", run: () => form.requestSubmit() });
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length === 0) return;
  drop(files).catch((error: unknown) => {
    // A folder, or a file that is gone.
    tell(`what was dropped cannot be read: ${error instanceof Error ? error.message : error}`);
  });
});

// For tests and for the console of the browser.
Object.assign(globalThis, { kvmXen: { text: () => terminal.text(), terminal } });

/** The page as an inspector of a machine elsewhere. */
async function attach({ name, inspected }: Attached): Promise<void> {
  document.body.classList.add("attached");
  settings.hidden = true;
  inspectButton.hidden = true;
  element("terminal", HTMLElement).hidden = true;
  element("keys", HTMLElement).hidden = true;
  const { AttachedInspector } = await import("./attached-inspector.js");
  new AttachedInspector(panels, { name, inspected, state, figures, tell, buttons, saveButton });
}

/** Says which disks have changes here. */
async function tellChanges(): Promise<void> {
  const kept = await keptChanges();
  const note = element("kept-changes", HTMLElement);
  note.hidden = kept.length === 0;
  note.replaceChildren(
    ...kept.map((changes) => {
      const line = document.createElement("p");
      const megabytes = (changes.bytes / 1e6).toFixed(1);
      line.textContent = `${imageName(changes.identity)}: ${megabytes} MB of changes are kept, and used when it is chosen again `;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Discard";
      button.onclick = () =>
        void changes.discard().then(tellChanges, () => tell("a machine uses these changes"));
      line.append(button);
      return line;
    }),
  );
}

/** Offers the machine that was saved in this tab, if there is one. */
async function begin(): Promise<void> {
  void tellChanges();
  settings.ontoggle = () => void tellChanges();
  const kept = await saving?.kept();
  if (kept === undefined) return start();
  const go = (guest: "kept" | "embedded") => () => {
    choose(guest);
    return start();
  };
  tell(
    `a machine was saved here at ${new Date(kept.lastModified).toLocaleString()}`,
    { name: "Go on with it", run: go("kept") },
    { name: "Start the embedded guest", run: go("embedded") },
  );
}

void attachedMachine().then((attached) => {
  if (attached !== undefined) return attach(attached);
  void served.then((guest) => {
    if (guest === undefined) return;
    element("debian-label", HTMLElement).hidden = false;
    element("debian-name", HTMLElement).textContent = guest.description;
  });
  return begin();
});

import { closeSync, existsSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { HostError } from "../base/index.js";
import type { LinuxRelease } from "../kvm/index.js";
import type { ExecInspector } from "./inspector.js";
import { C, close, eventfd, write } from "./libc.js";
import { adoptOrphans } from "./processes.js";
import { preloadName, SOCKET_VARIABLE, whyNotPreloaded } from "./program.js";
import { runProgram } from "./run-program.js";
import type { EventRequest, TraceRequest, WorkerReport, WorkerRequest } from "./worker.js";

/** Loaded when it is wanted: it knows all of KVM's state, and most programs run without. */
export const loadInspector = async () => (await import("./inspector.js")).ExecInspector;

/** A program to run with this library in place of /dev/kvm. */
export interface ExecRequest {
  readonly program: string;
  readonly args: readonly string[];
  /** Print each call: to a file, or to the standard error output ("-"). Lines of JSON when its name ends in .jsonl. */
  readonly trace?: string;
  /** Which ones: names with commas between, `*` for any letters, all others when it begins with `!`. */
  readonly traceFilter?: string;
  /** Write what happens at Xen's interface of its VMs: `kvm-xen trace exec`. */
  readonly events?: EventRequest;
  /** Shows its VMs to pages, until the program has ended. */
  readonly inspector?: ExecInspector;
  /** Print a table of all calls at the end. */
  readonly stats: boolean;
  /** Answer through shared memory, by a thread that stays awake for a while after each call. */
  readonly mailboxes: boolean;
  /** The release of Linux whose answers are given. */
  readonly linux: LinuxRelease;
}

/** Where the parts of this package are. */
export interface ExecFiles {
  readonly engine: string;
  readonly shim: string;
  /** What the server needs in C. */
  readonly guard: string;
  /** What starts a program with the real /dev/kvm covered. */
  readonly launch: string;
}

/**
 * Runs a program whose /dev/kvm is this library, until it ends, and whatever else has files of KVM.
 * @returns its exit status; 128 and the signal's number when a signal ended it.
 * @throws HostError NO_SHIM when the preload library was not built, NO_PROGRAM when there
 *   is no such program, PROGRAM_REFUSED when it cannot be started, EXEC_SERVER when the server
 *   cannot, TRACE_FILE, TRACE_FILTER.
 */
export async function execProgram(
  request: ExecRequest,
  files: ExecFiles,
  print: (text: string) => void,
): Promise<number> {
  if (!existsSync(files.shim)) {
    throw new HostError(
      "NO_SHIM",
      "exec needs its preload library: install a C compiler (gcc) and run 'npm run build'",
    );
  }
  if (request.program === "") throw new HostError("NO_PROGRAM", "'': no such program");
  // Threads of Node need one, and the server is a thread; this throws what says that there is none.
  process.cwd();
  const trace = await openTrace(request);
  const shim = preloadName(files.shim);
  const name = `kvm-xen-exec-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const stop = eventfd(0, C.EFD_CLOEXEC);
  const abandonOrphans = adoptOrphans();
  const server = startServer(print, {
    engine: files.engine,
    guard: files.guard,
    name,
    stop,
    trace,
    events: request.events,
    inspect: request.inspector?.request,
    stats: request.stats,
    mailboxes: request.mailboxes,
    linux: request.linux,
  });
  try {
    await server.listening;
    const { env } = process;
    const why = whyNotPreloaded(request.program, request.args, env["PATH"] ?? "");
    if (why !== undefined) {
      print(`kvm-xen: ${why}: it does not get this library's /dev/kvm\n`);
    }
    const status = await runProgram({
      ...request,
      launch: files.launch,
      print,
      env: {
        ...env,
        [SOCKET_VARIABLE]: name,
        KVM_XEN_EXEC_SERVER: String(process.pid),
        LD_PRELOAD: [shim.path, env["LD_PRELOAD"]].filter(Boolean).join(" "),
      },
    });
    write(stop, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8);
    const summary = await server.ended;
    const failure = server.failure();
    if (failure !== undefined) print(`kvm-xen: ${failure}\n`);
    if (summary !== undefined) print(`${summary}\n`);
    return status;
  } finally {
    await server.terminate();
    abandonOrphans();
    shim.remove();
    close(stop);
    request.inspector?.close();
    if (trace !== undefined && trace.fd > 2) closeSync(trace.fd);
    if (request.events !== undefined && request.events.fd > 2) closeSync(request.events.fd);
  }
}

async function openTrace({
  trace: path,
  traceFilter: filter,
}: ExecRequest): Promise<TraceRequest | undefined> {
  // Refused here, before anything is started. The names of all structures take long to load.
  if (filter !== undefined) (await import("./trace/index.js")).parseTraceFilter(filter);
  if (path === undefined) return filter === undefined ? undefined : { fd: 2, json: false, filter };
  if (path === "-") return { fd: 2, json: false, filter };
  try {
    return { fd: openSync(path, "w"), json: path.endsWith(".jsonl"), filter };
  } catch (cause) {
    throw new HostError("TRACE_FILE", `${path}: the trace cannot be written there`, { cause });
  }
}

function startServer(print: (text: string) => void, request: WorkerRequest) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: request,
    ...(request.inspect && { transferList: [request.inspect.port] }),
  });
  let listens = () => {};
  let ends = (_: string | undefined) => {};
  let fails = (_: Error) => {};
  const listening = new Promise<void>((resolve, reject) => {
    listens = resolve;
    fails = reject;
  });
  const ended = new Promise<string | undefined>((resolve) => {
    ends = resolve;
  });
  let failure: string | undefined;
  const fail = (message: string, cause?: Error) => {
    failure = `the server of exec failed: ${message}`;
    // It loads most of this package: where few files may be open, that is what fails, and the command has words for it.
    const tooFewFiles = cause !== undefined && "code" in cause && cause.code === "EMFILE";
    fails(tooFewFiles ? cause : new HostError("EXEC_SERVER", failure));
    ends(undefined);
  };
  worker.on("message", (report: WorkerReport) => {
    if (report.kind === "listening") listens();
    if (report.kind === "said") print(`${report.text}\n`);
    if (report.kind === "failed") {
      fail(report.message, Object.assign(new Error(report.message), { code: report.code }));
    }
    if (report.kind === "ended") ends(report.summary);
  });
  worker.on("error", (error) => fail(String(error), error));
  worker.on("exit", () => ends(undefined));
  const terminate = () => worker.terminate();
  return { listening, ended, failure: () => failure, terminate };
}

/** Where a build puts the engine and the preload library. */
export function builtFiles(): ExecFiles {
  const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
  return {
    engine: file("dist/engine/core.wasm"),
    shim: file("dist/exec/libkvm-xen-exec.so"),
    guard: file("dist/exec/libkvm-xen-guard.so"),
    launch: file("dist/exec/kvm-xen-launch"),
  };
}

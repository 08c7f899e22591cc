import { availableParallelism } from "node:os";
import type { LinuxRelease } from "../base/index.js";
import type { InspectRequest } from "./inspect/inspect-server.js";
import type { TracePlan } from "./trace/trace-option.js";

/** Characters of a command line that an inspector's page shows. @nolimit it is the user's own */
const MAX_NAME = 200;

/** The options of `kvm-xen exec`. */
export interface ExecOptions {
  /** true: print to the standard error output; a text: to that file. */
  readonly trace?: string | true;
  readonly traceFilter?: string;
  readonly stats?: true;
  /** Answer through shared memory; where neither is said, if there are several processors. */
  readonly mailbox?: boolean;
  readonly linux: LinuxRelease;
  /** The port of the inspector, or true for a free one. */
  readonly inspect?: number | true;
  readonly allowOrigin?: readonly string[];
}

/** What looks at its VMs: one of both at most. */
export interface ExecWatch {
  /** Events are written. */
  readonly events?: TracePlan;
  /** An inspector is served. */
  readonly inspect?: InspectRequest;
}

/** What running a program needs of this process; tests give their own. */
export interface ExecHost {
  readonly error: { write(text: string): unknown };
}

/**
 * `kvm-xen exec`: runs a program with this library in place of /dev/kvm; `watch` says who looks at its VMs.
 * @returns the program's exit status, 128 and the signal's number when a signal ended it.
 * @throws HostError when it cannot be run.
 */
export async function execCommand(
  words: readonly string[],
  options: ExecOptions,
  host: ExecHost,
  { events, inspect }: ExecWatch = {},
): Promise<number> {
  // Loaded here: the other commands work where its native parts do not.
  const { builtFiles, execProgram, loadInspector } = await import("../exec/index.js");
  const { trace, traceFilter } = options;
  const request = {
    program: words[0] ?? "",
    args: words.slice(1),
    stats: options.stats === true,
    mailboxes: options.mailbox ?? availableParallelism() > 1,
    linux: options.linux,
    ...(trace !== undefined && { trace: trace === true ? "-" : trace }),
    ...(traceFilter !== undefined && { traceFilter }),
    ...(events !== undefined && { events }),
  };
  const print = (text: string): unknown => host.error.write(text);
  if (inspect === undefined) return execProgram(request, builtFiles(), print);
  const { InspectServer } = await import("./inspect/inspect-server.js");
  const inspector = new (await loadInspector())();
  const name = `kvm-xen exec -- ${words.join(" ")}`;
  const server = await InspectServer.open(inspect, {
    ...{ inspected: "exec", name: name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}…` : name },
    connect: (output) => inspector.connect(output),
  });
  print(`kvm-xen: inspector: ${server.address}\n`);
  try {
    return await execProgram({ ...request, inspector }, builtFiles(), print);
  } finally {
    await server.close();
  }
}

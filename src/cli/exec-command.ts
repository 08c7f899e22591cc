import type { LinuxRelease } from "../play/index.js";
import type { TracePlan } from "./trace/trace-option.js";

/** The options of `kvm-xen exec`. */
export interface ExecOptions {
  /** true: print to the standard error output; a text: to that file. */
  readonly trace?: string | true;
  readonly traceFilter?: string;
  readonly stats?: true;
  readonly mailbox?: true;
  readonly linux: LinuxRelease;
}

/** What running a program needs of this process; tests give their own. */
export interface ExecHost {
  readonly error: { write(text: string): unknown };
}

/**
 * `kvm-xen exec`: runs a program with this library in place of /dev/kvm; `events` of its VMs are written.
 * @returns the program's exit status, 128 and the signal's number when a signal ended it.
 * @throws HostError when it cannot be run.
 */
export async function execCommand(
  words: readonly string[],
  options: ExecOptions,
  host: ExecHost,
  events?: TracePlan,
): Promise<number> {
  // Loaded here: the other commands work where its native parts do not.
  const { builtFiles, execProgram } = await import("../exec/index.js");
  const { trace, traceFilter } = options;
  const request = {
    program: words[0] ?? "",
    args: words.slice(1),
    stats: options.stats === true,
    mailboxes: options.mailbox === true,
    linux: options.linux,
    ...(trace !== undefined && { trace: trace === true ? "-" : trace }),
    ...(traceFilter !== undefined && { traceFilter }),
    ...(events !== undefined && { events }),
  };
  return execProgram(request, builtFiles(), (text) => host.error.write(text));
}

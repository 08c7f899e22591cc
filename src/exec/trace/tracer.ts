import { KVM_RUN } from "../../abi/kvm/ioctl.js";
import { errnoName } from "../../base/index.js";
import { argumentOf, type ProgramMemory } from "./argument.js";
import { CallTable } from "./calls.js";
import { exitOf, type RunExit } from "./exit.js";
import type { TraceFilter } from "./filter.js";
import { ioctlName } from "./names.js";
import { show, toJson } from "./text.js";

/** Who calls. */
export interface Caller extends ProgramMemory {
  readonly pid: number;
  readonly tid: number;
}

/** What is called. */
export interface Callee {
  /** Its name in the trace, such as `kvm-vcpu:0`. */
  readonly name: string;
  /** A vCPU's pages, which begin with `kvm_run`. */
  pages(): Uint8Array | undefined;
}

/** A call that is over. */
interface TracedCall {
  readonly caller: Caller;
  readonly file: string;
  readonly name: string;
  readonly argument: unknown;
  readonly result: number;
  readonly exit: RunExit | undefined;
  /** Milliseconds since the trace began, and for how long. */
  readonly start: number;
  readonly duration: number;
}

/** How a call is written: {@link asText}, {@link asJson}. */
export type TraceForm = (call: TracedCall) => string;

/** As strace writes it. */
export const asText: TraceForm = ({ caller, file, name, argument, result, exit, duration }) => {
  const fields = exit?.fields === undefined ? "" : ` ${show(exit.fields)}`;
  const reason = exit === undefined ? "" : ` (${exit.reason}${fields})`;
  const outcome = result < 0 ? `-1 ${errnoName(-result)}` : String(result);
  const time = (duration / 1e3).toFixed(6);
  const who = `[pid ${caller.pid} tid ${caller.tid}]`;
  return `${who} ioctl(${file}, ${name}, ${show(argument)}) = ${outcome}${reason} <${time}>`;
};

/** Milliseconds as seconds, to the microsecond. */
const seconds = (milliseconds: number): number => Math.round(milliseconds * 1e3) / 1e6;

/** As an object of JSON on a line of its own. */
export const asJson: TraceForm = ({ caller, file, name, argument, result, exit, ...times }) =>
  JSON.stringify({
    time: seconds(times.start),
    pid: caller.pid,
    tid: caller.tid,
    file,
    ioctl: name,
    argument: toJson(argument),
    result: Math.max(result, -1),
    ...(result < 0 && { errno: errnoName(-result) }),
    ...(exit !== undefined && { exit: { reason: exit.reason, ...(toJson(exit.fields) ?? {}) } }),
    seconds: seconds(times.duration),
  });

/** Where a trace goes. */
export interface TraceOutput {
  print(line: string): void;
  readonly form: TraceForm;
  /** Which calls are shown; all when left out. */
  readonly filter?: TraceFilter | undefined;
}

/** Writes each call down, and sums them up. */
export class Tracer {
  readonly #output: TraceOutput | undefined;
  readonly #calls = new CallTable();
  readonly #begin = performance.now();

  /** Without an output calls are only counted. */
  constructor(output: TraceOutput | undefined) {
    this.#output = output;
  }

  /** Each call is written: none may go past this. */
  get showsCalls(): boolean {
    return this.#output !== undefined;
  }

  /** So many calls were answered without the server. */
  skipped(name: string, count: number): void {
    this.#calls.count(name, 0, 0, count);
  }

  /** A call comes; what is returned is called with its result. */
  before(
    caller: Caller,
    file: Callee,
    request: number,
    argument: bigint,
  ): (result: number) => void {
    const name = ioctlName(request);
    const output = this.#output?.filter?.(name) === false ? undefined : this.#output;
    // What the kernel writes is shown as it is afterwards.
    const isWritten = ((request >>> 30) & 2) !== 0;
    const early =
      output === undefined || isWritten ? undefined : argumentOf(caller, request, argument);
    const start = performance.now();
    return (result) => {
      const duration = performance.now() - start;
      this.#calls.count(name, result, duration * 1000);
      if (output === undefined) return;
      const pages = request === KVM_RUN && result === 0 ? file.pages() : undefined;
      const call: TracedCall = {
        caller,
        file: file.name,
        name,
        argument: isWritten ? argumentOf(caller, request, argument, result) : early,
        result,
        exit: pages === undefined ? undefined : exitOf(pages),
        start: start - this.#begin,
        duration,
      };
      output.print(output.form(call));
    };
  }

  /** A table of all calls, the most expensive first. */
  summary(): string {
    return this.#calls.toString();
  }
}

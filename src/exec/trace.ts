import { KvmExitReason } from "../abi/kvm/exit.js";
import * as ioctls from "../abi/kvm/ioctl.js";
import { KVM_RUN } from "../abi/kvm/ioctl.js";
import { kvm_run } from "../abi/kvm/structs.js";
import { errnoName } from "../base/index.js";
import type { Client } from "./client.js";
import type { OpenFile } from "./files.js";

const names = new Map<number, string>(
  Object.entries(ioctls).flatMap(([name, value]) =>
    typeof value === "number" && name.startsWith("KVM_") && name !== "KVMIO"
      ? [[value, name] as const]
      : [],
  ),
);

const exits = new Map<number, string>(
  Object.entries(KvmExitReason).map(([name, value]) => [value, `KVM_EXIT_${name}`]),
);

/** Elements of an array that a line shows. */
const SHOWN = 4;

/** A value as text: structures as `{field=value, ...}`, numbers in hexadecimal from 10 on. */
export function show(value: unknown): string {
  if (typeof value === "number") return value > 9 ? `0x${value.toString(16)}` : String(value);
  if (typeof value === "bigint") return value > 9n ? `0x${value.toString(16)}` : String(value);
  if (value instanceof Uint8Array) {
    const hex = [...value.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0"));
    return `"${hex.join("")}${value.length > 16 ? "..." : ""}"`;
  }
  if (Array.isArray(value)) {
    const rest = value.length > SHOWN ? ", ..." : "";
    return `[${value.slice(0, SHOWN).map(show).join(", ")}${rest}]`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  const fields = Object.entries(value).filter(
    ([name]) => !/^(pad|padding|reserved)\d*$/.test(name),
  );
  return `{${fields.map(([name, field]) => `${name}=${show(field)}`).join(", ")}}`;
}

/** The name of an ioctl number, or the number. */
export const ioctlName = (request: number): string =>
  names.get(request) ?? `0x${request.toString(16)}`;

interface Readable {
  readonly size: number;
  decode?(bytes: Uint8Array): unknown;
}

/** What the argument of a call points to, as text. */
function argumentText(client: Client, request: number, argument: bigint): string {
  const type: Readable | undefined = ioctls.ioctlArgument(request);
  if (type === undefined) return show(argument);
  const bytes = type.decode === undefined ? undefined : client.read(argument, type.size);
  if (bytes === undefined) return `0x${argument.toString(16)}`;
  return show(type.decode?.(bytes));
}

interface Sum {
  calls: number;
  errors: number;
  microseconds: number;
}

/** Prints each call as strace would, and sums them up. */
export class Tracer {
  readonly #print: ((line: string) => void) | undefined;
  readonly #sums = new Map<string, Sum>();

  /** `print` gets each line; without it calls are only counted. */
  constructor(print: ((line: string) => void) | undefined) {
    this.#print = print;
  }

  /** A call comes; what is returned is called with its result. */
  before(
    client: Client,
    open: OpenFile,
    request: number,
    argument: bigint,
  ): (result: number) => void {
    const name = ioctlName(request);
    const reads = ((request >>> 30) & 2) !== 0;
    // What the kernel writes is shown as it is afterwards.
    const early = reads || !this.#print ? "" : argumentText(client, request, argument);
    const start = performance.now();
    return (result) => {
      const microseconds = (performance.now() - start) * 1000;
      this.#count(name, result, microseconds);
      if (this.#print === undefined) return;
      const text = reads ? argumentText(client, request, argument) : early;
      const exit = request === KVM_RUN && result === 0 ? ` (${exitText(open)})` : "";
      const outcome = result < 0 ? `-1 ${errnoName(-result)}` : String(result);
      const time = (microseconds / 1e6).toFixed(6);
      this.#print(
        `[pid ${client.pid}] ioctl(${fileText(open)}, ${name}, ${text}) = ${outcome}${exit} <${time}>`,
      );
    };
  }

  /** A table of all calls, the most expensive first. */
  summary(): string {
    const rows = [...this.#sums].sort(([, a], [, b]) => b.microseconds - a.microseconds);
    const line = (cells: readonly string[]) =>
      `${(cells[0] ?? "").padEnd(32)} ${cells
        .slice(1)
        .map((cell) => cell.padStart(12))
        .join(" ")}`;
    return [
      line(["ioctl", "calls", "errors", "seconds", "µs/call"]),
      ...rows.map(([name, sum]) =>
        line([
          name,
          String(sum.calls),
          String(sum.errors),
          (sum.microseconds / 1e6).toFixed(6),
          (sum.microseconds / sum.calls).toFixed(1),
        ]),
      ),
    ].join("\n");
  }

  #count(name: string, result: number, microseconds: number): void {
    const sum = this.#sums.get(name) ?? { calls: 0, errors: 0, microseconds: 0 };
    sum.calls++;
    if (result < 0) sum.errors++;
    sum.microseconds += microseconds;
    this.#sums.set(name, sum);
  }
}

/** /dev/kvm, or the number of a VM or vCPU. */
const fileText = ({ handle, shared }: OpenFile): string =>
  shared === undefined ? `#${handle}` : "/dev/kvm";

function exitText(open: OpenFile): string {
  const page = open.file.mmap(4096, 0);
  if (typeof page === "number") return "no kvm_run";
  const run = kvm_run.decode(page.slice(0, kvm_run.size));
  return exits.get(run.exit_reason) ?? `exit_reason ${run.exit_reason}`;
}

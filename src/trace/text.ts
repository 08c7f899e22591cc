import type { TraceEvent } from "./event.js";
import {
  argumentTexts,
  deliveryText,
  exitName,
  hypercallName,
  resultText,
  runstateName,
  subOpName,
} from "./names.js";

const address = (value: bigint): string => `0x${value.toString(16)}`;

const ACTORS = { kvm: "KVM", monitor: "the monitor" } as const;

/** What happened, in words, without time and vCPU. */
export function describe(event: TraceEvent): string {
  switch (event.kind) {
    case "hypercall": {
      const { by, result, rip, cpl } = event;
      const call = `${hypercallName(event.nr)}(${argumentTexts(event).join(", ")})`;
      const answer =
        result === undefined || by === undefined ? "?" : `${resultText(result)} by ${ACTORS[by]}`;
      const ring = cpl === 0 ? "" : `, CPL ${cpl}`;
      return `${call} = ${answer}, at ${address(rip)}${ring}`;
    }
    case "send": {
      const { port, to, toPort, toVcpu, by } = event;
      const where =
        to === "port" && by === "kvm" ? `port ${toPort} of vCPU ${toVcpu}` : DESTINATIONS[to];
      return `port ${port} to ${where} by ${by === undefined ? "?" : ACTORS[by]}`;
    }
    case "deliver":
      return `port ${event.port}: ${deliveryText(event.result)}`;
    case "unmask":
      return `port ${event.port}`;
    case "upcall":
      return `vector ${event.vector}`;
    case "runstate":
      return `${runstateName(event.from)} to ${runstateName(event.to)}`;
    case "arm":
      return `timer${portOf(event.port)} for ${event.expires} ns`;
    case "fire":
      return `timer${portOf(event.port)}: ${deliveryText(event.result)}`;
    case "stop":
      return `timer${portOf(event.port)}`;
    case "exit":
      return `${exitName(event.code)}${event.address === 0 ? "" : ` 0x${event.address.toString(16)}`}, at ${address(event.rip)}`;
    case "wake":
      return "";
  }
}

const DESTINATIONS = {
  port: "a port of the guest",
  eventfd: "an eventfd",
  backend: "a backend",
  nowhere: "nobody",
} as const;

const portOf = (port: number): string => (port === 0 ? "" : ` of port ${port}`);

/** Nanoseconds as seconds, all digits. */
export function seconds(ns: number): string {
  const whole = Math.floor(ns);
  return `${Math.floor(whole / 1e9)}.${String(whole % 1e9).padStart(9, "0")}`;
}

/** An event as a line. */
export function asText(event: TraceEvent): string {
  const vm = event.vm === 0 ? "" : `VM ${event.vm} `;
  const head = `${seconds(event.time).padStart(14)} ${vm}vCPU ${event.vcpu} ${event.kind}`;
  return `${head} ${describe(event)}`.trimEnd();
}

/** An event as an object of JSON on a line: addresses and arguments as texts in hex, times in ns. */
export function asJson(event: TraceEvent): string {
  const { vm, seq: _, ...rest } = event;
  const shown: Record<string, unknown> = { ...rest, ...(vm === 0 ? {} : { vm }) };
  switch (event.kind) {
    case "hypercall": {
      const op = subOpName(event);
      Object.assign(shown, {
        name: hypercallName(event.nr),
        ...(op === undefined ? {} : { op }),
        args: event.args.map(address),
        rip: address(event.rip),
        result: event.result === undefined ? undefined : jsonNumber(event.result),
      });
      break;
    }
    case "runstate":
      Object.assign(shown, { from: runstateName(event.from), to: runstateName(event.to) });
      break;
    case "arm":
      shown["expires"] = jsonNumber(event.expires);
      break;
    case "exit":
      Object.assign(shown, { name: exitName(event.code), rip: address(event.rip) });
      break;
    default:
  }
  return JSON.stringify(shown);
}

/** A number where JSON's readers keep all digits, else a text in hex. */
function jsonNumber(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : address(BigInt.asUintN(64, value));
}

/** What events are called: Xen's own words. */
import { Evtchnop } from "../abi/xen/event-channel.js";
import { Gnttabop } from "../abi/xen/grant-table.js";
import { Hvmop } from "../abi/xen/hvm.js";
import { MEMOP_EXTENT_SHIFT, Xenmem } from "../abi/xen/memory.js";
import { Schedop } from "../abi/xen/sched.js";
import { Vcpuop } from "../abi/xen/vcpu.js";
import { Xenver } from "../abi/xen/version.js";
import { Hypercall } from "../abi/xen/xen.js";
import { Errno, errnoName } from "../base/index.js";
import { EngineExit } from "../engine/bridge/port.js";
import type { HypercallEvent } from "./event.js";

type Names = Readonly<Record<string, number>>;

const invert = (names: Names): ReadonlyMap<number, string> =>
  new Map(Object.entries(names).map(([name, number]) => [number, name]));

const hypercalls = invert(Hypercall);
const exits = invert(EngineExit);
const CONSOLEIO: Names = { write: 0, read: 1 };
const VMASST: Names = { enable: 0, disable: 1 };

/** Names of the first argument, where that is a sub-operation. */
const subOps: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map([
  [Hypercall.memory_op, invert(Xenmem)],
  [Hypercall.xen_version, invert(Xenver)],
  [Hypercall.console_io, invert(CONSOLEIO)],
  [Hypercall.grant_table_op, invert(Gnttabop)],
  [Hypercall.vm_assist, invert(VMASST)],
  [Hypercall.vcpu_op, invert(Vcpuop)],
  [Hypercall.sched_op, invert(Schedop)],
  [Hypercall.event_channel_op, invert(Evtchnop)],
  [Hypercall.hvm_op, invert(Hvmop)],
]);

/** Arguments that mean something, the sub-operation included; six where that is not known. */
const counts: ReadonlyMap<number, number> = new Map<number, number>([
  [Hypercall.memory_op, 2],
  [Hypercall.multicall, 2],
  [Hypercall.set_timer_op, 1],
  [Hypercall.xen_version, 2],
  [Hypercall.console_io, 3],
  [Hypercall.grant_table_op, 3],
  [Hypercall.vm_assist, 2],
  [Hypercall.vcpu_op, 3],
  [Hypercall.sched_op, 2],
  [Hypercall.event_channel_op, 2],
  [Hypercall.hvm_op, 2],
]);

/** Name of a hypercall, or its number. */
export const hypercallName = (nr: number): string => hypercalls.get(nr) ?? `hypercall ${nr}`;

/** All names of hypercalls. */
export const hypercallNames: readonly string[] = Object.keys(Hypercall);

/** Name of its sub-operation; undefined for hypercalls that have none. */
export function subOpName({ nr, args }: HypercallEvent): string | undefined {
  const names = subOps.get(nr);
  if (names === undefined) return undefined;
  let op = Number(BigInt.asUintN(32, args[0] as bigint));
  if (nr === Hypercall.memory_op) op &= (1 << MEMOP_EXTENT_SHIFT) - 1;
  return names.get(op) ?? String(op);
}

const hex = (value: bigint): string => (value < 10n ? String(value) : `0x${value.toString(16)}`);

/** The arguments that mean something, in words: the sub-operation by its name. */
export function argumentTexts(event: HypercallEvent): string[] {
  const op = subOpName(event);
  const texts = event.args.slice(0, counts.get(event.nr) ?? 6).map(hex);
  if (event.nr === Hypercall.set_timer_op && !event.longMode) {
    return [hex(((event.args[1] as bigint) << 32n) | (event.args[0] as bigint))];
  }
  return op === undefined ? texts : [op, ...texts.slice(1)];
}

/** A result: a number, or `-ENAME`. */
export function resultText(result: bigint): string {
  if (result >= 0n || result < -200n) return hex(BigInt.asUintN(64, result));
  return `-${errnoName(Number(-result))}`;
}

/** What became of an event that was raised. */
export function deliveryText(result: number): string {
  if (result === 1) return "delivered";
  if (result === 0) return "pending already";
  if (result === -Errno.ENOTCONN) return "masked";
  if (result === -Errno.EAGAIN) return "page not at hand";
  return `-${errnoName(-result)}`;
}

const RUNSTATES = ["running", "runnable", "blocked", "offline"] as const;

/** Name of a runstate. */
export const runstateName = (state: number): string => RUNSTATES[state] ?? String(state);

/** Name of an exit of the engine. */
export const exitName = (code: number): string => exits.get(code) ?? String(code);

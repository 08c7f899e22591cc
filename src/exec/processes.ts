import { readdirSync, readFileSync } from "node:fs";
import { C, prctl, waitpid } from "./libc.js";

/** The state of a process as /proc has it ("R", "S", "T", "Z"...), and its parent. */
interface Status {
  readonly state: string;
  readonly parent: number;
}

function statusOf(pid: number): Status | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name before it may contain anything.
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** The state of a process; undefined when there is none. */
export const stateOf = (pid: number): string | undefined => statusOf(pid)?.state;

/** Whether a process still runs; one that only waits to be reaped does not. */
export function isAlive(pid: number): boolean {
  const state = stateOf(pid);
  return state !== undefined && state !== "Z" && state !== "X";
}

/**
 * Ancestors that are looked at: more than a machine that works has.
 * @limit client | ancestors between a program under exec and its server | processes | it counts as a stranger
 */
const MAX_ANCESTORS = 4096;

/**
 * Whether one process was started by another, directly or through others. Those whose parent ended belong to
 * the next child subreaper: see {@link adoptOrphans}.
 */
export function descendsFrom(pid: number, ancestor: number): boolean {
  for (let i = 0, at = pid; i < MAX_ANCESTORS && at > 0; i++) {
    const parent = statusOf(at)?.parent;
    if (parent === undefined) return false;
    if (parent === ancestor) return true;
    at = parent;
  }
  return false;
}

/** None where there is no /proc. */
function allProcesses(): number[] {
  try {
    return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  } catch {
    return [];
  }
}

/** Whether any process that runs was started by this one. */
export const hasDescendants = (ancestor: number): boolean =>
  allProcesses().some((pid) => isAlive(pid) && descendsFrom(pid, ancestor));

/**
 * Makes this process the parent of what it starts and whose own parent ends (PR_SET_CHILD_SUBREAPER,
 * prctl(2)): a daemon stays a descendant. Returns what stops it; {@link reapOrphans} is the duty that comes
 * with it.
 */
export function adoptOrphans(): () => void {
  prctl(C.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  return () => void prctl(C.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/** Removes ended children of this process that nobody else waits for. `own`: Node waits for that one. */
export function reapOrphans(own: number | undefined): void {
  for (const pid of allProcesses()) {
    if (pid === own) continue;
    const status = statusOf(pid);
    if (status?.parent === process.pid && status.state === "Z") waitpid(pid, null, C.WNOHANG);
  }
}

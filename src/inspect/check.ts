/** Whether what an inspector sent is a message: it comes from a page, over the network of this machine. */
import type { ToInspected } from "./protocol.js";

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;

/** Members of attributes, by what they have to be. */
const U64 = ["gfn", "hva", "gpa", "state", "expiresNs"] as const;
const U32 = [
  "vector",
  "xenVersion",
  "vcpuId",
  "port",
  "priority",
  "sendPort",
  "evtchnType",
  "flags",
] as const;
const FLAGS = ["longMode", "runstateUpdateFlag"] as const;
const RUNSTATE = [
  ...["state", "stateEntryTime", "timeRunning", "timeRunnable", "timeBlocked", "timeOffline"],
] as const;

const isU64 = (value: unknown): boolean =>
  typeof value === "bigint" && value >= 0n && value < 1n << 64n;

/** What each attribute that may be set has beside its type. */
const HVM: Readonly<Record<string, readonly string[]>> = {
  LONG_MODE: ["longMode"],
  SHARED_INFO: ["gfn"],
  SHARED_INFO_HVA: ["hva"],
  UPCALL_VECTOR: ["vector"],
  XEN_VERSION: ["xenVersion"],
  RUNSTATE_UPDATE_FLAG: ["runstateUpdateFlag"],
};
const VCPU: Readonly<Record<string, readonly string[]>> = {
  VCPU_INFO: ["gpa"],
  VCPU_INFO_HVA: ["hva"],
  VCPU_TIME_INFO: ["gpa"],
  RUNSTATE_ADDR: ["gpa"],
  RUNSTATE_CURRENT: ["state"],
  RUNSTATE_DATA: ["runstate"],
  RUNSTATE_ADJUST: ["runstate"],
  VCPU_ID: ["vcpuId"],
  TIMER: ["port", "priority", "expiresNs"],
  UPCALL_VECTOR: ["vector"],
};

function isAttr(value: unknown, known: Readonly<Record<string, readonly string[]>>): boolean {
  if (!isObject(value) || typeof value["type"] !== "string") return false;
  if (!Object.hasOwn(known, value["type"])) return false;
  const members = known[value["type"]] ?? [];
  if (Object.keys(value).length !== members.length + 1) return false;
  return members.every((name) => isMember(name, value[name]));
}

function isMember(name: string, value: unknown): boolean {
  if (U64.some((one) => one === name)) return isU64(value);
  if (U32.some((one) => one === name)) return isCount(value);
  if (FLAGS.some((one) => one === name)) return typeof value === "boolean";
  return isObject(value) && RUNSTATE.every((one) => isU64(value[one]));
}

/** The message, if it is one. */
export function checkMessage(value: unknown): ToInspected | undefined {
  return isMessage(value) ? (value as unknown as ToInspected) : undefined;
}

function isMessage(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isObject(value)) return false;
  switch (value["kind"]) {
    case "watch":
      return typeof value["events"] === "boolean" && isObject(value["parts"]);
    case "seen":
      return true;
    case "setHvm":
      return isCount(value["id"]) && isCount(value["vm"]) && isAttr(value["attr"], HVM);
    case "setVcpu": {
      const { id, vm, vcpu, attr } = value;
      return isCount(id) && isCount(vm) && isCount(vcpu) && isAttr(attr, VCPU);
    }
    case "control":
      return ["pause", "resume", "reset"].some((what) => what === value["what"]);
    default:
      return false;
  }
}

/** What an inspector and the thread with the machine say to each other. */
import type { KvmXenHvmAttr, KvmXenVcpuAttr, XenVmView } from "../kvm/index.js";
import type { DomainView, DomainViewParts } from "../vmm/machine/index.js";

/** What is inspected: a machine with both halves of Xen, or what a monitor makes of KVM under `exec`. */
export type Inspected = "machine" | "exec";

/** A VM at a moment. */
export interface VmView {
  /** Its number, from 0. */
  readonly vm: number;
  readonly kvm: XenVmView;
  /** The user half; not there under `exec`, where it is the monitor's own. */
  readonly domain: DomainView | undefined;
  /** Instructions that all its vCPUs have executed. */
  readonly instructions: number;
  /** What the engine did beside plain execution, by name. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Everything at a moment. */
export interface InspectView {
  /** Nanoseconds of the host's clock, for speeds. */
  readonly hostTime: number;
  readonly state: "running" | "paused" | "suspended" | "ended";
  readonly vms: readonly VmView[];
}

/** To the machine's thread. */
export type ToInspected =
  /** What is wanted from now on; without `events` nothing is noted. */
  | { readonly kind: "watch"; readonly events: boolean; readonly parts: DomainViewParts }
  /** A view has been shown: the next may come. */
  | { readonly kind: "seen" }
  | {
      readonly kind: "setHvm";
      readonly id: number;
      readonly vm: number;
      readonly attr: KvmXenHvmAttr;
    }
  | {
      readonly kind: "setVcpu";
      readonly id: number;
      readonly vm: number;
      /** In the order of creation. */
      readonly vcpu: number;
      readonly attr: KvmXenVcpuAttr;
    }
  | { readonly kind: "control"; readonly what: "pause" | "resume" | "reset" };

/** To the inspector; events come beside it as bytes. */
export type FromInspected =
  | { readonly kind: "view"; readonly inspected: Inspected; readonly view: InspectView }
  /** An attribute was set, or refused in these words. */
  | { readonly kind: "set"; readonly id: number; readonly refused: string | undefined };

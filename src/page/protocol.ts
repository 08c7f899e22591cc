/** What the page and the worker that runs the machine say to each other. */
import type { FromInspected, ToInspected } from "../inspect/protocol.js";
import type { MachineConfig, MachineEnd } from "../vmm/machine/index.js";

/** What a machine boots. */
export interface BootRequest {
  /** Undefined: the one that is installed on the disk. */
  readonly kernel?: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly append: string;
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly console: MachineConfig["console"];
}

/** A machine to start. */
export interface StartRequest {
  /** Undefined: it goes on from the snapshot. */
  readonly boot?: BootRequest;
  readonly snapshot?: Blob;
  /** The image of xvda. */
  readonly disk?: File;
  /** The address of a relay: a machine that boots has a network card; those of a saved one are connected to it. */
  readonly network?: string;
  /** What the guest writes to it is kept in the browser's private files. */
  readonly keepsChanges: boolean;
  readonly clock: "real" | "virtual";
  /** Where the engine's core is. */
  readonly engine: string;
  readonly rows: number;
  readonly columns: number;
}

/** To the worker. */
export type ToWorker =
  | { readonly kind: "start"; readonly request: StartRequest }
  | { readonly kind: "input"; readonly bytes: Uint8Array }
  /** So many bytes of output are on the screen. */
  | { readonly kind: "shown"; readonly bytes: number }
  | { readonly kind: "size"; readonly rows: number; readonly columns: number }
  | { readonly kind: "pause" }
  | { readonly kind: "resume" }
  /** Run one slice of a paused machine. */
  | { readonly kind: "step" }
  | { readonly kind: "reset" }
  | { readonly kind: "save" }
  | { readonly kind: "inspect"; readonly message: ToInspected }
  | { readonly kind: "ping" };

/** What a machine does, several times a second. */
export interface MachineStatus {
  readonly state: "running" | "paused" | "suspended" | "ended";
  readonly instructions: number;
  readonly reboots: number;
  readonly memoryBytes: number;
}

/** To the page. */
export type ToPage =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "started" }
  | { readonly kind: "output"; readonly bytes: Uint8Array }
  | { readonly kind: "log"; readonly text: string }
  | { readonly kind: "status"; readonly status: MachineStatus }
  | { readonly kind: "end"; readonly end: MachineEnd }
  | { readonly kind: "saved"; readonly snapshot: Blob }
  /** Why not: the machine goes on. */
  | { readonly kind: "notSaved"; readonly text: string }
  /** The machine cannot be made, or its library has a defect: then there is no code. */
  | { readonly kind: "refused"; readonly code: string | undefined; readonly text: string }
  | { readonly kind: "inspect"; readonly message: FromInspected }
  | { readonly kind: "events"; readonly bytes: ArrayBuffer }
  | { readonly kind: "pong" };

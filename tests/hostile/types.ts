// @ts-check
/** Shapes that the attacks share. */
import type { grantRef, HostError, Hva } from "../../src/base/index.js";
import type { decompressHere } from "../../src/hosts/node/decompress-here.js";
import type * as sim from "../../src/hosts/sim/index.js";
import type * as ioctl from "../../src/ioctl/index.js";
import type * as kvm from "../../src/kvm/index.js";
import type * as play from "../../src/play/index.js";
import type * as boot from "../../src/vmm/loader/boot.js";
import type * as kernel from "../../src/vmm/loader/kernel.js";
import type * as machine from "../../src/vmm/machine/index.js";
import type * as layout from "../../src/vmm/machine/layout.js";
import type { Domain } from "../../src/vmm/xen/domain.js";
import type { Hypercalls } from "../../src/vmm/xen/hypercalls/dispatch.js";
import type { GuestPhysmap } from "../../src/vmm/xen/overlay.js";

type Kvm = typeof kvm;

/** The library under attack: what library.mjs loads, and the tests bring from the sources. */
export interface Library extends Kvm, Readonly<Pick<typeof sim, "VirtualClock" | "HeapTimers">> {
  readonly LocalProcess: (typeof ioctl)["LocalProcess"];
  readonly playScenario: (typeof play)["playScenario"];
  readonly planBoot: (typeof boot)["planBoot"];
  readonly readKernel: (typeof kernel)["readKernel"];
  readonly Machine: (typeof machine)["Machine"];
  readonly memoryMap: (typeof layout)["memoryMap"];
  readonly CONSOLE_GFN: number;
  readonly XENSTORE_GFN: number;
  readonly decompressHere: typeof decompressHere;
  readonly HostError: typeof HostError;
  readonly grantRef: typeof grantRef;
  readonly Domain: typeof Domain;
  readonly Hypercalls: typeof Hypercalls;
  readonly GuestPhysmap: typeof GuestPhysmap;
  readonly engine: kvm.EngineFactory;
}

/** Memory of a client that slots are made of: its address in the VM's memory, and bytes. */
export interface Area {
  readonly hva: Hva;
  readonly size: number;
}

/** How often each outcome came: errnos, kinds of exits. */
export type Outcomes = Map<string, number>;

/** What an attack did. */
export interface Report {
  readonly calls: number;
  readonly outcomes: ReadonlyMap<string, number>;
}

/** The domain in an exact snapshot: all that it is, with its guest in the middle of whatever it does. */
import { HVM_NR_PARAMS } from "../../abi/xen/hvm.js";
import { MAX_VIRT_CPUS } from "../../abi/xen/shared-info.js";
import { NR_VIRQS } from "../../abi/xen/xen.js";
import { evtchnPort } from "../../base/index.js";
import type { ArmLater } from "../../ports/index.js";
import {
  anything,
  bool,
  bytes,
  damaged,
  finite,
  integer,
  list,
  oneOf,
  optional,
  struct,
  text,
  u32,
  u64,
  type ValueOf,
} from "../snapshot/codec.js";
import type { Backend } from "./backends/backend.js";
import type { Domain, DomainVcpu } from "./domain.js";
import { framesLayer } from "./domain-state.js";
import { NR_PIRQS } from "./evtchn/ports.js";
import { attempt } from "./kvm-objects.js";
import { storeLayer, storeRingLayer } from "./xenstore/store-layer.js";

/** Ports of a domain. @nolimit those of the 2-level ABI */
const MAX_PORTS = 4096;
/** Pages over or beside RAM. @limit file | overlays in an exact snapshot | frames | SNAPSHOT_DAMAGED */
const MAX_OVERLAYS = 200;
/** @limit file | input that waits for the console, in an exact snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_INPUT = 1 << 20;
/** @limit file | devices in an exact snapshot | devices | SNAPSHOT_DAMAGED */
const MAX_DEVICES = 256;
/** How deep what a device keeps is nested. @nolimit its own check follows */
const DEVICE_DEPTH = 10;
const HOLE = -1;

const natural = integer(0, Number.MAX_SAFE_INTEGER);
const timer = optional(struct({ atNs: finite, order: natural }));
const port = integer(1, MAX_PORTS - 1);

export const domainKeptLayer = struct({
  params: list(struct({ index: integer(0, HVM_NR_PARAMS - 1), value: u64 }), HVM_NR_PARAMS),
  vcpus: list(
    struct({
      ...{ infoGpa: optional(natural), hasPageInfo: bool, initialised: bool, down: bool },
      timers: struct({ oneShot: timer, periodic: timer, next: u64, periodNs: u64 }),
    }),
    64,
    1,
  ),
  watchdogs: list(timer, 2, 2),
  frames: framesLayer,
  /** Frames with one of the domain's own pages, by its number, or -1 for nothing. */
  overlays: list(struct({ gfn: integer(0, 2 ** 40 - 1), page: integer(HOLE, 255) }), MAX_OVERLAYS),
  isSharedInfoActive: bool,
  ports: struct({
    ports: list(
      struct({
        ...{ port, vcpu: integer(0, 63), to: u32 },
        state: oneOf("unbound", "loopback", "backend", "virq", "pirq", "ipi"),
      }),
      MAX_PORTS,
    ),
    nextBackendPort: natural,
    stale: list(port, MAX_PORTS),
  }),
  delivery: struct({
    shortcuts: list(port, MAX_PORTS),
    early: list(struct({ port, vcpu: integer(0, 63) }), MAX_PORTS),
    complained: bool,
  }),
  store: storeLayer,
  rings: struct({
    ports: struct({ store: port, console: port }),
    store: storeRingLayer,
    waiting: bytes(0, MAX_INPUT),
    complained: bool,
  }),
  work: natural,
  /** In the order in which they were connected. */
  devices: list(struct({ name: text(200), kept: anything(DEVICE_DEPTH) }), MAX_DEVICES),
});

/** Values of {@link domainKeptLayer}. */
export type DomainKept = ValueOf<typeof domainKeptLayer>;

/** Whether a domain can be read now: no connection of it is half closed. */
export const isReadable = (domain: Domain): boolean => domain.ports.kept !== undefined;

/** Reads it, but for its pages. `devices`: what {@link Backend.kept} gave. */
export function readDomainKept(domain: Domain, devices: DomainKept["devices"]): DomainKept {
  const { physmap, sharedInfo, ports, delivery, store, rings, pages } = domain;
  const kept = ports.kept;
  if (kept === undefined) throw new TypeError("a domain that is not readable");
  const work = domain.takeWork();
  domain.charge(work);
  return {
    params: [...domain.params].map(([index, value]) => ({ index, value })),
    vcpus: [...domain.vcpus.values()].map((vcpu) => ({
      ...{ infoGpa: vcpu.infoGpa, initialised: vcpu.initialised, down: vcpu.down },
      hasPageInfo: vcpu.kvm.xen.getAttr("VCPU_INFO_HVA").hva !== 0n,
      timers: vcpu.timers.kept,
    })),
    watchdogs: domain.watchdogs.kept,
    frames: physmap.saveFrames(),
    overlays: physmap.overlays.map(([gfn, what]) => ({
      gfn,
      page: what === "hole" ? HOLE : pages.indexOf(what),
    })),
    isSharedInfoActive: sharedInfo.active,
    ports: kept,
    delivery: delivery.kept,
    store: withRelative(store.kept),
    rings: rings.kept,
    work,
    devices,
  };
}

function withRelative(kept: Domain["store"]["kept"]): DomainKept["store"] {
  const watches = kept.watches.map(({ domid, path, token, isRelative = false }) => ({
    ...{ domid, path, token },
    isRelative,
  }));
  const transactions = kept.transactions.map(({ changes, ...transaction }) => ({
    ...transaction,
    changes: changes.map(({ path, exact, before, parent }) => ({ path, exact, before, parent })),
  }));
  return { ...kept, watches, transactions };
}

/**
 * Puts it into a new domain without devices, whose guest has not run; what KVM keeps of its vCPUs comes behind, and so do
 * the pages. `devices` are those that were saved.
 * @throws HostError SNAPSHOT_DAMAGED, and what a device throws
 */
export function writeDomainKept(
  domain: Domain,
  kept: DomainKept,
  devices: readonly Backend[],
  later: ArmLater,
): void {
  const { params, physmap, sharedInfo, ports, delivery, store, rings, pages } = domain;
  params.clear();
  for (const { index, value } of kept.params) params.set(index, value);
  if (!physmap.restoreFrames(kept.frames)) throw damaged("frames");
  const overlays = kept.overlays.map(({ gfn, page }) => {
    const at = page === HOLE ? "hole" : pages[page];
    if (at === undefined) throw damaged("overlays");
    return [gfn, at] as const;
  });
  if (!physmap.restoreOverlays(overlays)) throw damaged("overlays");
  sharedInfo.restore(kept.isSharedInfoActive);
  if (kept.vcpus.length !== domain.vcpus.size) throw damaged("the number of vCPUs");
  for (const [i, vcpu] of [...domain.vcpus.values()].entries()) {
    restoreVcpu(domain, vcpu, kept.vcpus[i] as DomainKept["vcpus"][number], later);
  }
  domain.watchdogs.keep(kept.watchdogs, later);
  if (kept.ports.ports.some((one) => !isSane(one, domain.vcpus.size))) throw damaged("ports");
  ports.keep(kept.ports);
  delivery.keep(kept.delivery);
  for (const shortcut of kept.delivery.shortcuts) ports.shortcutAgain(evtchnPort(shortcut));
  if (!store.keep(kept.store)) throw damaged("xenstore");
  if (!rings.keep(kept.rings, kept.store.watches)) throw damaged("rings");
  for (const { name, kept: saved } of kept.devices) {
    const device = devices.find((one) => one.name === name);
    if (device?.keep === undefined) throw damaged(`device ${name}`);
    domain.adoptDevice(device, () => device.keep?.(domain, saved, later));
  }
  domain.charge(kept.work);
}

/** What comes when everything has registered its watches again. */
export function settleDomain(domain: Domain, kept: DomainKept): void {
  domain.store.settle(kept.store);
}

function isSane({ vcpu, state, to }: DomainKept["ports"]["ports"][number], vcpus: number): boolean {
  if (vcpu >= vcpus) return false;
  if (state === "virq") return to < NR_VIRQS;
  if (state === "pirq") return to < NR_PIRQS;
  return true;
}

function restoreVcpu(
  domain: Domain,
  vcpu: DomainVcpu,
  kept: DomainKept["vcpus"][number],
  later: ArmLater,
): void {
  const { infoGpa, hasPageInfo, initialised, down, timers } = kept;
  if (timers.periodic !== undefined && timers.periodNs === 0n) throw damaged("timers");
  Object.assign(vcpu, { infoGpa, initialised, down });
  vcpu.timers.keep(timers, later);
  if (!hasPageInfo || vcpu.id >= MAX_VIRT_CPUS) return;
  const hva = BigInt(domain.sharedInfo.vcpuInfo(vcpu.id));
  attempt(() => vcpu.kvm.xen.setAttr({ type: "VCPU_INFO_HVA", hva }));
}

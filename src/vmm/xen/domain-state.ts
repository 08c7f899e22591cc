/** The domain in a snapshot of a guest that has suspended itself: what it does not set up again by itself. */
import { HVM_NR_PARAMS, HvmParam } from "../../abi/xen/hvm.js";
import { PAGE_SIZE } from "../../base/index.js";
import {
  bool,
  bytes,
  damaged,
  integer,
  list,
  struct,
  text,
  u64,
  type ValueOf,
} from "../snapshot/codec.js";
import type { Domain } from "./domain.js";
import { formatPermission, parsePermission } from "./xenstore/node.js";

/**
 * Nodes of xenstore in a file: the guest's own 1000, and those of its toolstack and devices.
 * @limit file | xenstore nodes in a snapshot | nodes | SNAPSHOT_DAMAGED
 */
const MAX_NODES = 10_000;
/** @limit file | a value of a xenstore node in a snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_VALUE = 4096;
/** @limit file | a path in xenstore in a snapshot | characters | SNAPSHOT_DAMAGED */
const MAX_PATH = 4096;
/** @limit file | permissions of a xenstore node in a snapshot | entries | SNAPSHOT_DAMAGED */
const MAX_PERMISSIONS = 256;
/** Pages of the largest guest. @nolimit what a machine can have */
const MAX_PAGES = 2 ** 20;
/** @limit file | frames with the page of another in a snapshot | frames | SNAPSHOT_DAMAGED */
const MAX_MOVED = 32;

const page = integer(0, MAX_PAGES);

/** What became of the pages of RAM. */
export const framesLayer = struct({
  elsewhere: list(page, MAX_PAGES),
  free: list(page, MAX_PAGES),
  moved: list(struct({ gfn: integer(0, 2 ** 40 - 1), page }), MAX_MOVED),
});

/** The domain's part of a snapshot. */
export const domainLayer = struct({
  /** HVM parameters that have been set. */
  params: list(struct({ index: integer(0, HVM_NR_PARAMS - 1), value: u64 }), HVM_NR_PARAMS),
  vcpus: list(struct({ initialised: bool, down: bool }), 64, 1),
  frames: framesLayer,
  /** Event channel ports that the guest had: it may still close them by their numbers. */
  ports: list(integer(1, 4095), 4096),
  console: bytes(PAGE_SIZE),
  store: list(
    struct({
      path: text(MAX_PATH),
      value: bytes(0, MAX_VALUE),
      permissions: list(text(32), MAX_PERMISSIONS, 1),
    }),
    MAX_NODES,
    1,
  ),
});

/** Values of {@link domainLayer}. */
export type DomainLayer = ValueOf<typeof domainLayer>;

/** Reads a domain whose guest has suspended itself. */
export function readDomain(domain: Domain): DomainLayer {
  return {
    params: [...domain.params].map(([index, value]) => ({ index, value })),
    vcpus: [...domain.vcpus.values()].map(({ initialised, down }) => ({ initialised, down })),
    frames: domain.physmap.saveFrames(),
    ports: domain.ports.numbers,
    console: domain.consolePage.read(0, PAGE_SIZE),
    store: domain.store.save().map(({ path, value, permissions }) => ({
      path,
      value,
      permissions: permissions.map(formatPermission),
    })),
  };
}

/** Parameters that say where the domain's rings are: a new domain has its own. */
const OWN_PARAMS: ReadonlySet<number> = new Set([
  ...[HvmParam.STORE_PFN, HvmParam.STORE_EVTCHN, HvmParam.CONSOLE_PFN, HvmParam.CONSOLE_EVTCHN],
]);

/**
 * Puts the state into a new domain, whose devices are connected and whose guest has not run.
 * @throws HostError SNAPSHOT_DAMAGED
 */
export function writeDomain(domain: Domain, layer: DomainLayer): void {
  for (const { index, value } of layer.params) {
    if (!OWN_PARAMS.has(index)) domain.params.set(index, value);
  }
  if (layer.vcpus.length !== domain.vcpus.size) throw damaged("the number of vCPUs");
  for (const [i, { initialised, down }] of layer.vcpus.entries()) {
    const vcpu = domain.vcpus.get(i);
    if (vcpu !== undefined) Object.assign(vcpu, { initialised, down });
  }
  if (!domain.physmap.restoreFrames(layer.frames)) throw damaged("frames");
  domain.consolePage.write(0, layer.console);
  const nodes = layer.store.map(({ path, value, permissions }, i) => ({
    path,
    value,
    permissions: permissions.map((entry) => {
      const permission = parsePermission(entry);
      if (permission === undefined) throw damaged(`node ${i}`);
      return permission;
    }),
  }));
  if (!domain.store.restore(nodes)) throw damaged("xenstore");
  domain.restore();
  domain.ports.avoid(layer.ports);
}

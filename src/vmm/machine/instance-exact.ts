/** All of an instance in the middle of whatever its guest does, and how another goes on exactly there. */
import { gpa, PAGE_SIZE } from "../../base/index.js";
import type { VmApi, VmKept, VmStandstill } from "../../kvm/api/index.js";
import type { MemoryRegion } from "../../memory/index.js";
import type { ArmLater } from "../../ports/index.js";
import { refuse } from "../loader/errors.js";
import { uartLayer } from "../platform/uart/model.js";
import {
  bool,
  type Codec,
  damaged,
  list,
  optional,
  struct,
  text,
  type ValueOf,
} from "../snapshot/codec.js";
import { vmKeptLayer } from "../snapshot/engine-layer.js";
import { type KvmLayer, readKvm, writeKvm } from "../snapshot/kvm-layer.js";
import { copyPages, type PageRun } from "../snapshot/pages.js";
import type { Backend, SavedValue } from "../xen/backends/backend.js";
import type { DebugText } from "../xen/debug-text.js";
import type { Domain } from "../xen/domain.js";
import {
  domainKeptLayer,
  isReadable,
  readDomainKept,
  settleDomain,
  writeDomainKept,
} from "../xen/domain-kept.js";
import { given } from "./beyond-kvm.js";
import type { InstanceParts, PutPages } from "./instance-state.js";
import type { LastWords } from "./last-words.js";

/** @limit file | lines of a guest's debug text in an exact snapshot | lines | SNAPSHOT_DAMAGED */
const MAX_LINES = 1 << 17;
/** @limit file | a line of debug text in an exact snapshot | characters | SNAPSHOT_DAMAGED */
const MAX_LINE = 1 << 17;

/** What an instance has beside what suspended snapshots have. */
export interface ExactParts extends InstanceParts {
  readonly debugTexts: readonly DebugText[];
  readonly words: LastWords;
}

/** The section `engine` of an exact snapshot. */
export const exactLayer = struct({
  vm: vmKeptLayer as Codec<VmKept>,
  domain: domainKeptLayer,
  uart: optional(uartLayer),
  /** The guest has written to its console. */
  spoke: bool,
  debugLines: list(text(MAX_LINE), 8),
  lastWords: list(text(MAX_LINE), MAX_LINES),
});

/** Values of {@link exactLayer}. */
export type ExactLayer = ValueOf<typeof exactLayer>;

export interface ExactState {
  readonly kvm: KvmLayer;
  readonly exact: ExactLayer;
  readonly pages: readonly PageRun[];
}

/** @throws HostError KVM_LACKS when the VM cannot stand still so. */
const standstillOf = ({ standstill }: VmApi): VmStandstill =>
  given(standstill, "state for exact snapshots");

/** Why an instance cannot be read now; undefined: it can. */
export function obstacleOf({ vm, vcpus, domain }: InstanceParts): string | undefined {
  const standstill = standstillOf(vm);
  if (domain.devices.some(({ isMoving }) => isMoving)) return "a device that lets go of its guest";
  for (const [id, vcpu] of vcpus.entries()) {
    const isDown = domain.vcpus.get(id)?.down === true;
    if (!standstill.isRunning(vcpu.index) && !isDown) return "an exit";
  }
  return (
    standstill.obstacle ?? (isReadable(domain) ? undefined : "an event channel that is closed")
  );
}

/** Reads an instance whose time stands still, and which has no obstacle. */
export async function readExact(
  { vm, vcpus, msrs, ram, domain, uart, debugTexts, words }: ExactParts,
  spoke: boolean,
): Promise<ExactState> {
  // What takes time comes last: this is one moment, and nothing runs meanwhile.
  const devices = await Promise.all(domain.devices.map(keptOf));
  const { kept, got: kvm } = standstillOf(vm).read(() => readKvm(vm, vcpus, msrs));
  const exact: ExactLayer = {
    vm: kept,
    domain: readDomainKept(domain, devices),
    uart: uart?.save(),
    spoke,
    debugLines: debugTexts.map(({ line }) => line),
    lastWords: words.lines,
  };
  return { kvm, exact, pages: await copyPages(vm.linear, regionsOf(domain, ram)) };
}

async function keptOf(device: Backend): Promise<{ name: string; kept: SavedValue }> {
  const { name } = device;
  const kept = await device.kept?.();
  if (kept === undefined) {
    throw refuse("SNAPSHOT_IMPOSSIBLE", `${name} cannot be saved exactly: leave it out`);
  }
  return { name, kept };
}

/** RAM, and the domain's own pages as if they came behind it. */
const regionsOf = (domain: Domain, ram: readonly MemoryRegion[]): readonly MemoryRegion[] => [
  ...ram,
  ...domain.pages.map((hva) => ({ gpa: gpa(0), size: PAGE_SIZE, hva })),
];

/**
 * Fills an instance without devices that has not run, and whose clock is that of the other. `goOn` of what comes back
 * follows when its vCPUs are inside run().
 * @throws HostError SNAPSHOT_DAMAGED or SNAPSHOT_VERSION: the instance is not to be used then.
 */
export async function writeExact(
  parts: ExactParts,
  { kvm, exact }: Omit<ExactState, "pages">,
  devices: readonly Backend[],
  pages: PutPages,
): Promise<{ goOn(): void }> {
  const { vm, vcpus, ram, domain, uart, debugTexts, words } = parts;
  const kept = exact.vm;
  if (kept.vcpus.length !== vcpus.length || kept.xen.vcpus.length !== vcpus.length) {
    throw damaged("the number of vCPUs");
  }
  const timers: { order: number; arm: () => void }[] = [];
  const later: ArmLater = (order, arm) => timers.push({ order, arm });
  writeKvm(vm, vcpus, kvm);
  // What devices read of their guests when they come back is there already.
  for (const at of domain.pages) vm.linear.u8.fill(0, at, at + PAGE_SIZE);
  await pages(vm.linear, regionsOf(domain, ram));
  writeDomainKept(domain, exact.domain, devices, later);
  const standstill = standstillOf(vm);
  standstill.write(kept, later);
  for (const { arm } of timers.sort((a, b) => a.order - b.order)) arm();
  settleDomain(domain, exact.domain);
  if (exact.uart !== undefined) uart?.restore(exact.uart);
  for (const [i, line] of exact.debugLines.entries()) {
    const into = debugTexts[i];
    if (into !== undefined) into.line = line;
  }
  words.lines = exact.lastWords;
  return { goOn: () => standstill.goOn(kept) };
}

/** What an instance gives to its {@link ExactSide}. */
export interface ExactOwner {
  parts(): ExactParts;
  /** What keeps it from running. */
  obstacle(): string | undefined;
  /** Keeps it from running. */
  pause(): void;
  /** Whether its guest has written to its console; with an argument, it has from now on or not. */
  spoke(spoke?: boolean): boolean;
}

/**
 * Turns after which an instance that cannot be saved exactly is given up.
 * @nolimit the guest does not notice
 */
const MOST_ATTEMPTS = 10_000;

/** A copy that someone waits for. */
interface WantedCopy {
  readonly atNs: number;
  /** Makes it. */
  read(): Promise<void>;
  reject(error: Error): void;
}

/** Saves an instance at any moment, and lets it go on from there. */
export class ExactSide {
  readonly #owner: ExactOwner;
  /** Copies that are wanted, the next one first. */
  readonly #wanted: WantedCopy[] = [];
  #restored: { goOn(): void } | undefined;

  constructor(owner: ExactOwner) {
    this.#owner = owner;
  }

  /**
   * Reads all at the first moment from `atNs` of the clock on that it can be: between two turns of the vCPUs. The guest
   * does not notice, and goes on, or is paused then (`pauses`). `describe` is called in that moment, too.
   * @throws HostError SNAPSHOT_IMPOSSIBLE for what cannot be saved exactly; KVM_LACKS; ENDED; HOST_MEMORY.
   */
  save<T>(
    { atNs, pauses }: { readonly atNs: number; readonly pauses: boolean },
    describe: () => Promise<T>,
  ): Promise<ExactState & { readonly about: T }> {
    const parts = this.#owner.parts();
    return new Promise((resolve, reject) => {
      const read = async () => {
        const about = await describe();
        const state = await readExact(parts, this.#owner.spoke());
        if (pauses) this.#owner.pause();
        return { about, ...state };
      };
      this.#wanted.push({ atNs, read: () => read().then(resolve, reject), reject });
      this.#wanted.sort((a, b) => a.atNs - b.atNs);
      this.#holdForNext();
    });
  }

  /** The instance stands still for the next copy. */
  #holdForNext(): void {
    const parts = this.#owner.parts();
    const next = this.#wanted[0];
    let attempts = 0;
    const start = (): Promise<void> | undefined => {
      const obstacle = this.#owner.obstacle() ?? obstacleOf(parts);
      if (obstacle !== undefined && ++attempts < MOST_ATTEMPTS) return undefined;
      this.#wanted.shift();
      let read = Promise.resolve();
      if (obstacle === undefined) read = next?.read() ?? read;
      else {
        const why = `the machine cannot be saved exactly now (${obstacle})`;
        next?.reject(refuse("SNAPSHOT_IMPOSSIBLE", `${why}: save it at another moment`));
      }
      // Whoever waits next has to be known before turns go on.
      return read.then(() => this.#holdForNext());
    };
    standstillOf(parts.vm).hold = next === undefined ? undefined : { atNs: next.atNs, start };
  }

  /**
   * Fills an instance that was made without devices and has not run with what {@link save} gave, of a machine with the
   * same memory and CPUs, whose clock says the same. `devices` are those of that machine.
   * @throws HostError SNAPSHOT_DAMAGED or SNAPSHOT_VERSION: the instance is not to be used then.
   */
  async load(
    state: Omit<ExactState, "pages">,
    devices: readonly Backend[],
    pages: PutPages,
  ): Promise<void> {
    this.#owner.spoke(state.exact.spoke);
    this.#restored = await writeExact(this.#owner.parts(), state, devices, pages);
  }

  /** All vCPUs have called run(): turns go on where they were. */
  goOn(): void {
    this.#restored?.goOn();
    this.#restored = undefined;
  }

  /** The instance has ended. */
  ended(): void {
    for (const { reject } of this.#wanted.splice(0)) {
      reject(refuse("ENDED", "the guest ended before it was saved"));
    }
    const { standstill } = this.#owner.parts().vm;
    if (standstill !== undefined) standstill.hold = undefined;
  }
}

/** All of an instance whose guest has suspended itself, as it is to go on in a new domain. */
import type { VcpuApi, VmApi } from "../../kvm/api/index.js";
import type { LinearMemory, MemoryRegion } from "../../memory/index.js";
import { refuse } from "../loader/errors.js";
import type { Uart, uartLayer } from "../platform/uart/model.js";
import type { ValueOf } from "../snapshot/codec.js";
import { type KvmLayer, readKvm, writeKvm } from "../snapshot/kvm-layer.js";
import { copyPages, type PageRun } from "../snapshot/pages.js";
import type { Domain } from "../xen/domain.js";
import { type DomainLayer, readDomain, writeDomain } from "../xen/domain-state.js";

/** What an instance is made of, as far as it is saved. */
export interface InstanceParts {
  readonly vm: VmApi;
  readonly vcpus: readonly VcpuApi[];
  /** MSRs that KVM names for saving. */
  readonly msrs: readonly number[];
  /** RAM without overlays, and the ACPI tables. */
  readonly ram: readonly MemoryRegion[];
  readonly domain: Domain;
  readonly uart: Uart | undefined;
}

export interface InstanceState {
  readonly kvm: KvmLayer;
  readonly domain: DomainLayer;
  readonly uart: ValueOf<typeof uartLayer> | undefined;
  readonly pages: readonly PageRun[];
}

/** Puts memory into regions that are all zero. */
export type PutPages = (linear: LinearMemory, ram: readonly MemoryRegion[]) => Promise<void>;

/** Reads an instance whose vCPUs have all finished their last exits. @throws HostError HOST_MEMORY */
export async function readInstance({
  vm,
  vcpus,
  msrs,
  ram,
  domain,
  uart,
}: InstanceParts): Promise<InstanceState> {
  try {
    return {
      kvm: readKvm(vm, vcpus, msrs),
      domain: readDomain(domain),
      uart: uart?.save(),
      pages: await copyPages(vm.linear, ram),
    };
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw refuse("HOST_MEMORY", "the host has too little memory for a copy of the guest's", cause);
  }
}

/**
 * Fills an instance that has not run, of a machine with the same memory and CPUs.
 * @throws HostError SNAPSHOT_DAMAGED or SNAPSHOT_VERSION: the instance is not to be used then.
 */
export async function writeInstance(
  { vm, vcpus, ram, domain, uart }: InstanceParts,
  state: Omit<InstanceState, "pages">,
  pages: PutPages,
): Promise<void> {
  await pages(vm.linear, ram);
  writeKvm(vm, vcpus, state.kvm);
  if (state.uart !== undefined) uart?.restore(state.uart);
  writeDomain(domain, state.domain);
}

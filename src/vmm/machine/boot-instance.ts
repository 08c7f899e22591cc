/** Puts a guest that starts into the memory of a new instance, and its boot vCPU at the entry point. */
import { assert, defaultEventLoop, type EventLoop } from "../../base/index.js";
import type { VcpuApi } from "../../kvm/api/index.js";
import type { GuestMemory } from "../../memory/index.js";
import { buildAcpi } from "../firmware/acpi.js";
import { RSDP_SIZE } from "../firmware/tables.js";
import type { BootPlan } from "../loader/boot.js";
import { pvhRegs, pvhSregs } from "./entry-state.js";
import {
  ACPI_AREA,
  GENERATION_PAGE,
  IOAPIC_ADDRESS,
  LEGACY_RSDP,
  LOCAL_APIC_ADDRESS,
} from "./layout.js";

/** What a guest starts in. */
export interface BootTarget {
  readonly memory: Pick<GuestMemory, "write">;
  readonly vcpus: readonly VcpuApi[];
  /** See {@link import("../firmware/acpi.js").AcpiConfig}. */
  readonly generation: { readonly id: Uint8Array; readonly gsi: number };
  /** The serial port, when there is one. */
  readonly uart?: { readonly port: number; readonly gsi: number };
}

/** Bytes that are written at once, in some milliseconds: an initrd may have 3 GiB. */
const PIECE = 16 << 20;

/**
 * Writes ACPI tables, kernel, modules and boot data. Other work of the host has its turn between pieces; when `isOver`
 * says so then, the rest is left out.
 */
export async function bootInstance(
  target: BootTarget,
  plan: BootPlan,
  host: { readonly loop: EventLoop | undefined; readonly isOver: () => boolean },
): Promise<void> {
  const { memory, vcpus } = target;
  const { loop = defaultEventLoop(), isOver } = host;
  const write = (at: number, bytes: Uint8Array): void => {
    assert(memory.write(at, bytes), "a boot placement lies outside RAM");
  };
  const acpi = acpiOf(target);
  write(ACPI_AREA.addr, acpi);
  write(LEGACY_RSDP, acpi.subarray(0, RSDP_SIZE));
  write(GENERATION_PAGE.addr, target.generation.id);
  let sinceTurn = 0;
  // The memory is new, so what a placement leaves out is zero already.
  for (const { paddr, bytes } of plan.placements) {
    for (let at = 0; at < bytes.length; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      sinceTurn += piece.length;
      if (sinceTurn > PIECE) {
        await loop.yieldNow();
        if (isOver()) return;
        sinceTurn = piece.length;
      }
      write(paddr + at, piece);
    }
  }
  const [boot] = vcpus;
  assert(boot !== undefined, "a machine without vCPU");
  boot.setSregs(pvhSregs(boot.getSregs()));
  boot.setRegs(pvhRegs(boot.getRegs(), plan.entry, plan.startInfoPaddr));
}

function acpiOf({ vcpus, generation, uart }: BootTarget): Uint8Array {
  const interrupts = uart !== undefined;
  return buildAcpi({
    paddr: ACPI_AREA.addr,
    size: ACPI_AREA.size,
    processors: vcpus.map((vcpu, uid) => ({ uid, apicId: vcpu.id })),
    localApicPaddr: LOCAL_APIC_ADDRESS,
    // As Xen's PVH guests: without a UART there is no I/O APIC (Xen as a guest that finds one panics unless there is
    // a PIT beside it), and so nothing that could tell of another generation ID.
    ioapicPaddr: interrupts ? IOAPIC_ADDRESS : undefined,
    generation: { paddr: GENERATION_PAGE.addr, gsi: interrupts ? generation.gsi : undefined },
    ...(uart === undefined ? {} : { uart }),
  });
}

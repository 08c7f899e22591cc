/** Puts the ACPI tables of a machine together. */
import { assert } from "../../base/index.js";
import {
  device,
  edgeInterrupt,
  eisaId,
  integer,
  ioPorts,
  method,
  name,
  notify,
  pack,
  resources,
  scope,
  string,
} from "./aml.js";
import { fadt, type MadtProcessor, madt, rsdp, SLEEP_TYPE_S5, table, xsdt } from "./tables.js";

/** What the tables describe. */
export interface AcpiConfig {
  /** Where the tables will be. */
  readonly paddr: number;
  /** Bytes reserved for them. */
  readonly size: number;
  readonly processors: readonly MadtProcessor[];
  readonly localApicPaddr: number;
  readonly ioapicPaddr: number | undefined;
  /**
   * Where the guest finds the number of this run of its memory; the interrupt that says that it is another one, if there
   * is an I/O APIC for it.
   */
  readonly generation: { readonly paddr: number; readonly gsi: number | undefined };
  /** A 16550 at these ports with this interrupt, if the machine has one. */
  readonly uart?: { readonly port: number; readonly gsi: number };
}

/** The tables, ready to be copied to `paddr`; the RSDP comes first. */
export function buildAcpi(config: AcpiConfig): Uint8Array {
  const image = new Uint8Array(config.size);
  let end = 64;
  const place = (bytes: Uint8Array): number => {
    const at = end;
    assert(at + bytes.length <= config.size, "ACPI tables do not fit their area");
    image.set(bytes, at);
    end = Math.ceil((at + bytes.length) / 64) * 64;
    return config.paddr + at;
  };
  const dsdtPaddr = place(buildDsdt(config));
  const fadtPaddr = place(fadt(dsdtPaddr));
  const madtPaddr = place(madt(config.localApicPaddr, config.processors, config.ioapicPaddr));
  const xsdtPaddr = place(xsdt([fadtPaddr, madtPaddr]));
  image.set(rsdp(xsdtPaddr), 0);
  return image;
}

/** Differentiated System Description Table: processors, generation ID, the serial port and how to power off. */
export function buildDsdt(
  config: Pick<AcpiConfig, "processors" | "generation" | "uart">,
): Uint8Array {
  const processors = config.processors.map(({ uid }) =>
    device(
      `C${uid.toString(16).toUpperCase().padStart(3, "0")}`,
      name("_HID", string("ACPI0007")),
      name("_UID", integer(uid)),
    ),
  );
  const uart =
    config.uart === undefined
      ? []
      : [
          device(
            "COM1",
            name("_HID", eisaId("PNP0501")),
            name("_UID", integer(0)),
            name("_STA", integer(0xf)),
            name("_CRS", resources(ioPorts(config.uart.port, 8), edgeInterrupt(config.uart.gsi))),
          ),
        ];
  const body = [
    ...scope("\\_SB", ...processors, ...generationDevices(config.generation), ...uart),
    ...name("\\_S5", pack(integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0))),
  ];
  return table("DSDT", 2, Uint8Array.from(body));
}

/** Of Notify: the device's state is another one (ACPI 6.4, table 5.187: from 0x80 on a device says what it means). */
const CHANGED = 0x80;

/**
 * The VM generation ID, named as Xen's own tables name it, with the address as a package of its two halves; and a
 * generic event device (ACPI 6.4, 5.6.9), since a machine of the hardware-reduced model has no other way to notify.
 */
function generationDevices({ paddr, gsi }: AcpiConfig["generation"]) {
  const id = [
    device(
      "VGID",
      name("_HID", eisaId("XEN0000")),
      name("_UID", integer(0)),
      name("_CID", string("VM_Gen_Counter")),
      name("_DDN", string("VM_Gen_Counter")),
      name("ADDR", pack(integer(paddr % 2 ** 32), integer(Math.floor(paddr / 2 ** 32)))),
    ),
  ];
  if (gsi === undefined) return id;
  return [
    ...id,
    device(
      "GED",
      name("_HID", string("ACPI0013")),
      name("_UID", integer(0)),
      name("_CRS", resources(edgeInterrupt(gsi))),
      // Its argument says which interrupt came: there is one.
      method("_EVT", 1, notify("\\_SB.VGID", integer(CHANGED))),
    ),
  ];
}

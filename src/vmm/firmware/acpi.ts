/** Puts the ACPI tables of a machine together. */
import { assert } from "../../base/index.js";
import {
  device,
  edgeInterrupt,
  eisaId,
  integer,
  ioPorts,
  name,
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

/** Differentiated System Description Table: processors, the serial port and how to power off. */
export function buildDsdt(config: Pick<AcpiConfig, "processors" | "uart">): Uint8Array {
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
    ...scope("\\_SB", ...processors, ...uart),
    ...name("\\_S5", pack(integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0))),
  ];
  return table("DSDT", 2, Uint8Array.from(body));
}

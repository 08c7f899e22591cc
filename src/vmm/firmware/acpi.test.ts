import { describe, expect, it } from "vitest";
import { buildAcpi, buildDsdt } from "./acpi.js";
import { buffer, device, eisaId, integer, name, packageLength, scope } from "./aml.js";
import { checksum, fadt, madt, RESET_PORT, SLEEP_CONTROL_PORT } from "./tables.js";

const view = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

describe("AML", () => {
  it("encodes package lengths in one to four bytes", () => {
    expect(packageLength(0)).toEqual([1]);
    expect(packageLength(62)).toEqual([63]);
    expect(packageLength(63)).toEqual([0x41, 0x04]);
    expect(packageLength(4093)).toEqual([0x4f, 0xff]);
    expect(packageLength(4094)).toEqual([0x81, 0x00, 0x01]);
    expect(packageLength(2 ** 20)).toEqual([0xc4, 0x00, 0x00, 0x01]);
  });

  it("encodes integers in their shortest form", () => {
    expect(integer(0)).toEqual([0]);
    expect(integer(1)).toEqual([1]);
    expect(integer(0xff)).toEqual([0x0a, 0xff]);
    expect(integer(0x1234)).toEqual([0x0b, 0x34, 0x12]);
    expect(integer(0xfedcba98)).toEqual([0x0c, 0x98, 0xba, 0xdc, 0xfe]);
  });

  it("encodes names, blocks and EISA ids as iasl does", () => {
    expect(eisaId("PNP0501")).toEqual([0x0c, 0x41, 0xd0, 0x05, 0x01]);
    expect(name("_UID", integer(3))).toEqual([0x08, 0x5f, 0x55, 0x49, 0x44, 0x0a, 3]);
    expect(scope("\\_SB", device("COM1"))).toEqual([
      0x10, 13, 0x5c, 0x5f, 0x53, 0x42, 0x5f, 0x5b, 0x82, 5, 0x43, 0x4f, 0x4d, 0x31,
    ]);
    expect(buffer([7])).toEqual([0x11, 3, 1, 7]);
  });
});

describe("tables", () => {
  const config = {
    paddr: 0xfc000000,
    size: 0x10000,
    processors: [
      { uid: 0, apicId: 0 },
      { uid: 1, apicId: 2 },
      { uid: 2, apicId: 300 },
    ],
    localApicPaddr: 0xfee00000,
    ioapicPaddr: 0xfec00000,
    generation: { paddr: 0x1_fc010008, gsi: 9 },
  };

  it("can be walked from the RSDP, all checksums right", () => {
    const image = buildAcpi(config);
    const at = (paddr: bigint): Uint8Array => {
      const offset = Number(paddr) - config.paddr;
      const length = view(image).getUint32(offset + 4, true);
      const table = image.subarray(offset, offset + length);
      expect(checksum(table)).toBe(0);
      return table;
    };
    expect(text(image.subarray(0, 8))).toBe("RSD PTR ");
    expect(checksum(image.subarray(0, 20))).toBe(0);
    expect(checksum(image.subarray(0, 36))).toBe(0);
    const xsdt = at(view(image).getBigUint64(24, true));
    expect(text(xsdt.subarray(0, 4))).toBe("XSDT");
    const tables = [36, 44].map((offset) => at(view(xsdt).getBigUint64(offset, true)));
    expect(tables.map((table) => text(table.subarray(0, 4)))).toEqual(["FACP", "APIC"]);
    const dsdt = at(view(tables[0] as Uint8Array).getBigUint64(140, true));
    expect(text(dsdt.subarray(0, 4))).toBe("DSDT");
  });

  it("FADT: hardware-reduced, no VGA, no RTC, no 8042, with sleep and reset registers", () => {
    const table = fadt(0x1000);
    expect(table.length).toBe(268);
    expect(view(table).getUint16(109, true)).toBe((1 << 2) | (1 << 5));
    expect(view(table).getUint32(112, true) & (1 << 20)).not.toBe(0);
    expect(view(table).getBigUint64(116 + 4, true)).toBe(BigInt(RESET_PORT));
    expect(view(table).getBigUint64(244 + 4, true)).toBe(BigInt(SLEEP_CONTROL_PORT));
  });

  it("MADT: LAPIC entries, an x2APIC entry where 8 bits do not suffice, the I/O APIC", () => {
    const body = madt(config.localApicPaddr, config.processors, config.ioapicPaddr).subarray(44);
    expect([...body.subarray(0, 8)]).toEqual([0, 8, 0, 0, 1, 0, 0, 0]);
    expect([...body.subarray(8, 16)]).toEqual([0, 8, 1, 2, 1, 0, 0, 0]);
    expect([...body.subarray(16, 32)]).toEqual([
      9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
    ]);
    expect([...body.subarray(32)]).toEqual([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
  });

  it("DSDT names every processor, and the serial port only if there is one", () => {
    const without = text(buildDsdt(config));
    expect(without).toContain("C000");
    expect(without).toContain("C002");
    expect(without).not.toContain("COM1");
    expect(text(buildDsdt({ ...config, uart: { port: 0x3f8, gsi: 4 } }))).toContain("COM1");
  });

  it("DSDT: the generation ID's address in two halves, and the event device that tells of it", () => {
    const dsdt = text(buildDsdt(config));
    expect(dsdt).toContain("_CID\r" + "VM_Gen_Counter\0");
    // Name (ADDR, Package () { 0xfc010008, 1 })
    expect(dsdt).toContain(`ADDR\x12\x08\x02${text(Uint8Array.of(0x0c, 8, 0, 1, 0xfc, 1))}`);
    expect(dsdt).toContain("ACPI0013\0");
    // Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 9 }
    expect(dsdt).toContain(text(Uint8Array.of(0x89, 6, 0, 3, 1, 9, 0, 0, 0, 0x79, 0)));
    // Method (_EVT, 1) { Notify (\_SB.VGID, 0x80) }
    const notify = `\x86\\._SB_VGID${text(Uint8Array.of(0x0a, 0x80))}`;
    expect(dsdt).toContain(`\x14\x13_EVT\x01${notify}`);
  });
});

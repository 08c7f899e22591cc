/** The ACPI tables of a PVH guest, byte by byte (ACPI specification 6.4, chapter 5.2). */

/** I/O ports of the sleep, status and reset registers that the FADT names. 8 bits each. */
export const SLEEP_CONTROL_PORT = 0x600;
export const SLEEP_STATUS_PORT = 0x601;
export const RESET_PORT = 0x602;
/** Value that resets the machine when written to {@link RESET_PORT}. */
export const RESET_VALUE = 0x01;
/** SLP_TYP of soft-off in `\_S5`. Written as (type << 2) with SLP_EN (bit 5). */
export const SLEEP_TYPE_S5 = 5;
export const SLEEP_ENABLE = 1 << 5;

const OEM_ID = "KVMXEN";
const OEM_TABLE_ID = "KVMXENVM";
const HEADER_SIZE = 36;

function putText(bytes: Uint8Array, at: number, text: string): void {
  bytes.set(new TextEncoder().encode(text), at);
}

/** The byte that makes the sum of all bytes zero (modulo 256). */
export function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** A table with the common header (5.2.6) around `body`. */
export function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + body.length);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, signature);
  view.setUint32(4, bytes.length, true);
  bytes[8] = revision;
  putText(bytes, 10, OEM_ID);
  putText(bytes, 16, OEM_TABLE_ID);
  view.setUint32(24, 1, true);
  putText(bytes, 28, "KXEN");
  view.setUint32(32, 1, true);
  bytes.set(body, HEADER_SIZE);
  bytes[9] = checksum(bytes);
  return bytes;
}

/** Bytes of the RSDP. */
export const RSDP_SIZE = 36;

/** Root System Description Pointer, revision 2 (5.2.5.3). */
export function rsdp(xsdtPaddr: number): Uint8Array {
  const bytes = new Uint8Array(RSDP_SIZE);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, "RSD PTR ");
  putText(bytes, 9, OEM_ID);
  bytes[15] = 2;
  view.setUint32(20, bytes.length, true);
  view.setBigUint64(24, BigInt(xsdtPaddr), true);
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** Extended System Description Table (5.2.8): the addresses of the others. */
export function xsdt(paddrs: readonly number[]): Uint8Array {
  const body = new Uint8Array(paddrs.length * 8);
  const view = new DataView(body.buffer);
  paddrs.forEach((paddr, i) => {
    view.setBigUint64(i * 8, BigInt(paddr), true);
  });
  return table("XSDT", 1, body);
}

/** FADT flags (5.2.9, table 5.10). */
const FadtFlag = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  /** Power and sleep buttons, if any, would be devices; there are none. */
  PWR_BUTTON: 1 << 4,
  SLP_BUTTON: 1 << 5,
  RESET_REG_SUP: 1 << 10,
  HW_REDUCED_ACPI: 1 << 20,
} as const;
/** FADT boot architecture flags (table 5.11). */
const BootArch = { VGA_NOT_PRESENT: 1 << 2, CMOS_RTC_NOT_PRESENT: 1 << 5 } as const;

/**
 * Fixed ACPI Description Table, revision 5 (5.2.9). The hardware-reduced model is used: there is
 * no PM timer, SCI or PM1 block, and Linux then expects neither PIT nor legacy interrupts, which a
 * PVH guest does not have. Power-off goes through the sleep control register, since a PVH Linux
 * makes no hypercall for it.
 */
export function fadt(dsdtPaddr: number): Uint8Array {
  const body = new Uint8Array(268 - HEADER_SIZE);
  const view = new DataView(body.buffer);
  const at = (offset: number): number => offset - HEADER_SIZE;
  view.setUint32(at(40), dsdtPaddr, true);
  view.setUint16(at(109), BootArch.VGA_NOT_PRESENT | BootArch.CMOS_RTC_NOT_PRESENT, true);
  const flags =
    FadtFlag.WBINVD |
    FadtFlag.PROC_C1 |
    FadtFlag.PWR_BUTTON |
    FadtFlag.SLP_BUTTON |
    FadtFlag.RESET_REG_SUP |
    FadtFlag.HW_REDUCED_ACPI;
  view.setUint32(at(112), flags, true);
  const ioRegister = (offset: number, port: number): void => {
    // Generic Address Structure (5.2.3.2): system I/O, 8 bits, byte access.
    body.set([1, 8, 0, 1], at(offset));
    view.setBigUint64(at(offset) + 4, BigInt(port), true);
  };
  ioRegister(116, RESET_PORT);
  body[at(128)] = RESET_VALUE;
  body[at(131)] = 1;
  view.setBigUint64(at(140), BigInt(dsdtPaddr), true);
  ioRegister(244, SLEEP_CONTROL_PORT);
  ioRegister(256, SLEEP_STATUS_PORT);
  return table("FACP", 5, body);
}

/** A processor for the MADT. */
export interface MadtProcessor {
  /** ACPI processor UID; Linux takes it for the Xen vCPU id. */
  readonly uid: number;
  /** Local APIC id. */
  readonly apicId: number;
}

/** Multiple APIC Description Table (5.2.12). `ioapicPaddr` undefined: the machine has none. */
export function madt(
  localApicPaddr: number,
  processors: readonly MadtProcessor[],
  ioapicPaddr: number | undefined,
): Uint8Array {
  const entries: number[] = [];
  const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  for (const { uid, apicId } of processors) {
    if (apicId < 255 && uid < 255) entries.push(0, 8, uid, apicId, ...u32(1));
    else entries.push(9, 16, 0, 0, ...u32(apicId), ...u32(1), ...u32(uid));
  }
  if (ioapicPaddr !== undefined) entries.push(1, 12, 0, 0, ...u32(ioapicPaddr), ...u32(0));
  const body = new Uint8Array(8 + entries.length);
  new DataView(body.buffer).setUint32(0, localApicPaddr, true);
  body.set(entries, 8);
  return table("APIC", 4, body);
}

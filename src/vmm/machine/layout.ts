/** Where things are in the guest-physical space of a machine. */
import { type MemmapEntry, MemmapType } from "../../abi/boot/hvm-start-info.js";

const MIB = 1 << 20;
const GIB = 1 << 30;

/**
 * RAM below 4 GiB ends here at most; the rest of the first 4 GiB belongs to devices.
 * @nolimit an address
 */
export const LOW_RAM_LIMIT = 3 * GIB;
/** RAM that does not fit below {@link LOW_RAM_LIMIT} continues here. */
export const HIGH_RAM_START = 4 * GIB;
/** Where PCs have video memory and ROMs: RAM is there, but not in the memory map. */
export const LEGACY_HOLE = { addr: 0xa0000, size: 0x60000 } as const;
/** Where a BIOS has the RSDP: a kernel that was started by another (kexec) may look for it here. */
export const LEGACY_RSDP = 0xf0000;
/** ACPI tables: pages of their own outside RAM. */
export const ACPI_AREA = { addr: 0xfc000000, size: 0x10000 } as const;
/**
 * The VM generation ID: 16 bytes in a page that is neither RAM nor tables, as its specification wants (Microsoft,
 * "Virtual Machine Generation ID").
 */
export const GENERATION_PAGE = { addr: 0xfc010000, size: 0x1000 } as const;
/** I/O APIC and local APIC register pages, where KVM has them. */
export const IOAPIC_ADDRESS = 0xfec00000;
export const LOCAL_APIC_ADDRESS = 0xfee00000;
/** Xen's special pages; the guest learns of them by HVM parameters. */
export const SPECIAL_PAGES = { addr: 0xfeff8000, size: 0x4000 } as const;
/** Guest frames of the console ring and the xenstore ring, inside {@link SPECIAL_PAGES}. */
export const CONSOLE_GFN = 0xfeff8;
export const XENSTORE_GFN = 0xfeff9;

/** A range of RAM. */
export interface RamRange {
  readonly addr: number;
  readonly size: number;
}

/** The ranges that `bytes` of RAM occupy: one or two. `bytes` is a multiple of 4096. */
export function ramRanges(bytes: number): RamRange[] {
  const low = Math.min(bytes, LOW_RAM_LIMIT);
  const ranges = [{ addr: 0, size: low }];
  if (bytes > low) ranges.push({ addr: HIGH_RAM_START, size: bytes - low });
  return ranges;
}

/** The memory map for the guest, by ascending address. RAM must be more than 1 MiB. */
export function memoryMap(bytes: number): MemmapEntry[] {
  const [low, high] = ramRanges(bytes);
  const entries: MemmapEntry[] = [
    { addr: 0, size: LEGACY_HOLE.addr, type: MemmapType.RAM },
    { ...LEGACY_HOLE, type: MemmapType.RESERVED },
    { addr: MIB, size: (low?.size ?? 0) - MIB, type: MemmapType.RAM },
    { ...ACPI_AREA, type: MemmapType.ACPI },
    { ...GENERATION_PAGE, type: MemmapType.RESERVED },
    { ...SPECIAL_PAGES, type: MemmapType.RESERVED },
  ];
  if (high !== undefined) entries.push({ ...high, type: MemmapType.RAM });
  return entries;
}

/** The PVH boot structures (Xen's `public/arch-x86/hvm/start_info.h`), the same for all guests. */
import { struct, u32, u64 } from "../layout.js";

export const hvm_start_info = struct("hvm_start_info", {
  magic: u32,
  version: u32,
  flags: u32,
  nr_modules: u32,
  modlist_paddr: u64,
  cmdline_paddr: u64,
  rsdp_paddr: u64,
  memmap_paddr: u64,
  memmap_entries: u32,
  reserved: u32,
});
export const hvm_modlist_entry = struct("hvm_modlist_entry", {
  paddr: u64,
  size: u64,
  cmdline_paddr: u64,
  reserved: u64,
});
export const hvm_memmap_table_entry = struct("hvm_memmap_table_entry", {
  addr: u64,
  size: u64,
  type: u32,
  reserved: u32,
});

/** `magic` of hvm_start_info ("xEn3" with the top bit of the E set). */
export const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** Version with a memory map. */
export const HVM_START_INFO_VERSION = 1;
/** `sizeof(struct hvm_start_info)`. */
export const HVM_START_INFO_SIZE = hvm_start_info.size;
/** `sizeof(struct hvm_modlist_entry)`. */
export const HVM_MODLIST_ENTRY_SIZE = hvm_modlist_entry.size;
/** `sizeof(struct hvm_memmap_table_entry)`. */
export const HVM_MEMMAP_ENTRY_SIZE = hvm_memmap_table_entry.size;
/**
 * Linux has room for this many memory map entries and does not check.
 * @limit host | entries of the memory map that a guest gets | entries | this program's own map is never as
 *   long; more is a defect of it
 */
export const HVM_MEMMAP_MAX_ENTRIES = 128;

/** `type` of a memory map entry (`XEN_HVM_MEMMAP_TYPE_*`), which are the numbers of e820. */
export const MemmapType = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4, UNUSABLE: 5 } as const;

/** One entry of the memory map; addresses and sizes in bytes. */
export interface MemmapEntry {
  readonly addr: number;
  readonly size: number;
  readonly type: number;
}

/** A module. Linux takes the first one for its initial RAM disk; Xen takes that for the kernel of its guest. */
export interface Module {
  readonly paddr: number;
  readonly size: number;
  /** Of its command line, 0 for none. */
  readonly cmdlinePaddr: number;
}

/** What a start_info points to, as guest-physical addresses; 0 for none. */
export interface StartInfo {
  readonly modules: number;
  readonly modlistPaddr: number;
  readonly cmdlinePaddr: number;
  readonly rsdpPaddr: number;
  readonly memmapPaddr: number;
  readonly memmapEntries: number;
}

/** Encodes version 1 with no flags: an ordinary domain, neither privileged nor dom0. */
export function encodeStartInfo(info: StartInfo): Uint8Array {
  return hvm_start_info.encode({
    magic: XEN_HVM_START_MAGIC_VALUE,
    version: HVM_START_INFO_VERSION,
    nr_modules: info.modules,
    modlist_paddr: BigInt(info.modlistPaddr),
    cmdline_paddr: BigInt(info.cmdlinePaddr),
    rsdp_paddr: BigInt(info.rsdpPaddr),
    memmap_paddr: BigInt(info.memmapPaddr),
    memmap_entries: info.memmapEntries,
  });
}

/** Encodes the module list. */
export function encodeModlist(modules: readonly Module[]): Uint8Array {
  const bytes = new Uint8Array(modules.length * HVM_MODLIST_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  modules.forEach((module, i) => {
    hvm_modlist_entry.write(view, i * HVM_MODLIST_ENTRY_SIZE, {
      paddr: BigInt(module.paddr),
      size: BigInt(module.size),
      cmdline_paddr: BigInt(module.cmdlinePaddr),
    });
  });
  return bytes;
}

/** Encodes the memory map. */
export function encodeMemmap(entries: readonly MemmapEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * HVM_MEMMAP_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  entries.forEach((entry, i) => {
    hvm_memmap_table_entry.write(view, i * HVM_MEMMAP_ENTRY_SIZE, {
      addr: BigInt(entry.addr),
      size: BigInt(entry.size),
      type: entry.type,
    });
  });
  return bytes;
}

/** The PVH boot structures (Xen's `public/arch-x86/hvm/start_info.h`), the same for all guests. */

/** `magic` of hvm_start_info ("xEn3" with the top bit of the E set). */
export const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** Version with a memory map. */
export const HVM_START_INFO_VERSION = 1;
/** `sizeof(struct hvm_start_info)`. */
export const HVM_START_INFO_SIZE = 56;
/** `sizeof(struct hvm_modlist_entry)`. */
export const HVM_MODLIST_ENTRY_SIZE = 32;
/** `sizeof(struct hvm_memmap_table_entry)`. */
export const HVM_MEMMAP_ENTRY_SIZE = 24;
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
  const bytes = new Uint8Array(HVM_START_INFO_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, XEN_HVM_START_MAGIC_VALUE, true);
  view.setUint32(4, HVM_START_INFO_VERSION, true);
  view.setUint32(12, info.modules, true);
  view.setBigUint64(16, BigInt(info.modlistPaddr), true);
  view.setBigUint64(24, BigInt(info.cmdlinePaddr), true);
  view.setBigUint64(32, BigInt(info.rsdpPaddr), true);
  view.setBigUint64(40, BigInt(info.memmapPaddr), true);
  view.setUint32(48, info.memmapEntries, true);
  return bytes;
}

/** Encodes the module list. */
export function encodeModlist(modules: readonly Module[]): Uint8Array {
  const bytes = new Uint8Array(modules.length * HVM_MODLIST_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  modules.forEach((module, i) => {
    const at = i * HVM_MODLIST_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(module.paddr), true);
    view.setBigUint64(at + 8, BigInt(module.size), true);
    view.setBigUint64(at + 16, BigInt(module.cmdlinePaddr), true);
  });
  return bytes;
}

/** Encodes the memory map. */
export function encodeMemmap(entries: readonly MemmapEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * HVM_MEMMAP_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  entries.forEach((entry, i) => {
    const at = i * HVM_MEMMAP_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(entry.addr), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
  });
  return bytes;
}

import { packed, u8, u16, u32, u64 } from "../layout.js";

/** The setup header of an x86 Linux kernel image (`asm/bootparam.h`; kernel: Documentation/arch/x86/boot.rst). */
export const setup_header = packed("setup_header", {
  setup_sects: u8,
  root_flags: u16,
  syssize: u32,
  ram_size: u16,
  vid_mode: u16,
  root_dev: u16,
  boot_flag: u16,
  jump: u16,
  header: u32,
  version: u16,
  realmode_swtch: u32,
  start_sys_seg: u16,
  kernel_version: u16,
  type_of_loader: u8,
  loadflags: u8,
  setup_move_size: u16,
  code32_start: u32,
  ramdisk_image: u32,
  ramdisk_size: u32,
  bootsect_kludge: u32,
  heap_end_ptr: u16,
  ext_loader_ver: u8,
  ext_loader_type: u8,
  cmd_line_ptr: u32,
  initrd_addr_max: u32,
  kernel_alignment: u32,
  relocatable_kernel: u8,
  min_alignment: u8,
  xloadflags: u16,
  cmdline_size: u32,
  hardware_subarch: u32,
  hardware_subarch_data: u64,
  payload_offset: u32,
  payload_length: u32,
  setup_data: u64,
  pref_address: u64,
  init_size: u32,
  handover_offset: u32,
  kernel_info_offset: u32,
});
/** An entry of the BIOS's memory map, e820; XENMEM_memory_map fills in such. */
export const boot_e820_entry = packed("boot_e820_entry", { addr: u64, size: u64, type: u32 });

/** Where the header is in the image. */
const HEADER_AT = 0x1f1;
const at = (field: string): number => HEADER_AT + setup_header.offset(field);

/** What of it is read, by offsets in the image. */
export const BzImage = {
  /** u8: sectors of real-mode code after the first; 0 means 4. */
  setup_sects: at("setup_sects"),
  /** u16: 0xaa55. */
  boot_flag: at("boot_flag"),
  BOOT_FLAG: 0xaa55,
  /** u32: "HdrS". */
  header: at("header"),
  HEADER: 0x53726448,
  /** u16: protocol version; the payload fields exist from 2.08 on. */
  version: at("version"),
  VERSION_WITH_PAYLOAD: 0x208,
  /** u32: offset of the compressed kernel from the start of the protected-mode code. */
  payload_offset: at("payload_offset"),
  /** u32: its length. */
  payload_length: at("payload_length"),
  SECTOR: 512,
} as const;

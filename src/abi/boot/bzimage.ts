/** The setup header of an x86 Linux kernel image (kernel: Documentation/arch/x86/boot.rst). */
export const BzImage = {
  /** u8: sectors of real-mode code after the first; 0 means 4. */
  setup_sects: 0x1f1,
  /** u16: 0xaa55. */
  boot_flag: 0x1fe,
  BOOT_FLAG: 0xaa55,
  /** u32: "HdrS". */
  header: 0x202,
  HEADER: 0x53726448,
  /** u16: protocol version; the payload fields exist from 2.08 on. */
  version: 0x206,
  VERSION_WITH_PAYLOAD: 0x208,
  /** u32: offset of the compressed kernel from the start of the protected-mode code. */
  payload_offset: 0x248,
  /** u32: its length. */
  payload_length: 0x24c,
  SECTOR: 512,
} as const;

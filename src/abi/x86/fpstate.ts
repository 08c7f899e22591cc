import { array, struct, u16, u32, u64 } from "../layout.js";

/** The FXSAVE image of 64-bit code (Intel SDM volume 1, table 10-2), as `asm/sigcontext.h` has it. */
export const _fpstate_64 = struct("_fpstate_64", {
  cwd: u16,
  swd: u16,
  /** A bit for each register that is not empty. */
  twd: u16,
  fop: u16,
  rip: u64,
  rdp: u64,
  mxcsr: u32,
  mxcsr_mask: u32,
  st_space: array(u32, 32),
  xmm_space: array(u32, 64),
  reserved2: array(u32, 12),
  /** For software. */
  reserved3: array(u32, 12),
});
/** The header of an XSAVE area, which follows. */
export const _header = struct("_header", {
  xfeatures: u64,
  reserved1: array(u64, 2),
  reserved2: array(u64, 5),
});

/** Places in the image, and of the header. */
export const Fxsave = {
  FCW: _fpstate_64.offset("cwd"),
  FSW: _fpstate_64.offset("swd"),
  FTW: _fpstate_64.offset("twd"),
  FOP: _fpstate_64.offset("fop"),
  FIP: _fpstate_64.offset("rip"),
  FDP: _fpstate_64.offset("rdp"),
  MXCSR: _fpstate_64.offset("mxcsr"),
  MXCSR_MASK: _fpstate_64.offset("mxcsr_mask"),
  /** Eight registers of 10 bytes, each in 16. */
  ST: _fpstate_64.offset("st_space"),
  XMM: _fpstate_64.offset("xmm_space"),
  XMM_END: _fpstate_64.offset("reserved2"),
  SOFTWARE: _fpstate_64.offset("reserved3"),
  SIZE: _fpstate_64.size,
  XSAVE_HEADER: _fpstate_64.size,
  XSAVE_HEADER_END: _fpstate_64.size + _header.size,
} as const;

/** After FNINIT and LDMXCSR of the default, with all registers zero. */
export const initialFxsave = (): Uint8Array =>
  _fpstate_64.encode({ cwd: 0x37f, mxcsr: 0x1f80, mxcsr_mask: 0xffff });

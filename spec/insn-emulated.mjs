// @ts-check
/**
 * What KVM's emulator cannot do. An instruction whose operand lies in no memory, or is written in read-only memory,
 * is executed by that emulator, and ends with KVM_INTERNAL_ERROR_EMULATION when it does not know it. Asked of Linux
 * 6.12.117 for every row with a memory operand; tests/vectors/edges/device_operands.scn holds its answers.
 *
 * @typedef {object} NotEmulated
 * @property {string[]} families files of spec/insn of which it knows nothing but `but`
 * @property {string[]} but assembly of rows of those files that it knows
 * @property {string[]} also mnemonics of other files
 * @property {string[]} wide mnemonics of which it does no write with REX.W
 * @property {string[]} newer mnemonics that Linux 7.2 knows and 6.12 does not
 */

/** @type {NotEmulated} */
export const NOT_EMULATED = {
  families: ["fxsave", "mmx", "sse", "sse2", "sse3", "sse41", "sse42", "ssse3", "x87"],
  but: [
    "movq Pq,Qq",
    "movq Qq,Pq",
    "movups Vps,Wps",
    "movups Wps,Vps",
    "movaps Vps,Wps",
    "movaps Wps,Vps",
    "movntps Mps,Vps",
    "movupd Vpd,Wpd",
    "movupd Wpd,Vpd",
    "movapd Vpd,Wpd",
    "movapd Wpd,Vpd",
    "movntpd Mpd,Vpd",
    "movdqa Vdq,Wdq",
    "movdqa Wdq,Vdq",
    "movdqu Vdq,Wdq",
    "movdqu Wdq,Vdq",
    "movntdq Mdq,Vdq",
    "fnstcw m16",
    "fnstsw m16",
  ],
  also: ["arpl", "bound", "crc32", "iret", "lar", "lsl", "popcnt", "verr", "verw"],
  wide: ["cmpxchg8b"],
  newer: ["movntdqa"],
};

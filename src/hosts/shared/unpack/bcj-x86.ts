/**
 * The x86 branch filter of the xz format: the compressor replaces the relative target of CALL (E8)
 * and JMP (E9) by an absolute one, which repeats more often; this puts the relative ones back.
 * Modelled after the description of the filter in the LZMA SDK (public domain), decoder only.
 */

/** For the history bits 0 to 7: may an E8/E9 at this place be converted? */
const allowed = [true, true, true, false, true, false, false, false];
/** For the history bits 0 to 7: which byte of the operand decides about a second conversion. */
const decidingByte = [0, 1, 2, 2, 3, 3, 3, 3];

const isSignByte = (byte: number | undefined): boolean => byte === 0x00 || byte === 0xff;

/**
 * Undoes the filter in place. `data` is one whole block of the xz file, from its first byte on,
 * since targets are counted from the start of the block.
 */
export function decodeBcjX86(data: Uint8Array): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const end = data.length - 5;
  let history = 0;
  let previous = -1;
  for (let at = 0; at <= end; at++) {
    if (((data[at] ?? 0) & 0xfe) !== 0xe8) continue;
    const distance = at - previous;
    history = distance > 3 ? 0 : (history << (distance - 1)) & 7;
    previous = at;
    const deciding = data[at + 4 - (decidingByte[history] ?? 0)];
    if (history !== 0 && (!allowed[history] || isSignByte(deciding))) {
      history = (history << 1) | 1;
      continue;
    }
    if (!isSignByte(data[at + 4])) {
      history = (history << 1) | 1;
      continue;
    }
    view.setUint32(at + 1, relativeTarget(view.getUint32(at + 1, true), at + 5, history), true);
    at += 4;
    previous = at;
    history = 0;
  }
}

/** The relative form of an absolute operand of the instruction that ends at `next`. */
function relativeTarget(operand: number, next: number, history: number): number {
  let source = operand;
  let target = (source - next) >>> 0;
  if (history !== 0) {
    const shift = (decidingByte[history] ?? 0) * 8;
    while (isSignByte((target >>> (24 - shift)) & 0xff)) {
      source = (target ^ ((2 ** (32 - shift) - 1) >>> 0)) >>> 0;
      target = (source - next) >>> 0;
    }
  }
  return (target & 0x01ffffff) >= 0x01000000
    ? ((target & 0x01ffffff) | 0xfe000000) >>> 0
    : target & 0x01ffffff;
}

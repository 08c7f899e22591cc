import { refuse } from "../error.js";

/** Bytes of `struct kvm_xsave` without its flexible end. */
export const XSAVE_BYTES = 4096;

/** State components (Intel SDM volume 1, chapter 13): x87, SSE. */
const X87 = 1n;
const SSE = 2n;
const SUPPORTED = X87 | SSE;

/** Where things are in the area. */
const At = { ST: 32, XMM: 160, XMM_END: 416, SOFTWARE: 464, HEADER: 512, HEADER_END: 576 } as const;
const FCW = 0;
const MXCSR = 24;
const MXCSR_MASK = 28;

const FCW_INITIAL = 0x37f;
const MXCSR_INITIAL = 0x1f80;
const MXCSR_BITS = 0xffff;

/** A loop: a callback for each byte would be half of the cost of KVM_GET_XSAVE. */
function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** The FXSAVE image of a processor after FNINIT with all registers zero. */
function initialImage(): Uint8Array {
  const image = new Uint8Array(At.HEADER);
  const view = new DataView(image.buffer);
  view.setUint16(FCW, FCW_INITIAL, true);
  view.setUint32(MXCSR, MXCSR_INITIAL, true);
  view.setUint32(MXCSR_MASK, MXCSR_BITS, true);
  return image;
}

/** KVM_GET_XSAVE: the standard form. Components in their initial state are not marked. */
export function xsaveOf(image: Uint8Array): Uint8Array {
  const area = new Uint8Array(XSAVE_BYTES);
  area.set(image);
  const view = new DataView(area.buffer);
  view.setBigUint64(At.SOFTWARE, SUPPORTED, true);
  let present = 0n;
  const x87Idle =
    view.getUint16(FCW, true) === FCW_INITIAL &&
    isZero(image.subarray(FCW + 2, MXCSR)) &&
    isZero(image.subarray(At.ST, At.XMM));
  if (!x87Idle) present |= X87;
  const xmmIdle = isZero(image.subarray(At.XMM, At.XMM_END));
  if (!xmmIdle || view.getUint32(MXCSR, true) !== MXCSR_INITIAL) present |= SSE;
  view.setBigUint64(At.HEADER, present, true);
  return area;
}

/**
 * KVM_SET_XSAVE: the FXSAVE image that an area means; components that are not marked are initial.
 * @throws KvmError EINVAL components that are not supported, a compacted area, reserved bits.
 */
export function imageOf(area: Uint8Array): Uint8Array {
  if (area.length < At.HEADER_END) refuse("EINVAL", "XSAVE area");
  const view = new DataView(area.buffer, area.byteOffset, At.HEADER_END);
  const present = view.getBigUint64(At.HEADER, true);
  if ((present & ~SUPPORTED) !== 0n) refuse("EINVAL", "XSAVE components");
  if (!isZero(area.subarray(At.HEADER + 8, At.HEADER_END))) refuse("EINVAL", "XSAVE header");
  const mxcsr = view.getUint32(MXCSR, true);
  if (present !== 0n && (mxcsr & ~MXCSR_BITS) !== 0) refuse("EINVAL", "MXCSR");
  const image = initialImage();
  if ((present & X87) !== 0n) {
    image.set(area.subarray(FCW, MXCSR));
    image.set(area.subarray(At.ST, At.XMM), At.ST);
  }
  if ((present & SSE) !== 0n) {
    image.set(area.subarray(At.XMM, At.XMM_END), At.XMM);
    new DataView(image.buffer).setUint32(MXCSR, mxcsr, true);
  }
  return image;
}

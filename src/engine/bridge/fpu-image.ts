import { assert } from "../../base/index.js";
import { Cpu } from "./state.gen.js";

/** Bytes of an FXSAVE image. */
export const FXSAVE_BYTES = 512;
const ST = 32;
const XMM = 160;
const MXCSR_MASK = 0xffff;
/** Bits of the x87 control word that exist; bit 6 reads as one. */
const FCW_BITS = 0x1f3f;

/** Copies the x87 and SSE state at `state` out as a 64-bit FXSAVE image (SDM vol. 1, table 10-2). */
export function readFpuImage(memory: Uint8Array, state: number): Uint8Array {
  const from = new DataView(memory.buffer, memory.byteOffset);
  const image = new Uint8Array(FXSAVE_BYTES);
  const to = new DataView(image.buffer);
  const u32 = (field: number): number => from.getUint32(state + field, true);
  to.setUint16(0, u32(Cpu.FCW), true);
  to.setUint16(2, u32(Cpu.FSW), true);
  to.setUint8(4, u32(Cpu.FTW));
  to.setUint16(6, u32(Cpu.FOP), true);
  to.setBigUint64(8, from.getBigUint64(state + Cpu.FIP, true), true);
  to.setBigUint64(16, from.getBigUint64(state + Cpu.FDP, true), true);
  to.setUint32(24, u32(Cpu.MXCSR), true);
  to.setUint32(28, MXCSR_MASK, true);
  const top = (u32(Cpu.FSW) >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const at = state + Cpu.FPR + ((top + i) & 7) * 16;
    image.set(memory.subarray(at, at + 10), ST + i * 16);
  }
  image.set(memory.subarray(state + Cpu.XMM, state + Cpu.XMM + 256), XMM);
  return image;
}

/** Sets the x87 and SSE state at `state` from a 64-bit FXSAVE image. */
export function writeFpuImage(memory: Uint8Array, state: number, image: Uint8Array): void {
  assert(image.length === FXSAVE_BYTES, "an FXSAVE image has 512 bytes");
  const from = new DataView(image.buffer, image.byteOffset);
  const to = new DataView(memory.buffer, memory.byteOffset);
  const fsw = from.getUint16(2, true);
  to.setUint32(state + Cpu.FCW, (from.getUint16(0, true) & FCW_BITS) | 0x40, true);
  to.setUint32(state + Cpu.FSW, fsw, true);
  to.setUint32(state + Cpu.FTW, from.getUint8(4), true);
  to.setUint32(state + Cpu.FOP, from.getUint16(6, true) & 0x7ff, true);
  to.setBigUint64(state + Cpu.FIP, from.getBigUint64(8, true), true);
  to.setBigUint64(state + Cpu.FDP, from.getBigUint64(16, true), true);
  to.setUint32(state + Cpu.MXCSR, from.getUint32(24, true) & MXCSR_MASK, true);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const at = state + Cpu.FPR + ((top + i) & 7) * 16;
    memory.fill(0, at, at + 16);
    memory.set(image.subarray(ST + i * 16, ST + i * 16 + 10), at);
  }
  memory.set(image.subarray(XMM, XMM + 256), state + Cpu.XMM);
}

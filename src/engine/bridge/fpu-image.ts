import { Fxsave } from "../../abi/x86/fpstate.js";
import { assert } from "../../base/index.js";
import { Cpu } from "./state.gen.js";

/** Bytes of an FXSAVE image. */
export const FXSAVE_BYTES = Fxsave.SIZE;
const { ST, XMM } = Fxsave;
const MXCSR_MASK = 0xffff;
/** Bits of the x87 control word that exist; bit 6 reads as one. */
const FCW_BITS = 0x1f3f;

/** Copies the x87 and SSE state at `state` out as a 64-bit FXSAVE image (SDM vol. 1, table 10-2). */
export function readFpuImage(memory: Uint8Array, state: number): Uint8Array {
  const from = new DataView(memory.buffer, memory.byteOffset);
  const image = new Uint8Array(FXSAVE_BYTES);
  const to = new DataView(image.buffer);
  const u32 = (field: number): number => from.getUint32(state + field, true);
  to.setUint16(Fxsave.FCW, u32(Cpu.FCW), true);
  to.setUint16(Fxsave.FSW, u32(Cpu.FSW), true);
  to.setUint8(Fxsave.FTW, u32(Cpu.FTW));
  to.setUint16(Fxsave.FOP, u32(Cpu.FOP), true);
  to.setBigUint64(Fxsave.FIP, from.getBigUint64(state + Cpu.FIP, true), true);
  to.setBigUint64(Fxsave.FDP, from.getBigUint64(state + Cpu.FDP, true), true);
  to.setUint32(Fxsave.MXCSR, u32(Cpu.MXCSR), true);
  to.setUint32(Fxsave.MXCSR_MASK, MXCSR_MASK, true);
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
  const fsw = from.getUint16(Fxsave.FSW, true);
  to.setUint32(state + Cpu.FCW, (from.getUint16(Fxsave.FCW, true) & FCW_BITS) | 0x40, true);
  to.setUint32(state + Cpu.FSW, fsw, true);
  to.setUint32(state + Cpu.FTW, from.getUint8(Fxsave.FTW), true);
  to.setUint32(state + Cpu.FOP, from.getUint16(Fxsave.FOP, true) & 0x7ff, true);
  to.setBigUint64(state + Cpu.FIP, from.getBigUint64(Fxsave.FIP, true), true);
  to.setBigUint64(state + Cpu.FDP, from.getBigUint64(Fxsave.FDP, true), true);
  to.setUint32(state + Cpu.MXCSR, from.getUint32(Fxsave.MXCSR, true) & MXCSR_MASK, true);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const at = state + Cpu.FPR + ((top + i) & 7) * 16;
    memory.fill(0, at, at + 16);
    memory.set(image.subarray(ST + i * 16, ST + i * 16 + 10), at);
  }
  memory.set(image.subarray(XMM, XMM + 256), state + Cpu.XMM);
}

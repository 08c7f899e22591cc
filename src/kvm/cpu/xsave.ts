import { Fxsave, initialFxsave } from "../../abi/x86/index.js";
import type { EngineVcpu } from "../../engine/bridge/port.js";
import { refuse } from "../error.js";

/** Bytes of `struct kvm_xsave` without its flexible end. */
export const XSAVE_BYTES = 4096;

/** State components (Intel SDM volume 1, chapter 13): x87, SSE. */
const X87 = 1;
const SSE = 2;
const SUPPORTED = X87 | SSE;
/** What is marked when KVM_RUN has saved the processor's registers: all of it. */
export const ALL_MARKED = SUPPORTED;

const HEADER = Fxsave.XSAVE_HEADER;
const HEADER_END = Fxsave.XSAVE_HEADER_END;
const MXCSR_BITS = 0xffff;

/** A loop: a callback for each byte would be half of the cost of KVM_GET_XSAVE. */
function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** A vCPU whose registers are in memory, with which components of them count. */
interface FpuOwner {
  readonly engine: Pick<EngineVcpu, "fpu" | "setFpu">;
  fpuMarked: number;
}

/**
 * Of a vCPU that is about to run, components that are not marked become initial: what KVM_SET_FPU has put there is lost.
 * KVM_RUN saves all of them afterwards, also when it has executed nothing. (A processor need not mark what is initial
 * then; the one that was asked marks all.)
 */
export function loadFpu(vcpu: FpuOwner): void {
  vcpu.engine.setFpu(loadedImage(vcpu.engine.fpu(), vcpu.fpuMarked));
  vcpu.fpuMarked = ALL_MARKED;
}

/** KVM_GET_XSAVE. */
export const readXsave = ({ engine, fpuMarked }: FpuOwner): Uint8Array =>
  xsaveOf(engine.fpu(), fpuMarked);

/** KVM_SET_XSAVE. @throws KvmError as {@link putXsave}. */
export function writeXsave(vcpu: FpuOwner, area: Uint8Array): void {
  const image = vcpu.engine.fpu();
  vcpu.fpuMarked = putXsave(area, image);
  vcpu.engine.setFpu(image);
}

/**
 * KVM_GET_XSAVE: the standard form. Components that are not marked are shown as initial, whatever the memory has.
 * `image` is the FXSAVE image in memory, `marked` which components of it count.
 */
function xsaveOf(image: Uint8Array, marked: number): Uint8Array {
  const area = new Uint8Array(XSAVE_BYTES);
  area.set(initialFxsave());
  if ((marked & X87) !== 0) copyX87(image, area);
  if ((marked & SSE) !== 0) {
    copyMxcsr(image, area);
    copyXmm(image, area);
  }
  const view = new DataView(area.buffer);
  view.setBigUint64(Fxsave.SOFTWARE, BigInt(SUPPORTED), true);
  view.setBigUint64(HEADER, BigInt(marked), true);
  return area;
}

/**
 * KVM_SET_XSAVE: puts the components that an area marks into the image in memory; the others stay in it, but count no more.
 * @returns what is marked now.
 * @throws KvmError EINVAL components that are not supported, a compacted area, reserved bits.
 */
function putXsave(area: Uint8Array, image: Uint8Array): number {
  if (area.length < HEADER_END) refuse("EINVAL", "XSAVE area");
  const view = new DataView(area.buffer, area.byteOffset, HEADER_END);
  const present = view.getBigUint64(HEADER, true);
  if ((present & ~BigInt(SUPPORTED)) !== 0n) refuse("EINVAL", "XSAVE components");
  if (!isZero(area.subarray(HEADER + 8, HEADER_END))) refuse("EINVAL", "XSAVE header");
  const marked = Number(present);
  if (marked === 0) return marked;
  if ((view.getUint32(Fxsave.MXCSR, true) & ~MXCSR_BITS) !== 0) refuse("EINVAL", "MXCSR");
  copyMxcsr(area, image);
  if ((marked & X87) !== 0) copyX87(area, image);
  if ((marked & SSE) !== 0) copyXmm(area, image);
  return marked;
}

/**
 * What the processor's registers are when KVM_RUN loads them: of components that are not marked the initial ones, but
 * for MXCSR, which XRSTOR loads in any case (standard form; Intel SDM volume 1, 13.8.1).
 */
function loadedImage(image: Uint8Array, marked: number): Uint8Array {
  const loaded = initialFxsave();
  copyMxcsr(image, loaded);
  if ((marked & X87) !== 0) copyX87(image, loaded);
  if ((marked & SSE) !== 0) copyXmm(image, loaded);
  return loaded;
}

function copyX87(from: Uint8Array, to: Uint8Array): void {
  to.set(from.subarray(Fxsave.FCW, Fxsave.MXCSR), Fxsave.FCW);
  to.set(from.subarray(Fxsave.ST, Fxsave.XMM), Fxsave.ST);
}

function copyMxcsr(from: Uint8Array, to: Uint8Array): void {
  to.set(from.subarray(Fxsave.MXCSR, Fxsave.MXCSR_MASK), Fxsave.MXCSR);
}

function copyXmm(from: Uint8Array, to: Uint8Array): void {
  to.set(from.subarray(Fxsave.XMM, Fxsave.XMM_END), Fxsave.XMM);
}

/** KVM_SET_FPU. @throws KvmError EINVAL: too short, or bits of MXCSR that do not exist. */
export function writeFxsave({ engine }: { readonly engine: EngineVcpu }, image: Uint8Array): void {
  if (image.length < Fxsave.SIZE) refuse("EINVAL", "FXSAVE image");
  const mxcsr = new DataView(image.buffer, image.byteOffset).getUint32(Fxsave.MXCSR, true);
  if ((mxcsr & ~MXCSR_BITS) !== 0) refuse("EINVAL", "MXCSR");
  engine.setFpu(image.slice(0, Fxsave.SIZE));
}

import { assert, type Hva, hva, PAGE_SIZE } from "../../base/index.js";
import type { LinearMemory } from "../../memory/index.js";

/** A page that guest and backend share. Offsets are the caller's own, never the guest's. */
export interface SharedPage {
  /** A copy of `length` bytes. */
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
  /**
   * The bytes themselves, for now only: not when the guest has run or memory was given out. Whoever writes to them says so
   * by {@link noteWrite}.
   */
  borrow(offset: number, length: number): Uint8Array;
  /** Bytes that were borrowed have been written, or may have been. */
  noteWrite(offset: number, length: number): void;
  /** Little-endian u32; one access, so a value that was checked is the value that is used. */
  readU32(offset: number): number;
  writeU32(offset: number, value: number): void;
}

/** A shared page in a VM's linear memory. */
export class LinearPage implements SharedPage {
  readonly #linear: LinearMemory;
  /** Where the page is. */
  readonly hva: Hva;

  constructor(linear: LinearMemory, at: Hva) {
    this.#linear = linear;
    this.hva = at;
  }

  read(offset: number, length: number): Uint8Array {
    const at = this.#at(offset, length);
    return this.#linear.u8.slice(at, at + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    const at = this.#at(offset, bytes.length);
    this.#linear.u8.set(bytes, at);
    this.#linear.noteWrite(at, bytes.length);
  }

  borrow(offset: number, length: number): Uint8Array {
    const at = this.#at(offset, length);
    return this.#linear.u8.subarray(at, at + length);
  }

  noteWrite(offset: number, length: number): void {
    this.#linear.noteWrite(this.#at(offset, length), length);
  }

  readU32(offset: number): number {
    return this.#linear.view.getUint32(this.#at(offset, 4), true);
  }

  writeU32(offset: number, value: number): void {
    const at = this.#at(offset, 4);
    this.#linear.view.setUint32(at, value, true);
    this.#linear.noteWrite(at, 4);
  }

  #at(offset: number, length: number): Hva {
    assert(offset >= 0 && offset + length <= PAGE_SIZE, "access outside a shared page");
    return hva(this.hva + offset);
  }
}

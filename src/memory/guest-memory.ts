import { type Gpa, type Hva, hva } from "../base/index.js";
import type { LinearMemory } from "./linear-memory.js";

/** A part of guest-physical space that is backed by linear memory. */
export interface MemoryRegion {
  readonly gpa: Gpa;
  /** Bytes; a multiple of 4096. */
  readonly size: number;
  readonly hva: Hva;
}

/**
 * Checked access to guest RAM by guest-physical address, for code outside the engine. Nothing here
 * trusts an address: reads answer `undefined` and writes `false` when any byte lies outside RAM.
 * Reads copy, so that what was checked cannot change afterwards.
 */
export class GuestMemory {
  readonly #linear: LinearMemory;
  #regions: readonly MemoryRegion[] = [];

  constructor(linear: LinearMemory, regions: readonly MemoryRegion[] = []) {
    this.#linear = linear;
    this.#regions = regions;
  }

  /** The regions in use, in the order in which they are searched. */
  get regions(): readonly MemoryRegion[] {
    return this.#regions;
  }

  /** Replaces the regions; they must not overlap. */
  setRegions(regions: readonly MemoryRegion[]): void {
    this.#regions = regions;
  }

  /** Where `length` bytes from `address` lie, if inside one region. */
  locate(address: number, length: number): Hva | undefined {
    for (const region of this.#regions) {
      const offset = address - region.gpa;
      if (offset >= 0 && offset + length <= region.size) return hva(region.hva + offset);
    }
    return undefined;
  }

  /** A copy of `length` bytes. May span regions that touch. */
  read(address: number, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    const ok = this.#pieces(address, length, (at, done, size) => {
      out.set(this.#linear.u8.subarray(at, at + size), done);
    });
    return ok ? out : undefined;
  }

  /** Writes all of `bytes` or nothing. */
  write(address: number, bytes: Uint8Array): boolean {
    if (!this.#pieces(address, bytes.length, () => undefined)) return false;
    return this.#pieces(address, bytes.length, (at, done, size) => {
      this.#linear.u8.set(bytes.subarray(done, done + size), at);
      this.#linear.noteWrite(hva(at), size);
    });
  }

  /** Sets `length` bytes to `byte`, all or nothing. */
  fill(address: number, length: number, byte: number): boolean {
    if (!this.#pieces(address, length, () => undefined)) return false;
    return this.#pieces(address, length, (at, _done, size) => {
      this.#linear.u8.fill(byte, at, at + size);
      this.#linear.noteWrite(hva(at), size);
    });
  }

  readU8(address: number): number | undefined {
    const at = this.locate(address, 1);
    return at === undefined ? undefined : this.#linear.view.getUint8(at);
  }

  readU16(address: number): number | undefined {
    const at = this.locate(address, 2);
    return at === undefined ? undefined : this.#linear.view.getUint16(at, true);
  }

  readU32(address: number): number | undefined {
    const at = this.locate(address, 4);
    return at === undefined ? undefined : this.#linear.view.getUint32(at, true);
  }

  readU64(address: number): bigint | undefined {
    const at = this.locate(address, 8);
    return at === undefined ? undefined : this.#linear.view.getBigUint64(at, true);
  }

  writeU8(address: number, value: number): boolean {
    return this.#store(address, 1, (view, at) => view.setUint8(at, value));
  }

  writeU16(address: number, value: number): boolean {
    return this.#store(address, 2, (view, at) => view.setUint16(at, value, true));
  }

  writeU32(address: number, value: number): boolean {
    return this.#store(address, 4, (view, at) => view.setUint32(at, value, true));
  }

  writeU64(address: number, value: bigint): boolean {
    return this.#store(address, 8, (view, at) => view.setBigUint64(at, value, true));
  }

  #store(address: number, size: number, put: (view: DataView, at: number) => void): boolean {
    const at = this.locate(address, size);
    if (at === undefined) return false;
    put(this.#linear.view, at);
    this.#linear.noteWrite(at, size);
    return true;
  }

  /** Calls `visit` for each contiguous piece; false (perhaps after some calls) when one is missing. */
  #pieces(
    address: number,
    length: number,
    visit: (at: number, done: number, size: number) => void,
  ): boolean {
    let done = 0;
    while (done < length) {
      const at = address + done;
      const region = this.#regions.find((r) => at >= r.gpa && at < r.gpa + r.size);
      if (region === undefined) return false;
      const offset = at - region.gpa;
      const size = Math.min(length - done, region.size - offset);
      visit(region.hva + offset, done, size);
      done += size;
    }
    return true;
  }
}

/** Access to guest memory by guest-virtual address, for the arguments of hypercalls. */
import type { Fields, Inputs, Struct, Values, Width } from "../../abi/layout.js";
import { type Gpa, type Gva, gva, PAGE_SIZE } from "../../base/index.js";
import type { GuestMemory } from "../../memory/index.js";

/** Walks the page tables of the calling vCPU; undefined where nothing is mapped. */
export type Translate = (address: Gva) => Gpa | undefined;

/**
 * Memory as the caller of a hypercall addresses it. Every access is a copy: what was checked is
 * what is used. A failed access means -EFAULT.
 */
export class GuestAccess {
  readonly #memory: GuestMemory;
  readonly #translate: Translate;
  /** Width of the caller's registers, pointers and longs. */
  readonly width: Width;

  constructor(memory: GuestMemory, translate: Translate, width: Width) {
    this.#memory = memory;
    this.#translate = translate;
    this.width = width;
  }

  /** Guest-physical address of a byte, if it is mapped. */
  translate(address: bigint): Gpa | undefined {
    return this.#translate(this.#wrap(address));
  }

  /** Copies bytes out; undefined when any is not mapped to RAM. `length` must be bounded. */
  read(address: bigint, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    const ok = this.#pages(address, length, (at, done, size) => {
      const piece = this.#memory.read(at, size);
      if (piece === undefined) return false;
      out.set(piece, done);
      return true;
    });
    return ok ? out : undefined;
  }

  /** Copies bytes in, all or none. */
  write(address: bigint, bytes: Uint8Array): boolean {
    const isRam = (at: Gpa, _done: number, size: number): boolean =>
      this.#memory.locate(at, size) !== undefined;
    if (!this.#pages(address, bytes.length, isRam)) return false;
    return this.#pages(address, bytes.length, (at, done, size) =>
      this.#memory.write(at, bytes.subarray(done, done + size)),
    );
  }

  /** Reads a structure in the caller's layout. */
  readStruct<F extends Fields>(address: bigint, layout: Struct<F>): Values<F> | undefined {
    const bytes = this.read(address, layout.of(this.width).size);
    return bytes === undefined ? undefined : layout.of(this.width).decode(bytes);
  }

  /** Writes a structure in the caller's layout. */
  writeStruct<F extends Fields>(address: bigint, layout: Struct<F>, value: Inputs<F>): boolean {
    return this.write(address, layout.of(this.width).encode(value));
  }

  /** Reads an element of an array of longs. */
  readLong(array: bigint, index: number): bigint | undefined {
    const size = this.width / 8;
    const bytes = this.read(array + BigInt(index * size), size);
    if (bytes === undefined) return undefined;
    const view = new DataView(bytes.buffer);
    return size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
  }

  /** Writes an element of an array of longs. */
  writeLong(array: bigint, index: number, value: bigint): boolean {
    const size = this.width / 8;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(this.width, value), true);
    return this.write(array + BigInt(index * size), bytes.subarray(0, size));
  }

  #wrap(address: bigint): Gva {
    return gva(BigInt.asUintN(this.width, address));
  }

  #pages(
    address: bigint,
    length: number,
    visit: (at: Gpa, done: number, size: number) => boolean,
  ): boolean {
    let done = 0;
    while (done < length) {
      const virtual = this.#wrap(address + BigInt(done));
      const size = Math.min(length - done, PAGE_SIZE - Number(virtual & 0xfffn));
      const at = this.#translate(virtual);
      if (at === undefined || !visit(at, done, size)) return false;
      done += size;
    }
    return true;
  }
}

/** Guest memory as a program has it that maps it: at addresses. */
import { type Hva, hva } from "../../base/index.js";
import type { LinearMemory } from "../../memory/index.js";
import { LocalProcess } from "../local-process.js";

/** Where the memory of a VM is in the address space of the program that drives it. */
export interface Addresses {
  /** The address of an offset; 0, which means none, stays. */
  addressOf(offset: bigint | number): bigint;
  /** The other way. */
  offsetOf(address: bigint): bigint;
}

/** Memory whose offset 0 is at an address. */
export class Mapping implements Addresses {
  readonly #base: bigint;

  constructor(base: bigint) {
    this.#base = base;
  }

  addressOf(offset: bigint | number): bigint {
    return BigInt(offset) === 0n ? 0n : this.#base + BigInt(offset);
  }

  offsetOf(address: bigint): bigint {
    return address === 0n ? 0n : address - this.#base;
  }
}

/** Addresses of one linear memory. @nolimit the width of its offsets */
const WINDOW = 1n << 32n;
/** Where the first one is: below what mmap gives. */
const FIRST_WINDOW = 0x100000000000n;

/**
 * A program that has the memory of its VMs mapped, all of it, as one that shares memory with them: each linear
 * memory has a window of 4 GiB of addresses.
 */
export class MappedProcess extends LocalProcess {
  /** By number. A memory that is gone leaves its window. */
  readonly #windows: (LinearMemory | undefined)[] = [];

  /** Maps a linear memory; its address. */
  map(linear: LinearMemory): bigint {
    this.#windows.push(linear);
    return FIRST_WINDOW + BigInt(this.#windows.length - 1) * WINDOW;
  }

  #find(address: bigint): { readonly linear: LinearMemory; readonly at: Hva } | undefined {
    if (address < FIRST_WINDOW) return undefined;
    const linear = this.#windows[Number((address - FIRST_WINDOW) / WINDOW)];
    return linear && { linear, at: hva(Number((address - FIRST_WINDOW) % WINDOW)) };
  }

  override read(address: bigint, length: number): Uint8Array | undefined {
    const found = this.#find(address);
    if (found === undefined) return super.read(address, length);
    const { linear, at } = found;
    return linear.contains(at, length) ? linear.u8.slice(at, at + length) : undefined;
  }

  override write(address: bigint, bytes: Uint8Array): boolean {
    const found = this.#find(address);
    if (found === undefined) return super.write(address, bytes);
    const { linear, at } = found;
    if (!linear.contains(at, bytes.length)) return false;
    linear.u8.set(bytes, at);
    linear.noteWrite(at, bytes.length);
    return true;
  }

  override attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined {
    const found = this.#find(address);
    if (found === undefined) return super.attach(linear, address, size);
    return found.linear === linear && linear.contains(found.at, size) ? found.at : undefined;
  }

  override toHva(linear: LinearMemory, address: bigint): Hva | undefined {
    const found = this.#find(address);
    if (found === undefined) return super.toHva(linear, address);
    return found.linear === linear ? found.at : undefined;
  }

  override toAddress(linear: LinearMemory, at: Hva): bigint {
    const window = this.#windows.indexOf(linear);
    return window < 0
      ? super.toAddress(linear, at)
      : FIRST_WINDOW + BigInt(window) * WINDOW + BigInt(at);
  }

  override detach(linear: LinearMemory): void {
    const window = this.#windows.indexOf(linear);
    if (window >= 0) this.#windows[window] = undefined;
    super.detach(linear);
  }
}

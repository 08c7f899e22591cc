import { assert, PAGE_SIZE } from "../../base/index.js";
import type { SharedPage } from "./shared-page.js";

/** A shared page in an array of its own, for tests. */
export class ArrayPage implements SharedPage {
  readonly bytes = new Uint8Array(PAGE_SIZE);
  readonly #view = new DataView(this.bytes.buffer);

  read(offset: number, length: number): Uint8Array {
    assert(offset >= 0 && offset + length <= PAGE_SIZE, "access outside a shared page");
    return this.bytes.slice(offset, offset + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    assert(offset >= 0 && offset + bytes.length <= PAGE_SIZE, "access outside a shared page");
    this.bytes.set(bytes, offset);
  }

  borrow(offset: number, length: number): Uint8Array {
    assert(offset >= 0 && offset + length <= PAGE_SIZE, "access outside a shared page");
    return this.bytes.subarray(offset, offset + length);
  }

  noteWrite(): void {}

  readU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  writeU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }
}

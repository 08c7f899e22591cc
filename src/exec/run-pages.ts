import { C, errno, ftruncate, memfdCreate, mmap, viewOf } from "./libc.js";

/** Where pages are in the file that the client maps them from. */
export interface PageLocation {
  readonly fd: number;
  readonly offset: number;
}

/** Pages that client and server both see: parts of one file in memory, which the client may map. */
export class RunPages {
  readonly #fd: number;
  #end = 0;
  readonly #offsets = new WeakMap<ArrayBufferLike, number>();

  constructor() {
    this.#fd = memfdCreate("kvm-xen-run", C.MFD_CLOEXEC);
  }

  /** New zeroed pages. @throws RangeError when the system gives none. */
  allocate(bytes: number): Uint8Array {
    const size = Math.ceil(bytes / 4096) * 4096;
    const offset = this.#end;
    if (ftruncate(this.#fd, offset + size) !== 0) throw new RangeError(`errno ${errno()}`);
    const address = Number(mmap(0, size, C.PROT_READ_WRITE, C.MAP_SHARED, this.#fd, offset));
    if (address === -1) throw new RangeError(`errno ${errno()}`);
    this.#end += size;
    const pages = viewOf(address, bytes);
    this.#offsets.set(pages.buffer, offset - pages.byteOffset);
    return pages;
  }

  /** Where pages that {@link allocate} gave, or a part of them, lie in the file. */
  locate(pages: Uint8Array): PageLocation | undefined {
    const offset = this.#offsets.get(pages.buffer);
    return offset === undefined ? undefined : { fd: this.#fd, offset: offset + pages.byteOffset };
  }
}

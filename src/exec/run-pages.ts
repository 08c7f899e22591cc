import {
  type Address,
  C,
  close,
  errno,
  ftruncate,
  memfdCreate,
  mmap,
  munmap,
  viewOf,
} from "./libc.js";

/** Where pages are in the file that the client maps them from. */
export interface PageLocation {
  readonly fd: number;
  readonly offset: number;
}

/** A file of its own and where it is mapped. */
interface Mapped {
  readonly fd: number;
  readonly address: Address;
  readonly size: number;
}

/** Pages that client and server both see: in files in memory, which the client may map. */
export class RunPages {
  readonly #fd: number;
  #end = 0;
  readonly #places = new WeakMap<ArrayBufferLike, PageLocation>();
  /** The client may see its pages longer than this side does. */
  readonly #collected = new FinalizationRegistry<Mapped>(({ fd, address, size }) => {
    munmap(address, size);
    close(fd);
  });

  constructor() {
    this.#fd = memfdCreate("kvm-xen-run", C.MFD_CLOEXEC);
  }

  /** New zeroed pages that are given back when nothing refers to them. @throws RangeError. */
  allocateOwn(bytes: number): Uint8Array {
    const size = Math.ceil(bytes / 4096) * 4096;
    const fd = memfdCreate("kvm-xen-run", C.MFD_CLOEXEC);
    if (fd < 0) throw new RangeError(`errno ${errno()}`);
    const long = ftruncate(fd, size) === 0;
    const address = long ? Number(mmap(0, size, C.PROT_READ_WRITE, C.MAP_SHARED, fd, 0)) : -1;
    if (address === -1) {
      close(fd);
      throw new RangeError(`errno ${errno()}`);
    }
    const pages = viewOf(address, bytes);
    this.#places.set(pages.buffer, { fd, offset: -pages.byteOffset });
    this.#collected.register(pages.buffer, { fd, address, size });
    return pages;
  }

  /** New zeroed pages of one common file. @throws RangeError when the system gives none. */
  allocate(bytes: number): Uint8Array {
    const size = Math.ceil(bytes / 4096) * 4096;
    const offset = this.#end;
    if (ftruncate(this.#fd, offset + size) !== 0) throw new RangeError(`errno ${errno()}`);
    const address = Number(mmap(0, size, C.PROT_READ_WRITE, C.MAP_SHARED, this.#fd, offset));
    if (address === -1) throw new RangeError(`errno ${errno()}`);
    this.#end += size;
    const pages = viewOf(address, bytes);
    this.#places.set(pages.buffer, { fd: this.#fd, offset: offset - pages.byteOffset });
    return pages;
  }

  /** Where pages that this gave, or a part of them, lie in their file. */
  locate(pages: Uint8Array): PageLocation | undefined {
    const place = this.#places.get(pages.buffer);
    return place && { fd: place.fd, offset: place.offset + pages.byteOffset };
  }
}

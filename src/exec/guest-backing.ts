import { fstatSync } from "node:fs";
import { type Hva, hva } from "../base/index.js";
import { type LinearMemory, PageAccess } from "../memory/index.js";
import { addressOf, C, close, mmap, munmap } from "./libc.js";

/** Client memory that is a file in memory: [address, address + length) is `fd` from `offset` on. */
interface SharedRange {
  readonly address: number;
  readonly length: number;
  readonly fd: number;
  readonly offset: number;
  /** What the client may do there. */
  readonly access: PageAccess;
  /** Bytes of the file as far as it is known; nothing behind its end can be accessed. */
  fileSize: number;
}

/** Client memory that a VM uses: it lies in that VM's linear memory from `hva` on. */
interface Attached {
  readonly linear: LinearMemory;
  readonly address: number;
  readonly length: number;
  readonly hva: Hva;
  /** Slots that use it; it is given back with the last one. */
  slots: number;
  /** Something other than a slot knows its address. */
  pinned: boolean;
}

/** Linear memory that nothing is attached to. */
interface Hole {
  readonly start: Hva;
  readonly length: number;
}

/** Where linear memory changed under a VM. */
export interface Replaced {
  readonly linear: LinearMemory;
  readonly start: Hva;
  readonly length: number;
}

const PAGE = 4096;
/** Where the user half of an address space ends. */
const USER_END = 0x7fff_ffff_f000;

/**
 * Guest memory of one client: its files in memory, laid over the WebAssembly memory of its VMs. The
 * base of a WebAssembly memory is page-aligned and does not move when it grows. Taking a mapping
 * back means mapping anonymous memory over it: a hole in WebAssembly memory would end the process.
 */
export class GuestBacking {
  #shared: SharedRange[] = [];
  #attached: Attached[] = [];
  /** Client memory that slots will attach, by VM and slot. */
  readonly #expected = new Map<LinearMemory, Map<number, { address: number; end: number }>>();
  readonly #holes = new WeakMap<LinearMemory, Hole[]>();

  /**
   * The client made this memory shared; the descriptor belongs to this object from now on. What VMs
   * have of it changes at once. Undefined when the file cannot be mapped or the numbers make no sense.
   */
  share(
    address: number,
    length: number,
    fd: number,
    offset: number,
    access: PageAccess = PageAccess.FULL,
  ): Replaced[] | undefined {
    const whole = length > 0 && length % PAGE === 0 && address % PAGE === 0 && offset % PAGE === 0;
    const safe = whole && address + length <= USER_END && Number.isSafeInteger(offset + length);
    if (!safe || !canMap(fd, offset, access)) {
      close(fd);
      return undefined;
    }
    this.#forget(address, length);
    const range = { address, length, fd, offset, access, fileSize: fstatSync(fd).size };
    this.#shared.push(range);
    return this.#layAgain(range);
  }

  /** The client has something else there, or nothing. */
  unshare(address: number, length: number): Replaced[] {
    this.#forget(address, length);
    return this.#overlapping(address, length).map((part) => {
      clear(part.linear, part.start, part.length);
      return part;
    });
  }

  /** Whether a slot will attach some of this memory; what the client has there then is what counts. */
  isExpected(address: number, length: number): boolean {
    for (const slots of this.#expected.values()) {
      for (const one of slots.values()) {
        if (address < one.end && one.address < address + length) return true;
      }
    }
    return false;
  }

  /** Files of the client may have another size than they had. */
  resized(): Replaced[] {
    return this.#shared.flatMap((range) => {
      const { size } = fstatSync(range.fd);
      if (size === range.fileSize) return [];
      range.fileSize = size;
      return this.#layAgain(range);
    });
  }

  /** Client memory as backing of a VM; undefined when there is no room for it. */
  attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined {
    const at = Number(address);
    const known = this.#find(linear, at, size);
    if (known !== undefined) {
      known.slots++;
      return hva(known.hva + at - known.address);
    }
    const start = this.#takeHole(linear, size) ?? linear.allocate(size);
    if (start === undefined) return undefined;
    linear.hasOutsideWriters = true;
    linear.setAccess(start, size, PageAccess.NONE);
    this.#attached.push({ linear, address: at, length: size, hva: start, slots: 1, pinned: false });
    for (const range of this.#shared) {
      const from = Math.max(at, range.address);
      const to = Math.min(at + size, range.address + range.length);
      if (from < to) this.#lay(linear, hva(start + from - at), from, range, to - from);
    }
    return start;
  }

  /** A slot will attach this memory when it is accessed; size 0: it does not any more. */
  expect(linear: LinearMemory, slot: number, address: number, size: number): void {
    const slots = this.#expected.get(linear) ?? new Map<number, { address: number; end: number }>();
    this.#expected.set(linear, slots);
    if (size > 0) slots.set(slot, { address, end: address + size });
    else slots.delete(slot);
  }

  /** A slot does not use any more what {@link attach} gave. */
  release(linear: LinearMemory, at: Hva): void {
    const part = this.#at(linear, at);
    if (part === undefined || --part.slots > 0 || part.pinned) return;
    this.#attached.splice(this.#attached.indexOf(part), 1);
    clear(linear, part.hva, part.length);
    const holes = this.#holes.get(linear) ?? [];
    holes.push({ start: part.hva, length: part.length });
    this.#holes.set(linear, joined(holes));
  }

  /** The VM is gone: its memory is its own again, until it is collected. */
  detach(linear: LinearMemory): void {
    for (const part of this.#attached) {
      if (part.linear === linear) clear(linear, part.hva, part.length);
    }
    this.#attached = this.#attached.filter((part) => part.linear !== linear);
    this.#expected.delete(linear);
  }

  /** A client address in a VM's linear memory. */
  toHva(linear: LinearMemory, address: bigint): Hva | undefined {
    const part = this.#find(linear, Number(address), 1);
    if (part === undefined) return undefined;
    part.pinned = true;
    return hva(part.hva + Number(address) - part.address);
  }

  /** The client address of an offset in linear memory, 0 when there is none. */
  toAddress(linear: LinearMemory, offset: Hva): bigint {
    const part = this.#at(linear, offset);
    return part === undefined ? 0n : BigInt(part.address + offset - part.hva);
  }

  /** The client is gone. */
  close(): void {
    for (const { linear } of [...this.#attached]) this.detach(linear);
    for (const fd of new Set(this.#shared.map((range) => range.fd))) close(fd);
    this.#shared = [];
  }

  #find(linear: LinearMemory, address: number, size: number): Attached | undefined {
    return this.#attached.findLast(
      (one) =>
        one.linear === linear &&
        address >= one.address &&
        address + size <= one.address + one.length,
    );
  }

  #at(linear: LinearMemory, offset: Hva): Attached | undefined {
    return this.#attached.findLast(
      (one) => one.linear === linear && offset >= one.hva && offset < one.hva + one.length,
    );
  }

  /** Linear memory that a slot gave back. */
  #takeHole(linear: LinearMemory, size: number): Hva | undefined {
    const holes = this.#holes.get(linear) ?? [];
    const index = holes.findIndex((hole) => hole.length >= size);
    const hole = holes[index];
    if (hole === undefined) return undefined;
    const rest = { start: hva(hole.start + size), length: hole.length - size };
    holes.splice(index, 1, ...(rest.length > 0 ? [rest] : []));
    return hole.start;
  }

  #overlapping(address: number, length: number): (Replaced & { readonly address: number })[] {
    return this.#attached.flatMap((part) => {
      const from = Math.max(address, part.address);
      const to = Math.min(address + length, part.address + part.length);
      if (from >= to) return [];
      const start = hva(part.hva + from - part.address);
      return [{ linear: part.linear, start, length: to - from, address: from }];
    });
  }

  /** Lays a range over whatever VMs have of it. */
  #layAgain(range: SharedRange): Replaced[] {
    return this.#overlapping(range.address, range.length).map((part) => {
      this.#lay(part.linear, part.start, part.address, range, part.length);
      return part;
    });
  }

  /** Takes [address, address + length) out of what is shared. */
  #forget(address: number, length: number): void {
    const end = address + length;
    const kept: SharedRange[] = [];
    const gone: SharedRange[] = [];
    for (const range of this.#shared) {
      const last = range.address + range.length;
      if (last <= address || range.address >= end) {
        kept.push(range);
        continue;
      }
      if (range.address < address) kept.push({ ...range, length: address - range.address });
      if (last > end) {
        const skipped = end - range.address;
        kept.push({ ...range, address: end, length: last - end, offset: range.offset + skipped });
      }
      gone.push(range);
    }
    for (const { fd } of gone) if (!kept.some((range) => range.fd === fd)) close(fd);
    this.#shared = kept;
  }

  /** Lays `length` bytes from client address `from` on over linear memory. */
  #lay(linear: LinearMemory, at: Hva, from: number, range: SharedRange, length: number): void {
    const offset = range.offset + from - range.address;
    const pages = Math.ceil(Math.max(0, range.fileSize - offset) / PAGE);
    const there = Math.min(length, pages * PAGE);
    // Behind the end of the file there is nothing, which an access would end this process for.
    if (there < length) clear(linear, hva(at + there), length - there);
    if (there === 0) return;
    const target = addressOf(linear.memory.buffer) + at;
    const flags = sharing(range.access) | C.MAP_FIXED;
    const mapped = mmap(target, there, C.PROT_READ_WRITE, flags, range.fd, offset);
    if (Number(mapped) === -1) clear(linear, at, there);
    else linear.setAccess(at, there, range.access);
  }
}

/** Without the right to write, the descriptor may be one for reading only. */
const sharing = (access: PageAccess): number =>
  access === PageAccess.FULL ? C.MAP_SHARED : C.MAP_PRIVATE;

/** Whether pages of a file can be mapped: those of hugetlbfs cannot one by one. */
function canMap(fd: number, offset: number, access: PageAccess): boolean {
  const mapped = Number(mmap(0, PAGE, C.PROT_READ_WRITE, sharing(access), fd, offset));
  return mapped !== -1 && munmap(mapped, PAGE) === 0;
}

/** Neighbours become one. */
function joined(holes: readonly Hole[]): Hole[] {
  const result: Hole[] = [];
  for (const hole of [...holes].sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || last.start + last.length !== hole.start) result.push(hole);
    else result.splice(-1, 1, { start: last.start, length: last.length + hole.length });
  }
  return result;
}

/** Nothing is there any more that a guest could access. */
function clear(linear: LinearMemory, at: Hva, length: number): void {
  linear.setAccess(at, length, PageAccess.NONE);
  const flags = C.MAP_PRIVATE | C.MAP_ANONYMOUS | C.MAP_FIXED;
  mmap(addressOf(linear.memory.buffer) + at, length, C.PROT_READ_WRITE, flags, -1, 0);
}

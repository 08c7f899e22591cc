import { assert, type Hva, hva, PAGE_SIZE } from "../base/index.js";
import { type LinearMemory, PageAccess } from "../memory/index.js";

/** First address that is handed out when the client does not ask for one. */
const FIRST = 0x7f0000000000n;

/** Where the user half of the address space ends on x86-64 with 4-level tables. */
export const USER_END = 0x7ffffffff000n;

/** A contiguous piece of client memory. Its bytes are in one of two places. */
interface Area {
  readonly start: bigint;
  readonly end: bigint;
  /** The client may access it. Unmapped areas exist only where a VM keeps backing. */
  mapped: boolean;
  /** The bytes while no VM uses them; undefined for zeros that nobody wrote yet. */
  bytes: Uint8Array | undefined;
  /** Where the bytes are while a VM uses them. */
  backing: { readonly linear: LinearMemory; readonly at: Hva } | undefined;
}

/** A piece of a VM's memory whose pages were replaced. */
export interface ReplacedRange {
  readonly linear: LinearMemory;
  readonly start: Hva;
  readonly length: number;
}

const sizeOf = (area: Area): number => Number(area.end - area.start);
const pageUp = (bytes: number): bigint => BigInt(Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE);
const pageDown = (address: bigint): bigint => address & ~BigInt(PAGE_SIZE - 1);

/**
 * Client memory: anonymous mappings at addresses. A mapping lives in a buffer of its own until a
 * VM's memory slot covers it; then its content moves to that VM's linear memory and its addresses
 * lead there, so that client and guest see the same bytes.
 */
export class AddressSpace {
  /** Ascending, without overlap. */
  #areas: Area[] = [];
  #next = FIRST;

  /**
   * mmap(2) with MAP_ANONYMOUS: zeroed pages, at `at` (a multiple of 4096, replacing what is there)
   * or anywhere.
   */
  map(length: number, at?: bigint): { address: bigint; replaced: ReplacedRange[] } {
    assert(Number.isSafeInteger(length) && length > 0, "AddressSpace.map: length");
    const address = at ?? this.#next;
    const end = address + pageUp(length);
    assert(address >= 0n && pageDown(address) === address, "AddressSpace.map: address");
    assert(end <= USER_END, "AddressSpace.map: beyond the user half");
    const replaced = this.replace(address, length);
    this.#fill(address, end);
    for (const area of this.#within(address, end)) setMapped(area, true);
    // One page stays free between mappings, so that overruns fault.
    if (at === undefined) this.#next = end + BigInt(PAGE_SIZE);
    return { address, replaced };
  }

  /** munmap(2). What a VM has there cannot be accessed until the client maps it again. */
  unmap(address: bigint, length: number): ReplacedRange[] {
    const replaced = this.replace(address, length);
    const inside = this.#within(pageDown(address), address + pageUp(length));
    for (const area of inside) setMapped(area, false);
    this.#areas = this.#areas.filter((area) => area.mapped || area.backing !== undefined);
    return replaced;
  }

  /** Fresh zero pages for those mapped in a range; what VMs have to be told of. */
  replace(address: bigint, length: number): ReplacedRange[] {
    const replaced: ReplacedRange[] = [];
    for (const area of this.#within(pageDown(address), address + pageUp(length))) {
      if (area.backing === undefined) {
        area.bytes?.fill(0);
        continue;
      }
      const { linear, at } = area.backing;
      linear.u8.fill(0, at, at + sizeOf(area));
      replaced.push({ linear, start: at, length: sizeOf(area) });
    }
    return replaced;
  }

  /** A copy of `length` bytes, undefined when any of them is not mapped. */
  read(address: bigint, length: number): Uint8Array | undefined {
    if (!this.#pieces(address, length, () => undefined)) return undefined;
    const out = new Uint8Array(length);
    this.#pieces(address, length, (area, offset, done, size) => {
      const from = area.backing === undefined ? offset : area.backing.at + offset;
      const source = area.backing?.linear.u8 ?? area.bytes;
      if (source !== undefined) out.set(source.subarray(from, from + size), done);
    });
    return out;
  }

  /** Writes bytes up to the first that is not mapped; whether that was all. */
  write(address: bigint, bytes: Uint8Array): boolean {
    return this.#pieces(address, bytes.length, (area, offset, done, size) => {
      const piece = bytes.subarray(done, done + size);
      if (area.backing === undefined) {
        area.bytes ??= new Uint8Array(sizeOf(area));
        area.bytes.set(piece, offset);
      } else {
        const { linear, at } = area.backing;
        linear.u8.set(piece, at + offset);
        linear.noteWrite(hva(at + offset), size);
      }
    });
  }

  /**
   * Moves [address, address + size) to a linear memory and says where it is. All of a mapping moves
   * at once, so that further slots find the rest of it beside. Undefined when the range is not the
   * user's, another VM has part of it, parts lie apart in this one, or there is no room.
   */
  attach(linear: LinearMemory, address: bigint, size: number): Hva | undefined {
    const end = address + BigInt(size);
    if (address < 0n || end > USER_END || size <= 0) return undefined;
    const present = this.#attached(linear, address, end);
    if (present !== undefined) return present;
    this.#fill(address, end);
    const parts = this.#areas.filter((area) => area.start < end && area.end > address);
    if (parts.some((area) => area.backing !== undefined)) return undefined;
    if (this.#move(linear, parts) || this.#move(linear, this.#within(address, end))) {
      return this.#attached(linear, address, end);
    }
    return undefined;
  }

  /** Brings back what was attached to a linear memory. */
  detach(linear: LinearMemory): void {
    for (const area of this.#areas) {
      if (area.backing?.linear !== linear) continue;
      const at = area.backing.at;
      area.bytes = linear.u8.slice(at, at + sizeOf(area));
      area.backing = undefined;
    }
    this.#areas = this.#areas.filter((area) => area.mapped);
  }

  /** Where a mapped address is in a linear memory. */
  toHva(linear: LinearMemory, address: bigint): Hva | undefined {
    const area = this.#find(address);
    if (area?.backing?.linear !== linear || !area.mapped) return undefined;
    return hva(area.backing.at + Number(address - area.start));
  }

  /** The address of an offset in a linear memory, 0 when nothing was attached there. */
  toAddress(linear: LinearMemory, at: Hva): bigint {
    for (const area of this.#areas) {
      if (area.backing?.linear !== linear) continue;
      const offset = at - area.backing.at;
      if (offset >= 0 && offset < sizeOf(area)) return area.start + BigInt(offset);
    }
    return 0n;
  }

  #find(address: bigint): Area | undefined {
    return this.#areas.find((area) => address >= area.start && address < area.end);
  }

  /** Where a range lies, if all of it is in one piece of the linear memory. */
  #attached(linear: LinearMemory, address: bigint, end: bigint): Hva | undefined {
    let first: number | undefined;
    let at = address;
    while (at < end) {
      const area = this.#find(at);
      if (area?.backing?.linear !== linear) return undefined;
      const here = area.backing.at + Number(at - area.start);
      first ??= here;
      if (here !== first + Number(at - address)) return undefined;
      at = area.end;
    }
    return first === undefined ? undefined : hva(first);
  }

  /** Gives neighbouring areas one piece of linear memory. */
  #move(linear: LinearMemory, parts: readonly Area[]): boolean {
    const start = parts[0]?.start ?? 0n;
    const end = parts.at(-1)?.end ?? 0n;
    const at = linear.allocate(Number(end - start));
    if (at === undefined) return false;
    for (const area of parts) {
      const to = hva(at + Number(area.start - start));
      if (area.bytes !== undefined) linear.u8.set(area.bytes, to);
      area.bytes = undefined;
      area.backing = { linear, at: to };
      setMapped(area, area.mapped);
    }
    return true;
  }

  /** Areas for the holes of [start, end). They are not mapped: Linux takes slots over nothing. */
  #fill(start: bigint, end: bigint): void {
    let at = start;
    for (const area of [...this.#areas]) {
      if (area.end <= at || area.start >= end) continue;
      if (area.start > at) this.#insert(at, area.start);
      at = area.end;
    }
    if (at < end) this.#insert(at, end);
  }

  #insert(start: bigint, end: bigint): void {
    this.#areas.push({ start, end, mapped: false, bytes: undefined, backing: undefined });
    this.#areas.sort((a, b) => (a.start < b.start ? -1 : 1));
  }

  /** The areas of exactly [start, end): those that reach over its ends are divided. */
  #within(start: bigint, end: bigint): Area[] {
    this.#areas = this.#areas.flatMap((area) => divide(area, start).flatMap((a) => divide(a, end)));
    return this.#areas.filter((area) => area.start >= start && area.end <= end);
  }

  #pieces(
    address: bigint,
    length: number,
    use: (area: Area, offset: number, done: number, size: number) => void,
  ): boolean {
    let done = 0;
    while (done < length) {
      const area = this.#find(address + BigInt(done));
      if (area === undefined || !area.mapped) return false;
      const offset = Number(address + BigInt(done) - area.start);
      const size = Math.min(length - done, sizeOf(area) - offset);
      use(area, offset, done, size);
      done += size;
    }
    return true;
  }
}

/** Whether the client, and so a VM that has it, can access an area. */
function setMapped(area: Area, mapped: boolean): void {
  area.mapped = mapped;
  const access = mapped ? PageAccess.FULL : PageAccess.NONE;
  area.backing?.linear.setAccess(area.backing.at, sizeOf(area), access);
}

/** An area in two at an address inside it; they share its bytes. */
function divide(area: Area, at: bigint): Area[] {
  if (at <= area.start || at >= area.end) return [area];
  const length = Number(at - area.start);
  const { backing, bytes } = area;
  return [
    { ...area, end: at, bytes: bytes?.subarray(0, length) },
    {
      ...area,
      start: at,
      bytes: bytes?.subarray(length),
      backing: backing && { linear: backing.linear, at: hva(backing.at + length) },
    },
  ];
}

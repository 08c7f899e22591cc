import { KvmMem } from "../../abi/kvm/index.js";
import { type Gva, gva, hva, PAGE_SIZE } from "../../base/index.js";
import type { EngineVcpu } from "../../engine/bridge/port.js";
import type { MemorySlots } from "./slots.js";

/** The address that page tables are walked for: the kernel's walker ignores the upper 16 bits. */
const walked = (address: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(48, address));

/**
 * Guest memory through the slots, as kvm_read_guest and kvm_write_guest: writes are dirty-logged
 * and refused for read-only slots. Addresses are guest-physical, lengths a few pages at most.
 */
export class GuestAccess {
  readonly slots: MemorySlots;

  constructor(slots: MemorySlots) {
    this.slots = slots;
  }

  /** A copy of `length` bytes, or undefined when any of them is in no slot or not accessible. */
  read(address: number, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    const ok = this.#pieces(address, length, (at, done, size) => {
      if (!this.slots.linear.mayRead(at)) return false;
      out.set(this.slots.linear.u8.subarray(at, at + size), done);
      return true;
    });
    return ok ? out : undefined;
  }

  /** Writes page by page; false at the first page that is in no slot or cannot be written. */
  write(address: number, bytes: Uint8Array): boolean {
    return this.#pieces(address, bytes.length, (at, done, size, gfn) => {
      const slot = this.slots.find(gfn);
      if (slot === undefined || (slot.flags & KvmMem.READONLY) !== 0) return false;
      if (!this.slots.linear.mayWrite(at)) return false;
      this.slots.linear.u8.set(bytes.subarray(done, done + size), at);
      this.slots.linear.noteWrite(hva(at), size);
      this.slots.markDirty(slot, gfn);
      return true;
    });
  }

  /** Reads by guest-virtual address with the rights of the vCPU's privilege level. */
  readVirtual(vcpu: EngineVcpu, address: bigint, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const at: Gva = gva(walked(address + BigInt(done)));
      const size = Math.min(length - done, PAGE_SIZE - Number(at & 0xfffn));
      const physical = vcpu.translate(at, "read");
      const piece = physical === undefined ? undefined : this.read(physical, size);
      if (piece === undefined) return undefined;
      out.set(piece, done);
      done += size;
    }
    return out;
  }

  /**
   * Reads a u32 as {@link readVirtual} does; the address comes in two u32 halves. Undefined when
   * any byte of it cannot be read.
   */
  readVirtualU32(vcpu: EngineVcpu, low: number, high: number): number | undefined {
    if ((low & (PAGE_SIZE - 1)) > PAGE_SIZE - 4) return this.#readAcross(vcpu, low, high);
    const physical = vcpu.translateRead(low, ((high << 16) >> 16) >>> 0);
    if (physical < 0) return undefined;
    const gfn = Math.floor(physical / PAGE_SIZE);
    const slot = this.slots.find(gfn);
    if (slot === undefined) return undefined;
    const at = slot.hva + (physical - slot.baseGfn * PAGE_SIZE);
    return this.slots.linear.mayRead(at) ? this.slots.linear.view.getUint32(at, true) : undefined;
  }

  /** The rest of {@link readVirtualU32}: bytes on two pages. */
  #readAcross(vcpu: EngineVcpu, low: number, high: number): number | undefined {
    const bytes = this.readVirtual(vcpu, BigInt(low) | (BigInt(high) << 32n), 4);
    return bytes === undefined ? undefined : new DataView(bytes.buffer).getUint32(0, true);
  }

  #pieces(
    address: number,
    length: number,
    visit: (at: number, done: number, size: number, gfn: number) => boolean,
  ): boolean {
    let done = 0;
    while (done < length) {
      const gfn = Math.floor((address + done) / PAGE_SIZE);
      const offset = (address + done) % PAGE_SIZE;
      const size = Math.min(length - done, PAGE_SIZE - offset);
      const slot = this.slots.find(gfn);
      if (slot === undefined) return false;
      const at = slot.hva + (gfn - slot.baseGfn) * PAGE_SIZE + offset;
      if (!visit(at, done, size, gfn)) return false;
      done += size;
    }
    return true;
  }
}

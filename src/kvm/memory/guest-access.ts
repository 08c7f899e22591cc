import { KvmMem } from "../../abi/kvm/index.js";
import { type Gva, gva, hva, PAGE_SIZE } from "../../base/index.js";
import type { EngineVcpu } from "../../engine/bridge/port.js";
import type { MemorySlots } from "./slots.js";

/**
 * Guest memory through the slots, as kvm_read_guest and kvm_write_guest: writes are dirty-logged
 * and refused for read-only slots. Addresses are guest-physical, lengths a few pages at most.
 */
export class GuestAccess {
  readonly slots: MemorySlots;

  constructor(slots: MemorySlots) {
    this.slots = slots;
  }

  /** A copy of `length` bytes, or undefined when any of them is in no slot. */
  read(address: number, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    const ok = this.#pieces(address, length, (at, done, size) => {
      out.set(this.slots.linear.u8.subarray(at, at + size), done);
      return true;
    });
    return ok ? out : undefined;
  }

  /** Writes page by page; false at the first page that is in no slot or read-only. */
  write(address: number, bytes: Uint8Array): boolean {
    return this.#pieces(address, bytes.length, (at, done, size, gfn) => {
      const slot = this.slots.find(gfn);
      if (slot === undefined || (slot.flags & KvmMem.READONLY) !== 0) return false;
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
      const at: Gva = gva(address + BigInt(done));
      const size = Math.min(length - done, PAGE_SIZE - Number(at & 0xfffn));
      const physical = vcpu.translate(at, "read");
      const piece = physical === undefined ? undefined : this.read(physical, size);
      if (piece === undefined) return undefined;
      out.set(piece, done);
      done += size;
    }
    return out;
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

/** The shared_info page: where it is, and the parts of it that the user half reads and writes. */
import { sharedInfoLayout } from "../../abi/xen/shared-info.js";
import { VcpuInfo } from "../../abi/xen/vcpu-info.js";
import { type EvtchnPort, type Hva, hva, PAGE_SIZE } from "../../base/index.js";
import { attempt, type XenVm } from "./kvm-objects.js";
import type { GuestPhysmap } from "./overlay.js";
import { LinearPage } from "./shared-page.js";

export class SharedInfo {
  readonly #vm: XenVm;
  readonly #physmap: GuestPhysmap;
  readonly #page: LinearPage;
  #active = false;

  constructor(vm: XenVm, physmap: GuestPhysmap, page: Hva) {
    this.#vm = vm;
    this.#physmap = physmap;
    this.#page = new LinearPage(vm.linear, page);
  }

  /** Where the page is. */
  get hva(): Hva {
    return this.#page.hva;
  }

  /** Whether the guest has mapped the page and KVM delivers events into it. */
  get active(): boolean {
    return this.#active;
  }

  /** Whether the domain has the 64-bit layouts. KVM knows: it may have latched the mode itself. */
  get longMode(): boolean {
    return this.#vm.xen.getAttr("LONG_MODE").longMode;
  }

  /** Adopts the mode of a vCPU. Newer kernels never write the MSR that makes KVM do so. */
  latchLongMode(longMode: boolean): number {
    if (this.longMode === longMode) return 0;
    return attempt(() => this.#vm.xen.setAttr({ type: "LONG_MODE", longMode }));
  }

  /** Ports of the domain: a valid one is below. */
  get ports(): number {
    return sharedInfoLayout(this.longMode).ports;
  }

  /**
   * Shows the page at a frame, or nowhere (undefined). KVM is told where the page is in linear
   * memory, so that moving it in guest-physical space is not KVM's business.
   * @returns 0 or a negative errno.
   */
  map(gfn: number | undefined, noSpace: number): number {
    if (gfn === undefined) {
      this.#physmap.remove(this.#page.hva);
      this.#active = false;
      return attempt(() => this.#vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva: 0n }));
    }
    if (!this.#physmap.place(this.#page.hva, gfn)) return noSpace;
    const at = BigInt(this.#page.hva);
    const error = attempt(() => this.#vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva: at }));
    this.#active = error === 0;
    return error;
  }

  /** KVM is told of the page again, in a VM that takes the place of another. */
  restore(active: boolean): void {
    this.#active = active;
    const hva = active ? BigInt(this.#page.hva) : 0n;
    // KVM writes the wallclock into it.
    const content = this.#page.read(0, PAGE_SIZE);
    attempt(() => this.#vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva }));
    this.#page.write(0, content);
  }

  /** Shows the page nowhere and empties it: the next to map it finds it fresh. */
  reset(): void {
    this.map(undefined, 0);
    this.#page.write(0, new Uint8Array(PAGE_SIZE));
  }

  /** Where the default vcpu_info of a Xen vCPU id below MAX_VIRT_CPUS is. */
  vcpuInfo(id: number): Hva {
    return hva(this.#page.hva + id * VcpuInfo.SIZE);
  }

  clearPending(port: EvtchnPort): void {
    this.#clearBit(sharedInfoLayout(this.longMode).evtchnPending, port);
  }

  /** Clears the mask bit; answers whether it was set. */
  clearMask(port: EvtchnPort): boolean {
    return this.#clearBit(sharedInfoLayout(this.longMode).evtchnMask, port);
  }

  isPending(port: EvtchnPort): boolean {
    return this.#testBit(sharedInfoLayout(this.longMode).evtchnPending, port);
  }

  isMasked(port: EvtchnPort): boolean {
    return this.#testBit(sharedInfoLayout(this.longMode).evtchnMask, port);
  }

  #testBit(bitmap: number, port: EvtchnPort): boolean {
    const [byte = 0] = this.#page.read(bitmap + (port >> 3), 1);
    return (byte & (1 << (port & 7))) !== 0;
  }

  /** Clears a bit and answers whether it was set. */
  #clearBit(bitmap: number, port: EvtchnPort): boolean {
    const at = bitmap + (port >> 3);
    const bit = 1 << (port & 7);
    const [byte = 0] = this.#page.read(at, 1);
    this.#page.write(at, Uint8Array.of(byte & ~bit));
    return (byte & bit) !== 0;
  }
}

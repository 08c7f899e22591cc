/** A vCPU, driven by ioctls on its descriptor. */
import { Fxsave } from "../../abi/x86/index.js";
import { type ApicId, Errno, type Gpa, type Gva, gpa, type VcpuIndex } from "../../base/index.js";
import * as k from "../../kvm/index.js";
import { eventsFromC, eventsToC, fpuFromC, sregsFromC, sregsToC } from "../convert.js";
import { checked, Descriptor, type KvmDoor } from "./door.js";
import { cpuidBytes, cpuidOf, cpuidRoom, msrBytes, msrsOf } from "./lists.js";
import type { Addresses } from "./memory.js";
import { ClientRunPage } from "./run-page.js";
import { IoctlVcpuXen } from "./xen.js";

/** What a vCPU is made of. */
export interface IoctlVcpuParts {
  readonly door: KvmDoor;
  readonly fd: number;
  readonly index: VcpuIndex;
  readonly id: ApicId;
  /** Its `kvm_run` pages. */
  readonly pages: Uint8Array;
  readonly memory: Addresses;
  /** What has no ioctl. */
  readonly beyond: k.VcpuBeyondKvm | undefined;
}

/** The descriptor, of which ioctls do not wait for the KVM_RUN of the thread that makes them. */
class VcpuDescriptor extends Descriptor {
  /** A KVM_RUN is under way. */
  isRunning = false;

  override call(request: number, arg: bigint | Uint8Array = 0n): number {
    if (!this.isRunning) return super.call(request, arg);
    const result = this.door.ioctlAside?.(this.fd, request, arg) ?? -Errno.EBUSY;
    return checked(result, request);
  }
}

export class IoctlVcpu implements k.VcpuApi {
  readonly index: VcpuIndex;
  readonly id: ApicId;
  readonly xen: k.VcpuXen;
  readonly charge: ((work: number) => void) | undefined;
  readonly #fd: VcpuDescriptor;
  readonly #page: ClientRunPage;
  readonly #beyond: k.VcpuBeyondKvm | undefined;
  #isClosed = false;

  constructor({ door, fd, index, id, pages, memory, beyond }: IoctlVcpuParts) {
    this.index = index;
    this.id = id;
    this.#fd = new VcpuDescriptor(door, fd);
    this.#page = new ClientRunPage(pages);
    this.xen = new IoctlVcpuXen(this.#fd, memory);
    this.#beyond = beyond;
    this.charge = beyond && ((work) => beyond.charge(work));
  }

  // What has no ioctl.

  get instructions(): number | undefined {
    return this.#beyond?.instructions;
  }

  // KVM_RUN and its page.

  get immediateExit(): boolean {
    return this.#page.immediateExit;
  }
  set immediateExit(value: boolean) {
    this.#page.immediateExit = value;
  }

  async run(): Promise<k.VcpuExit> {
    return this.runNow();
  }

  runNow(): k.VcpuExit | Promise<k.VcpuExit> {
    this.#page.answer();
    const result = this.#fd.door.ioctl(this.#fd.fd, k.KVM_RUN);
    if (typeof result === "number") return this.#page.exitOf(result);
    this.#fd.isRunning = true;
    return result.then((later) => {
      this.#fd.isRunning = false;
      return this.#page.exitOf(later);
    });
  }

  kick(): void {
    // Its number may be another descriptor's by then.
    if (!this.#isClosed) this.#fd.door.interrupt(this.#fd.fd);
  }

  // Registers and state.

  get tscKhz(): number {
    return this.#fd.call(k.KVM_GET_TSC_KHZ);
  }

  getRegs(): k.KvmRegs {
    return this.#fd.take(k.KVM_GET_REGS, k.kvm_regs);
  }

  setRegs(regs: k.KvmRegs): void {
    this.#fd.give(k.KVM_SET_REGS, k.kvm_regs, regs);
  }

  getSregs(): k.KvmSregs {
    const c = this.#fd.take(k.KVM_GET_SREGS, k.kvm_sregs);
    return sregsFromC(c, c.interrupt_bitmap);
  }

  setSregs(sregs: k.KvmSregs): void {
    this.#fd.give(k.KVM_SET_SREGS, k.kvm_sregs, sregsToC(sregs));
  }

  getMsrs(indices: readonly number[]): k.KvmMsrEntry[] {
    const bytes = msrBytes(indices.map((index) => ({ index })));
    return msrsOf(bytes, this.#fd.call(k.KVM_GET_MSRS, bytes));
  }

  setMsrs(entries: readonly k.KvmMsrEntry[]): number {
    return this.#fd.call(k.KVM_SET_MSRS, msrBytes(entries));
  }

  getCpuid2(): k.CpuidEntry2[] {
    const bytes = cpuidRoom();
    this.#fd.call(k.KVM_GET_CPUID2, bytes);
    return cpuidOf(bytes);
  }

  setCpuid2(entries: readonly k.CpuidEntry2[]): void {
    this.#fd.call(k.KVM_SET_CPUID2, cpuidBytes(entries));
  }

  getMpState(): number {
    return this.#fd.take(k.KVM_GET_MP_STATE, k.kvm_mp_state).mp_state;
  }

  setMpState(mpState: number): void {
    this.#fd.give(k.KVM_SET_MP_STATE, k.kvm_mp_state, { mp_state: mpState });
  }

  getLapic(): Uint8Array {
    return this.#bytes(k.KVM_GET_LAPIC, k.kvm_lapic_state.size);
  }

  setLapic(image: Uint8Array): void {
    this.#fd.call(k.KVM_SET_LAPIC, image);
  }

  getVcpuEvents(): k.KvmVcpuEvents {
    return eventsFromC(this.#fd.take(k.KVM_GET_VCPU_EVENTS, k.kvm_vcpu_events));
  }

  setVcpuEvents(events: k.KvmVcpuEvents): void {
    this.#fd.give(k.KVM_SET_VCPU_EVENTS, k.kvm_vcpu_events, eventsToC(events));
  }

  getFpu(): Uint8Array {
    const image = new Uint8Array(Fxsave.SIZE);
    // kvm_fpu has no MXCSR, nor which bits it has.
    image.set(this.getXsave().subarray(Fxsave.MXCSR, Fxsave.ST), Fxsave.MXCSR);
    return fpuFromC(this.#fd.take(k.KVM_GET_FPU, k.kvm_fpu), image);
  }

  getXsave(): Uint8Array {
    return this.#bytes(k.KVM_GET_XSAVE, k.kvm_xsave.size);
  }

  setXsave(area: Uint8Array): void {
    this.#fd.call(k.KVM_SET_XSAVE, area);
  }

  getXcr0(): bigint {
    const { nr_xcrs, xcrs } = this.#fd.take(k.KVM_GET_XCRS, k.kvm_xcrs);
    return xcrs.slice(0, nr_xcrs).find(({ xcr }) => xcr === 0)?.value ?? 1n;
  }

  setXcr0(value: bigint): void {
    this.#fd.give(k.KVM_SET_XCRS, k.kvm_xcrs, { nr_xcrs: 1, xcrs: [{ xcr: 0, value }] });
  }

  getDebugregs(): k.KvmDebugregs {
    const { db, dr6, dr7 } = this.#fd.take(k.KVM_GET_DEBUGREGS, k.kvm_debugregs);
    return { db: db as unknown as k.KvmDebugregs["db"], dr6, dr7 };
  }

  setDebugregs(regs: k.KvmDebugregs): void {
    this.#fd.give(k.KVM_SET_DEBUGREGS, k.kvm_debugregs, regs);
  }

  setGuestDebug({ control, debugreg }: k.KvmGuestDebug): void {
    this.#fd.give(k.KVM_SET_GUEST_DEBUG, k.kvm_guest_debug, { control, arch: { debugreg } });
  }

  nmi(): void {
    this.#fd.call(k.KVM_NMI);
  }

  translate(address: Gva): Gpa | undefined {
    const asked = { linear_address: address };
    const { valid, physical_address } = this.#fd.take(k.KVM_TRANSLATE, k.kvm_translation, asked);
    return valid === 0 ? undefined : gpa(Number(physical_address));
  }

  /** Closes the descriptor. */
  close(): void {
    this.#isClosed = true;
    this.#fd.close();
  }

  #bytes(request: number, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    this.#fd.call(request, bytes);
    return bytes;
  }
}

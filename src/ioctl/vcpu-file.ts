import { apicId, Errno, type Hva } from "../base/index.js";
import {
  KVM_COALESCED_MMIO_PAGE_OFFSET,
  KVM_RUN,
  KVM_RUN_BYTES,
  KVMIO,
  type VcpuExit,
} from "../kvm/index.js";
import type { LinearMemory } from "../memory/index.js";
import { Argument } from "./argument.js";
import type { KvmFile } from "./file.js";
import { oneRegRows } from "./one-reg-rows.js";
import { RunPage } from "./run-page.js";
import { loadSyncRegs, SYNC_REGS, storeSyncRegs } from "./sync-regs.js";
import { answer, dispatch, type Table } from "./table.js";
import type { VcpuContext } from "./vcpu-context.js";
import { vcpuControlRows } from "./vcpu-control-rows.js";
import { vcpuRows } from "./vcpu-rows.js";
import type { VmContext } from "./vm-context.js";
import { vcpuXenRows } from "./xen-rows.js";

const rows: Table<VcpuContext> = new Map([
  ...vcpuRows,
  ...vcpuControlRows,
  ...vcpuXenRows,
  ...oneRegRows,
]);

/** Where the VM's coalesced MMIO ring is in a vCPU's pages. */
const RING = KVM_COALESCED_MMIO_PAGE_OFFSET * 4096;

/**
 * CR8 has four bits.
 * @nolimit the register has four bits
 */
const MAX_CR8 = 15n;

/** A descriptor of a vCPU. */
class VcpuFile implements KvmFile {
  readonly name: string;
  readonly #context: VcpuContext;
  readonly #page: RunPage;
  /** The KVM_RUN that is under way, or the last call that waits for it: the kernel's vcpu->mutex. */
  #busy: Promise<number> | undefined;
  /** Calls that wait, and whether a signal has come for them meanwhile. */
  readonly #waiting = new Map<Promise<number>, boolean>();

  constructor(context: VcpuContext, pages: Uint8Array) {
    this.#context = context;
    this.name = `kvm-vcpu:${context.vcpu.id}`;
    this.#page = new RunPage(pages);
    context.vm.hold();
    // A VM has one ring; clients use the first vCPU's mapping of it.
    if (context.vcpu.index === 0) context.vm.vm.coalescedRing = this.#page.bytes.subarray(RING);
  }

  ioctl(request: number, arg: bigint | Uint8Array): number | Promise<number> {
    const number = request >>> 0;
    if (((number >>> 8) & 0xff) !== KVMIO) return -Errno.EINVAL;
    const before = this.#busy;
    if (before !== undefined) return this.#wait(before, number, arg);
    const result = this.#call(number, arg);
    return typeof result === "number" ? result : this.#track(result);
  }

  ioctlAside(request: number, arg: bigint | Uint8Array): number {
    const number = request >>> 0;
    if (((number >>> 8) & 0xff) !== KVMIO) return -Errno.EINVAL;
    // KVM_RUN is in no row.
    return dispatch(rows, this.#context, this.#context.vm.process, number, arg, -Errno.EINVAL);
  }

  mmap(length: number, offset: number): Uint8Array | number {
    if (!Number.isSafeInteger(length) || length <= 0) return -Errno.EINVAL;
    if (!Number.isSafeInteger(offset) || offset < 0 || offset % 4096 !== 0) return -Errno.EINVAL;
    const pages = this.#page.bytes;
    // Beyond the pages there is nothing that an access could see.
    if (offset >= pages.length) return -Errno.EINVAL;
    if (offset === RING) return this.#context.vm.vm.coalescedRing;
    return pages.subarray(offset, Math.min(pages.length, offset + length));
  }

  release(): void {
    this.#context.vcpu.kick();
    this.#context.vm.drop();
  }

  interrupt(call?: Promise<number>): void {
    if (call !== undefined && this.#waiting.has(call)) this.#waiting.set(call, true);
    else this.#context.vcpu.kick();
  }

  invalidate(linear: LinearMemory, start: Hva, length: number): void {
    const { vm } = this.#context.vm;
    if (vm.linear === linear) vm.invalidate(start, length);
  }

  /** A call whose turn has come. */
  #call(number: number, arg: bigint | Uint8Array): number | Promise<number> {
    const context = this.#context;
    const { process } = context.vm;
    const delay = process.runDelay?.();
    if (delay !== undefined) context.vcpu.hostRunDelay = delay;
    if (number !== KVM_RUN) return dispatch(rows, context, process, number, arg, -Errno.EINVAL);
    const refused = answer(() => (new Argument(process, arg).value === 0n ? 0 : -Errno.EINVAL));
    return refused === 0 ? this.#enter() : refused;
  }

  /** A call that comes after another one. */
  #wait(before: Promise<number>, number: number, arg: bigint | Uint8Array): Promise<number> {
    const asCaller = this.#context.vm.process.caller?.() ?? ((later) => later());
    const begin = (): number | Promise<number> => {
      const result = asCaller(() => this.#call(number, arg));
      if (this.#waiting.get(call) === true) this.#context.vcpu.kick();
      this.#waiting.delete(call);
      return result;
    };
    const call: Promise<number> = before.then(begin, begin);
    this.#waiting.set(call, false);
    return this.#track(call);
  }

  /** Keeps the VM alive, and later calls waiting, until one has ended. */
  #track(call: Promise<number>): Promise<number> {
    this.#busy = call;
    this.#context.vm.hold();
    const done = (): void => {
      if (this.#busy === call) this.#busy = undefined;
      this.#context.vm.drop();
    };
    call.then(done, done);
    return call;
  }

  #enter(): number | Promise<number> {
    const { vcpu } = this.#context;
    const page = this.#page;
    page.flags = 0;
    const refused = this.#load();
    if (refused !== 0) {
      this.#save();
      return refused;
    }
    const immediate = page.immediateExit;
    vcpu.immediateExit = immediate || this.#context.vm.process.signalWaits?.() === true;
    vcpu.requestInterruptWindow = page.requestInterruptWindow;
    page.takeAnswer();
    const exit = vcpu.runNow();
    if (exit instanceof Promise) return exit.then((later) => this.#leave(later, immediate));
    return this.#leave(exit, immediate);
  }

  #leave(exit: VcpuExit, immediate: boolean): number {
    const access = this.#context.vcpu.takeTprAccess();
    if (access !== undefined) this.#page.noteTprAccess(access.rip, access.isWrite);
    const result = this.#context.vcpu.takeHypercallResult();
    if (result !== undefined) this.#page.noteHypercallResult(result);
    this.#page.describe(exit, immediate);
    this.#save();
    return resultOf(exit);
  }

  /** What the client changed in the page goes into the vCPU. */
  #load(): number {
    const { vcpu } = this.#context;
    const page = this.#page;
    const dirty = page.dirtyRegs;
    if (((page.validRegs | dirty) & ~SYNC_REGS) !== 0n) return -Errno.EINVAL;
    if (dirty !== 0n) {
      const refused = answer(() => loadSyncRegs(page.bytes, vcpu, dirty));
      if (refused !== 0) return refused;
      page.dirtyRegs = 0n;
    }
    if (this.#context.vm.hasLapics) return 0;
    const { cr8 } = page;
    if (cr8 > MAX_CR8) return -Errno.EINVAL;
    if (Number(cr8) !== vcpu.cr8) vcpu.cr8 = Number(cr8);
    return 0;
  }

  #save(): void {
    const { vcpu } = this.#context;
    const valid = this.#page.validRegs;
    if (valid !== 0n) storeSyncRegs(this.#page.bytes, vcpu, valid & SYNC_REGS);
    this.#page.save(vcpu);
  }
}

/** What KVM_RUN returns. */
function resultOf(exit: VcpuExit): number {
  switch (exit.kind) {
    case "again":
      return -Errno.EAGAIN;
    case "intr":
      return -Errno.EINTR;
    case "memory-fault":
      return -Errno.EFAULT;
    default:
      return 0;
  }
}

/** KVM_CREATE_VCPU: the descriptor of a new vCPU, or -errno. */
export function createVcpuFile(vm: VmContext, id: number): number {
  vm.vm.checkVcpuId(apicId(id));
  if (!vm.process.hasRoom()) return -Errno.EMFILE;
  // First: a lack of memory leaves no vCPU.
  const pages = vm.process.sharedPages(KVM_RUN_BYTES);
  const vcpu = vm.vm.createVcpu(apicId(id));
  const file = new VcpuFile({ vcpu, vm, signalMask: undefined }, pages);
  const fd = vm.process.install(file);
  if (fd < 0) file.release();
  return fd;
}

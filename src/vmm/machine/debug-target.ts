import { gva } from "../../base/index.js";
import type {
  KvmGuestDebug,
  KvmRegs,
  KvmSregs,
  VcpuApi,
  VcpuExitDebug,
  VmApi,
} from "../../kvm/api/index.js";
import type { GuestMemory } from "../../memory/index.js";
import { Standstill } from "./suspension.js";

/** Where an XSAVE area says which components count, and what: x87 and SSE (Intel SDM volume 1, 13.4.2). */
const XSTATE_BV = 512;
const X87_AND_SSE = 3;

/** What a debugger hears. */
export interface DebugListener {
  /** A vCPU has come to a step or breakpoint; it stands still, and the others are about to. */
  hit(cpu: number, exit: VcpuExitDebug): void;
  /** The guest has rebooted: other vCPUs, other memory; they stand still before their first instruction. */
  rebooted(): void;
}

/** What a debugger needs of an instance. */
export interface DebuggedInstance {
  readonly vm: VmApi;
  readonly vcpus: readonly VcpuApi[];
  readonly memory: GuestMemory;
  /** Resolves when no vCPU is inside run(). */
  whenOutside(): Promise<void>;
}

/**
 * The vCPUs of a machine as a debugger outside of the guest holds them: stopped one by one, looked at while they
 * stand still. Numbers of vCPUs are in the order of creation, from 0.
 */
export class DebugTarget {
  readonly #listener: DebugListener;
  #instance: DebuggedInstance;
  /** vCPUs that stand still. */
  readonly #held = new Map<number, Standstill>();

  /** All vCPUs stand still until {@link go}. */
  constructor(instance: DebuggedInstance, listener: DebugListener) {
    this.#instance = instance;
    this.#listener = listener;
    this.#holdAll();
  }

  /** How many vCPUs there are. */
  get cpus(): number {
    return this.#instance.vcpus.length;
  }

  /** Stops all vCPUs; resolves when all of them stand still. */
  async stop(): Promise<void> {
    this.#holdAll();
    for (const vcpu of this.#instance.vcpus) vcpu.kick();
    await this.#instance.whenOutside();
  }

  /** Lets vCPUs go on; all of them unless some are named. */
  go(cpus: readonly number[] = this.#instance.vcpus.map(({ index }) => index)): void {
    for (const cpu of cpus) {
      const standstill = this.#held.get(cpu);
      this.#held.delete(cpu);
      standstill?.end();
    }
  }

  /** KVM_SET_GUEST_DEBUG. */
  setGuestDebug(cpu: number, request: KvmGuestDebug): void {
    this.#vcpu(cpu).setGuestDebug(request);
  }

  regs(cpu: number): KvmRegs {
    return this.#vcpu(cpu).getRegs();
  }

  setRegs(cpu: number, regs: KvmRegs): void {
    this.#vcpu(cpu).setRegs(regs);
  }

  sregs(cpu: number): KvmSregs {
    return this.#vcpu(cpu).getSregs();
  }

  setSregs(cpu: number, sregs: KvmSregs): void {
    this.#vcpu(cpu).setSregs(sregs);
  }

  /** The 512-byte FXSAVE image. */
  fpu(cpu: number): Uint8Array {
    return this.#vcpu(cpu).getFpu();
  }

  setFpu(cpu: number, image: Uint8Array): void {
    const vcpu = this.#vcpu(cpu);
    // Marked as in use, so that it counts for a vCPU too that has not run yet.
    const area = vcpu.getXsave();
    area.set(image);
    area[XSTATE_BV] = X87_AND_SSE;
    vcpu.setXsave(area);
  }

  /**
   * Bytes at a linear address as a vCPU maps it, at most `length`: as many as there are up to the first that is not in
   * the guest's memory.
   */
  read(cpu: number, address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let done = 0;
    for (const { at, size } of this.#pieces(cpu, address, length)) {
      const piece = at === undefined ? undefined : this.#instance.memory.read(at, size);
      if (piece === undefined) break;
      bytes.set(piece, done);
      done += size;
    }
    return bytes.subarray(0, done);
  }

  /** Writes bytes there, whatever the guest's page tables allow; false, and nothing, when not all are in its memory. */
  write(cpu: number, address: bigint, bytes: Uint8Array): boolean {
    const { memory } = this.#instance;
    const pieces = this.#pieces(cpu, address, bytes.length);
    const isThere = pieces.every(
      ({ at, size }) => at !== undefined && memory.read(at, size) !== undefined,
    );
    if (!isThere) return false;
    let done = 0;
    for (const { at, size } of pieces) {
      memory.write(at as number, bytes.subarray(done, done + size));
      done += size;
    }
    return true;
  }

  // For the machine.

  /** What keeps a vCPU from running. */
  standstillOf(cpu: number): Standstill | undefined {
    return this.#held.get(cpu);
  }

  /** A vCPU has left run() for the debugger. */
  hit(cpu: number, exit: VcpuExitDebug): void {
    this.#holdAll();
    for (const vcpu of this.#instance.vcpus) vcpu.kick();
    this.#listener.hit(cpu, exit);
  }

  /** The machine runs in another instance now. */
  moveTo(instance: DebuggedInstance): void {
    this.#instance = instance;
    this.#holdAll();
    this.#listener.rebooted();
  }

  #holdAll(): void {
    for (const { index } of this.#instance.vcpus) {
      if (!this.#held.has(index)) this.#held.set(index, new Standstill());
    }
  }

  #vcpu(cpu: number): VcpuApi {
    const vcpu = this.#instance.vcpus[cpu];
    if (vcpu === undefined) throw new RangeError(`no vCPU ${cpu}`);
    return vcpu;
  }

  /** The pages of a range, each with where it is in guest-physical memory. */
  #pieces(cpu: number, address: bigint, length: number) {
    const vcpu = this.#vcpu(cpu);
    const pieces: { at: number | undefined; size: number }[] = [];
    for (let done = 0; done < length; ) {
      const at = gva(address + BigInt(done));
      const size = Math.min(length - done, 4096 - Number(at & 0xfffn));
      pieces.push({ at: vcpu.translate(at, true), size });
      done += size;
    }
    return pieces;
  }
}

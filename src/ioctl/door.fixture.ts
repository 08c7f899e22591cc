import { existsSync, readFileSync } from "node:fs";
import { assert, Errno } from "../base/index.js";
import { Engine } from "../engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../hosts/sim/index.js";
import {
  KVM_CREATE_VCPU,
  KVM_CREATE_VM,
  KVM_GET_SREGS,
  KVM_RUN,
  KVM_SET_REGS,
  KVM_SET_SREGS,
  KVM_SET_USER_MEMORY_REGION,
  Kvm,
  kvm_regs,
  kvm_run,
  kvm_sregs,
  kvm_userspace_memory_region,
  type LinuxRelease,
} from "../kvm/index.js";
import { LocalProcess } from "./local-process.js";

const CORE = new URL("../../dist/engine/core.wasm", import.meta.url);

let engine: Engine | undefined;

async function loadEngine(): Promise<Engine> {
  assert(existsSync(CORE), "engine core missing: run node tools/build/engine.mjs");
  engine ??= await Engine.compile(readFileSync(CORE));
  return engine;
}

/** A client with /dev/kvm open, on virtual time. */
export class Door {
  readonly process = new LocalProcess();
  readonly clock = new VirtualClock();
  readonly timers = new HeapTimers(this.clock);
  system = -1;

  /** Opens the library's /dev/kvm on the real engine. */
  static async open(linux?: LinuxRelease): Promise<Door> {
    const door = new Door();
    const { clock, timers } = door;
    const release = linux === undefined ? {} : { linux };
    const kvm = await Kvm.open({ engine: await loadEngine(), clock, timers, ...release });
    door.system = door.process.open(kvm);
    return door;
  }

  /** An ioctl that answers at once. */
  call(fd: number, request: number, arg: bigint | Uint8Array = 0n): number {
    const result = this.process.ioctl(fd, request, arg);
    assert(typeof result === "number", "KVM_RUN through call()");
    return result;
  }

  /** KVM_RUN. */
  async run(fd: number): Promise<number> {
    return this.process.ioctl(fd, KVM_RUN, 0n);
  }

  vm(): number {
    return this.call(this.system, KVM_CREATE_VM);
  }

  /** A slot over fresh client memory; returns its client address. */
  slot(vm: number, slot: number, gpa: number, bytes: number, flags = 0): bigint {
    const address = this.process.mapAnonymous(bytes);
    const result = this.call(
      vm,
      KVM_SET_USER_MEMORY_REGION,
      kvm_userspace_memory_region.encode({
        slot,
        flags,
        guest_phys_addr: BigInt(gpa),
        memory_size: BigInt(bytes),
        userspace_addr: address,
      }),
    );
    assert(result === 0, `slot: ${result}`);
    return address;
  }

  /** Machine code or data, as hex, into client memory. */
  put(address: bigint, hex: string): void {
    const bytes = hex.replace(/\s+/g, "").match(/../g) ?? [];
    const data = Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16));
    assert(this.process.write(address, data), "put: not mapped");
  }

  /** A vCPU and its page. */
  vcpu(vm: number, id = 0): { fd: number; page: Uint8Array; view: DataView } {
    const fd = this.call(vm, KVM_CREATE_VCPU, BigInt(id));
    const page = this.process.mmap(fd, 12288);
    assert(page instanceof Uint8Array, "mmap of a vCPU");
    return { fd, page, view: new DataView(page.buffer, page.byteOffset, page.byteLength) };
  }

  /** Real mode at `rip` with all bases 0. */
  realMode(fd: number, rip: number, registers: Parameters<typeof kvm_regs.encode>[0] = {}): void {
    const bytes = new Uint8Array(kvm_sregs.size);
    assert(this.call(fd, KVM_GET_SREGS, bytes) === 0, "KVM_GET_SREGS");
    const sregs = kvm_sregs.decode(bytes);
    sregs.cs.base = 0n;
    sregs.cs.selector = 0;
    assert(this.call(fd, KVM_SET_SREGS, kvm_sregs.encode(sregs)) === 0, "KVM_SET_SREGS");
    const regs = kvm_regs.encode({ rip: BigInt(rip), rflags: 2n, ...registers });
    assert(this.call(fd, KVM_SET_REGS, regs) === 0, "KVM_SET_REGS");
  }
}

/** A field of the `kvm_run` page. */
export const field = (path: string): number => kvm_run.offset(path);

/** -errno by name. */
export const err = (name: keyof typeof Errno): number => -Errno[name];

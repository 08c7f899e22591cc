/** /dev/kvm, driven by ioctls on a descriptor: KVM's interfaces for whatever answers its binary ones. */
import { Errno } from "../../base/index.js";
import * as k from "../../kvm/index.js";
import { Descriptor, type KvmDoor } from "./door.js";
import { cpuidOf, cpuidRoom } from "./lists.js";
import { MappedProcess } from "./memory.js";
import { IoctlVm, type VmSide } from "./vm.js";

/** What {@link IoctlKvm} works on. */
export interface IoctlKvmParts {
  readonly door: KvmDoor;
  /** A descriptor of /dev/kvm. */
  readonly system: number;
  /** What of the VM that was made last, with this descriptor, cannot be asked by ioctls. */
  sideOf(vm: number): VmSide;
}

/**
 * KVM's interfaces, each call of which is an ioctl with bytes. What no ioctl gives comes from the {@link VmSide} of each
 * VM: its memory, and what an engine has beyond that, if one is behind the door.
 */
export class IoctlKvm implements k.KvmApi {
  readonly #parts: IoctlKvmParts;
  readonly #fd: Descriptor;
  readonly #pages: number;

  /** @throws KvmError ENOTTY for another version of the API than 12. */
  constructor(parts: IoctlKvmParts) {
    this.#parts = parts;
    this.#fd = new Descriptor(parts.door, parts.system);
    if (this.#fd.call(k.KVM_GET_API_VERSION) !== k.KVM_API_VERSION) {
      throw new k.KvmError(Errno.ENOTTY, "KVM_GET_API_VERSION");
    }
    this.#pages = this.#fd.call(k.KVM_GET_VCPU_MMAP_SIZE);
  }

  createVm(): k.VmApi {
    const fd = this.#fd.call(k.KVM_CREATE_VM);
    return new IoctlVm(this.#parts.door, fd, this.#pages, this.#parts.sideOf(fd));
  }

  getSupportedCpuid(): k.CpuidEntry2[] {
    const bytes = cpuidRoom();
    this.#fd.call(k.KVM_GET_SUPPORTED_CPUID, bytes);
    return cpuidOf(bytes);
  }

  getMsrIndexList(): readonly number[] {
    const head = k.kvm_msr_list.encode({ nmsrs: 0 });
    try {
      this.#fd.call(k.KVM_GET_MSR_INDEX_LIST, head);
    } catch (error) {
      // The count is there.
      if (!(error instanceof k.KvmError) || error.errno !== Errno.E2BIG) throw error;
    }
    const { nmsrs } = k.kvm_msr_list.decode(head);
    const bytes = new Uint8Array(head.length + 4 * nmsrs);
    bytes.set(head);
    this.#fd.call(k.KVM_GET_MSR_INDEX_LIST, bytes);
    const view = new DataView(bytes.buffer);
    return Array.from({ length: nmsrs }, (_, i) => view.getUint32(head.length + 4 * i, true));
  }
}

/**
 * Opens the library's own KVM for a program that speaks bytes: `MachinePorts.kvm` of a machine that drives it by
 * ioctls. Its memory, and what the engine gives beyond KVM's binary interface, are passed on from the objects.
 */
export async function openKvmByIoctls(options: k.KvmOptions): Promise<k.KvmApi> {
  const door = new MappedProcess();
  const sides = { last: undefined as VmSide | undefined };
  const kvm = await k.Kvm.open({
    ...options,
    onVm(vm) {
      options.onVm?.(vm);
      const vcpus: k.Vcpu[] = [];
      vm.onVcpu = (vcpu) => vcpus.push(vcpu);
      const address = door.map(vm.linear);
      sides.last = { linear: vm.linear, address, beyond: vm, vcpu: (index) => vcpus[index] };
    },
  });
  return new IoctlKvm({ door, system: door.open(kvm), sideOf: () => sides.last as VmSide });
}

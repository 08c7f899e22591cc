import { Errno } from "../base/index.js";
import {
  KVM_GET_DEVICE_ATTR,
  KVM_HAS_DEVICE_ATTR,
  KVM_SET_DEVICE_ATTR,
  KvmDevType,
  KvmDevVfio,
  type kvm_create_device,
  kvm_device_attr,
} from "../kvm/index.js";
import { refuse } from "./argument.js";
import type { KvmFile } from "./file.js";
import { dispatch, raw, reads, type Table } from "./table.js";
import type { VmContext } from "./vm-context.js";

type DeviceAttr = ReturnType<typeof kvm_device_attr.decode>;

/** KVM_DEV_VFIO_FILE is the only group; `flags` are not looked at. */
function checkAttr({ group, attr }: DeviceAttr): void {
  const known = attr === BigInt(KvmDevVfio.FILE_ADD) || attr === BigInt(KvmDevVfio.FILE_DEL);
  if (group !== KvmDevVfio.FILE || !known) refuse("ENXIO", "VFIO device attribute");
}

/** There are no VFIO files here: none can be added, and none is there to be taken away. */
function setAttr({ process }: VmContext, c: DeviceAttr): never {
  checkAttr(c);
  const bytes = process.read(c.addr, 4) ?? refuse("EFAULT", "VFIO file descriptor");
  const fd = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
  if (process.eventfd(fd) === "EBADF") refuse("EBADF", "VFIO file descriptor");
  return Number(c.attr) === KvmDevVfio.FILE_ADD
    ? refuse("EINVAL", "not a VFIO file")
    : refuse("ENOENT", "no such VFIO file");
}

const rows: Table<VmContext> = new Map([
  reads(KVM_HAS_DEVICE_ATTR, "KVM_HAS_DEVICE_ATTR", kvm_device_attr, (_vm, c) => checkAttr(c)),
  reads(KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR", kvm_device_attr, setAttr),
  // It has nothing to read: refused before the argument is looked at.
  raw(KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR", () => refuse("EPERM", "nothing to read")),
]);

/**
 * What KVM_CREATE_DEVICE opens for KVM_DEV_TYPE_VFIO (`Documentation/virt/kvm/devices/vfio.rst`): where a client would
 * name its VFIO groups. It keeps the VM alive; a VM has one at a time.
 */
class VfioDevice implements KvmFile {
  readonly name = "kvm-vfio";
  readonly hasNoPlace = true;
  readonly #vm: VmContext;

  constructor(vm: VmContext) {
    this.#vm = vm;
    vm.hold();
    vm.hasVfioDevice = true;
  }

  ioctl(request: number, arg: bigint | Uint8Array): number {
    return dispatch(rows, this.#vm, this.#vm.process, request, arg, -Errno.ENOTTY);
  }

  mmap(): number {
    return -Errno.ENODEV;
  }

  release(): void {
    this.#vm.hasVfioDevice = false;
    this.#vm.drop();
  }
}

/** `KVM_CREATE_DEVICE_TEST`; other flags are not looked at. */
const TEST = 1;

/** KVM_CREATE_DEVICE: the structure with the new descriptor. @throws KvmError ENODEV, EBUSY, EMFILE. */
export function createDevice(
  vm: VmContext,
  request: ReturnType<typeof kvm_create_device.decode>,
): Parameters<typeof kvm_create_device.encode>[0] {
  if (request.type !== KvmDevType.VFIO) refuse("ENODEV", "no devices of this kind");
  if ((request.flags & TEST) !== 0) return request;
  if (vm.hasVfioDevice) refuse("EBUSY", "a VM has one VFIO device");
  if (!vm.process.hasRoom()) refuse("EMFILE", "descriptors");
  const file = new VfioDevice(vm);
  const fd = vm.process.install(file);
  if (fd < 0) file.release();
  return fd < 0 ? refuse("EMFILE", "descriptors") : { ...request, fd };
}

import { Errno, type Hva } from "../base/index.js";
import type { Kvm } from "../kvm/index.js";
import type { LinearMemory } from "../memory/index.js";
import { chipRows } from "./chip-rows.js";
import type { ClientProcess } from "./client-process.js";
import type { KvmFile } from "./file.js";
import { irqRows } from "./irq-rows.js";
import { memoryRows } from "./memory-rows.js";
import { dispatch, type Table } from "./table.js";
import { VmContext } from "./vm-context.js";
import { vmRows } from "./vm-rows.js";
import { vmXenRows } from "./xen-rows.js";

const rows: Table<VmContext> = new Map([
  ...vmRows,
  ...memoryRows,
  ...irqRows,
  ...chipRows,
  ...vmXenRows,
]);

/** A descriptor of a VM. */
class VmFile implements KvmFile {
  readonly name = "kvm-vm";
  readonly #context: VmContext;

  constructor(context: VmContext) {
    this.#context = context;
    context.hold();
  }

  ioctl(request: number, arg: bigint | Uint8Array): number {
    return dispatch(rows, this.#context, this.#context.process, request, arg, -Errno.ENOTTY);
  }

  mmap(): number {
    return -Errno.ENODEV;
  }

  release(): void {
    this.#context.drop();
  }

  lowLines(answers: Uint8Array | undefined): void {
    this.#context.vm.lowLines = answers;
  }

  invalidate(linear: LinearMemory, start: Hva, length: number): void {
    const { vm } = this.#context;
    if (vm.linear === linear) vm.invalidate(start, length);
  }
}

/** KVM_CREATE_VM: the descriptor of a new VM, or -errno. The descriptor comes before the type. */
export function createVmFile(kvm: Kvm, process: ClientProcess, type: number): number {
  if (!process.hasRoom()) return -Errno.EMFILE;
  const file = new VmFile(new VmContext(kvm.createVm(type), process));
  const fd = process.install(file);
  if (fd < 0) file.release();
  return fd;
}

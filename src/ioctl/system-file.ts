import { Errno } from "../base/index.js";
import type { Kvm } from "../kvm/index.js";
import type { ClientProcess } from "./client-process.js";
import type { KvmFile } from "./file.js";
import { systemRows } from "./system-rows.js";
import { dispatch } from "./table.js";

/** What the ioctls of /dev/kvm work on. */
export interface SystemContext {
  readonly kvm: Kvm;
  readonly process: ClientProcess;
}

/** A descriptor of /dev/kvm. */
class SystemFile implements KvmFile {
  readonly name = "/dev/kvm";
  readonly #context: SystemContext;

  constructor(context: SystemContext) {
    this.#context = context;
  }

  ioctl(request: number, arg: bigint | Uint8Array): number {
    // Linux answers EINVAL, not ENOTTY, for numbers that /dev/kvm does not have.
    return dispatch(systemRows, this.#context, this.#context.process, request, arg, -Errno.EINVAL);
  }

  mmap(): number {
    return -Errno.ENODEV;
  }

  release(): void {
    // VMs live on their own descriptors.
  }
}

/** open(2) of /dev/kvm by a client. */
export function openKvm(kvm: Kvm, process: ClientProcess): KvmFile {
  return new SystemFile({ kvm, process });
}

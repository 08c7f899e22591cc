import { KVM_EXIT_XEN_HCALL, KvmExitIo, KvmExitReason } from "../../abi/kvm/exit.js";
import { kvm_run } from "../../abi/kvm/structs.js";
import { exitName, hypercallName } from "./names.js";

/** How KVM_RUN ended: the exit's name or number, and the fields of its member of `kvm_run`. */
export interface RunExit {
  readonly reason: string | number;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

type Run = ReturnType<typeof kvm_run.decode>;

/** Bytes of data of a port access that are shown. */
const PORT_BYTES = 64;

function portAccess({ io }: Run["$exit"], pages: Uint8Array): RunExit["fields"] {
  const { direction, size, port, count } = io;
  if (direction === KvmExitIo.IN) return { direction: "KVM_EXIT_IO_IN", size, port, count };
  const at = Number(io.data_offset);
  const data = pages.slice(at, at + Math.min(size * count, PORT_BYTES));
  return { direction: "KVM_EXIT_IO_OUT", size, port, count, data };
}

function memoryAccess({ mmio }: Run["$exit"]): RunExit["fields"] {
  const { phys_addr, len, is_write } = mmio;
  if (is_write === 0) return { phys_addr, len, is_write };
  return { phys_addr, len, is_write, data: Uint8Array.from(mmio.data.slice(0, len)) };
}

function xenHypercall({ xen }: Run["$exit"]): RunExit["fields"] {
  if (xen.type !== KVM_EXIT_XEN_HCALL) return { type: xen.type };
  const { longmode, cpl, input, params } = xen.u.hcall;
  const name = hypercallName(Number(BigInt.asUintN(32, input)));
  return { type: "KVM_EXIT_XEN_HCALL", longmode, cpl, input: name, params };
}

function fieldsOf(run: Run, pages: Uint8Array): RunExit["fields"] {
  const exit = run.$exit;
  switch (run.exit_reason) {
    case KvmExitReason.UNKNOWN:
      return exit.hw;
    case KvmExitReason.IO:
      return portAccess(exit, pages);
    case KvmExitReason.HYPERCALL:
      return { nr: exit.hypercall.nr, args: exit.hypercall.args };
    case KvmExitReason.DEBUG:
      return exit.debug.arch;
    case KvmExitReason.MMIO:
      return memoryAccess(exit);
    case KvmExitReason.FAIL_ENTRY:
      return exit.fail_entry;
    case KvmExitReason.INTERNAL_ERROR: {
      const { suberror, ndata, data } = exit.internal;
      return { suberror, ndata, data: data.slice(0, ndata) };
    }
    case KvmExitReason.IOAPIC_EOI:
      return exit.eoi;
    case KvmExitReason.TPR_ACCESS:
      return exit.tpr_access;
    case KvmExitReason.X86_RDMSR:
    case KvmExitReason.X86_WRMSR:
      return exit.msr;
    case KvmExitReason.XEN:
      return xenHypercall(exit);
    default:
      return undefined;
  }
}

/** What a vCPU's pages say about the exit that has just been reported. */
export function exitOf(pages: Uint8Array): RunExit {
  const run = kvm_run.decode(pages.slice(0, kvm_run.size));
  return { reason: exitName(run.exit_reason), fields: fieldsOf(run, pages) };
}

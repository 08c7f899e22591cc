import { Exception } from "../../abi/x86/index.js";
import { type Gva, gva, PAGE_SIZE } from "../../base/index.js";
import type { VcpuExit, VcpuExitMmio } from "../api/exits.js";
import type { VcpuState } from "../vcpu-state.js";
import { Quirk } from "../vm-settings.js";

/** VMMCALL, the hypercall instruction of AMD processors. */
const VMMCALL = Uint8Array.of(0x0f, 0x01, 0xd9);

/** Error code bits of a page fault: present, write. */
const PF_PRESENT = 1;
const PF_WRITE = 2;

/** Exits that tell the client of a patch it has to take: nothing of the guest waits for them. */
const patches = new WeakSet<VcpuExit>();

/** True when the exit is the write of a patch, which no instruction of the guest has made. */
export function isPatch(exit: VcpuExit): boolean {
  return patches.has(exit);
}

interface Piece {
  readonly physical: number;
  readonly bytes: Uint8Array;
}

function fault(vcpu: VcpuState, at: Gva): "continue" {
  const present = vcpu.engine.translate(at, "read") !== undefined;
  vcpu.engine.cr2 = at;
  const errorCode = PF_WRITE | (present ? PF_PRESENT : 0);
  vcpu.queueException(Exception.PF, errorCode);
  return "continue";
}

/** VMMCALL at RIP, by pages; the address that cannot be written when there is one. */
function piecesAt(vcpu: VcpuState, rip: bigint): Piece[] | Gva {
  const inPage = PAGE_SIZE - Number(rip % BigInt(PAGE_SIZE));
  const pieces: Piece[] = [];
  for (const bytes of [VMMCALL.subarray(0, inPage), VMMCALL.subarray(inPage)]) {
    if (bytes.length === 0) continue;
    const at = gva(pieces.length === 0 ? rip : rip + BigInt(inPage));
    const physical = vcpu.engine.translate(at, "write");
    if (physical === undefined) return at;
    pieces.push({ physical, bytes });
  }
  return pieces;
}

/**
 * VMCALL on an AMD processor: KVM writes the instruction that the processor has over it, and the
 * guest executes that (KVM_X86_QUIRK_FIX_HYPERCALL_INSN). Not for user code, which gets #GP, and not
 * with the quirk off, which gives #UD. The address is RIP as it is, without the base of CS.
 *
 * A guest whose CPUID names Intel and whose code cannot be written makes the hypercall, as on Intel's processor: Linux
 * writes so, in code that it has made read-only, when QEMU gives it the vendor of an Intel host.
 * @returns "hypercall" in that case; an exit when the code is in no writable slot: the client gets the write.
 */
export function patchHypercall(vcpu: VcpuState): "continue" | "hypercall" | VcpuExit {
  const { engine, env } = vcpu;
  if (engine.cpl !== 0) {
    vcpu.queueException(Exception.GP, 0);
    return "continue";
  }
  if (!env.settings.hasQuirk(Quirk.FIX_HYPERCALL_INSN)) {
    vcpu.queueException(Exception.UD, undefined);
    return "continue";
  }
  const pieces = piecesAt(vcpu, engine.rip);
  if (typeof pieces === "bigint") {
    return vcpu.cpuid.isIntel ? "hypercall" : fault(vcpu, pieces);
  }
  for (const { physical, bytes } of pieces) {
    if (env.access.write(physical, bytes)) continue;
    const exit: VcpuExitMmio = {
      kind: "mmio",
      physAddr: physical as VcpuExitMmio["physAddr"],
      isWrite: true,
      len: bytes.length,
      data: bytes.slice(),
    };
    patches.add(exit);
    return exit;
  }
  return "continue";
}

import { cpuidText } from "../../abi/x86/index.js";
import type { PvclockTime } from "../../abi/xen/pvclock.js";
import { TSC_HZ } from "../cpu/clock.js";
import type { VcpuDomain } from "./vcpu-domain.js";

const SIGNATURE = { ebx: cpuidText("XenV"), ecx: cpuidText("MMXe"), edx: cpuidText("nVMM") };

/** Puts the TSC's figures into Xen's CPUID leaf 3, once, where the client left room for them. */
export function setTscLeaves(
  vcpu: VcpuDomain,
  time: Pick<PvclockTime, "tscToSystemMul" | "tscShift">,
): void {
  if (vcpu.tscLeavesSet) return;
  vcpu.tscLeavesSet = true;
  const { cpuid } = vcpu.host;
  for (let base = 0x40000000; base < 0x40010000; base += 0x100) {
    const entry = cpuid.find(base, 0);
    if (entry?.ebx !== SIGNATURE.ebx) continue;
    if (entry.ecx !== SIGNATURE.ecx || entry.edx !== SIGNATURE.edx) continue;
    if (base + 3 > entry.eax) return;
    cpuid.patch(base + 3, 1, { ecx: time.tscToSystemMul, edx: time.tscShift >>> 0 });
    cpuid.patch(base + 3, 2, { eax: Number(TSC_HZ / 1000n) });
    return;
  }
}

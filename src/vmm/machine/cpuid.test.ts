import { describe, expect, it } from "vitest";
import type { CpuidEntry2 } from "../../abi/x86/index.js";
import { vcpuCpuid } from "./cpuid.js";

const entry = (fn: number, values: Partial<CpuidEntry2> = {}): CpuidEntry2 => ({
  function: fn,
  index: 0,
  flags: 0,
  eax: 0,
  ebx: 0,
  ecx: 0,
  edx: 0,
  ...values,
});

const config = {
  apicId: 2,
  xenVcpuId: 1,
  cpus: 4,
  domid: 1,
  xenVersion: 0x40011,
  hypercallMsr: 0x40000000,
  tscKhz: 1000000,
};

describe("vcpuCpuid", () => {
  const supported = [
    entry(1, { ebx: 0x0800 }),
    entry(0xb),
    entry(0x80000008),
    entry(0x40000000, { ebx: 0x4b4d564b }),
  ];
  const table = vcpuCpuid(supported, config);
  const find = (fn: number, index = 0): CpuidEntry2 | undefined =>
    table.find((e) => e.function === fn && e.index === index);

  it("shows Xen and not KVM", () => {
    expect(find(0x40000000)).toMatchObject({
      eax: 0x40000005,
      ebx: 0x566e6558,
      ecx: 0x65584d4d,
      edx: 0x4d4d566e,
    });
    expect(table.filter((e) => e.function === 0x40000000)).toHaveLength(1);
    expect(find(0x40000001)?.eax).toBe(0x40011);
    expect(find(0x40000002)).toMatchObject({ eax: 1, ebx: 0x40000000 });
    expect(find(0x40000003)).toMatchObject({ eax: 6, ebx: 0, ecx: 1000000 });
    expect(find(0x40000004)).toMatchObject({ eax: 0x58, ebx: 1, ecx: 1 });
  });

  it("says who the vCPU is and how many there are", () => {
    expect(find(1)).toMatchObject({ ebx: 0x02040800, ecx: 0x80000000, edx: 1 << 28 });
    expect(find(0x80000008)?.ecx).toBe(0x2003);
    expect(find(0xb)).toMatchObject({ eax: 0, ebx: 1, ecx: 0x100, edx: 2 });
    expect(find(0xb, 1)).toMatchObject({ eax: 2, ebx: 4, ecx: 0x201, edx: 2 });
    const single = vcpuCpuid(supported, { ...config, apicId: 0, cpus: 1 });
    expect(single.find((e) => e.function === 1)).toMatchObject({ ebx: 0x00010800, edx: 0 });
  });
});

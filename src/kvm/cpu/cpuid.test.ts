import { describe, expect, it } from "vitest";
import { Cpuid7Ecx, cpuidText } from "../../abi/x86/index.js";
import { Errno } from "../../base/index.js";
import { errnoOf } from "../tests/machine.fixture.js";
import { CpuidTable } from "./cpuid.js";
import { supportedCpuid } from "./cpuid-supported.js";

const STATE = { osxsave: false, apicEnabled: true };
const entry = (fn: number, index: number, eax: number, flags = 1) => ({
  function: fn,
  index,
  flags,
  eax,
  ebx: 0,
  ecx: 0,
  edx: 0,
});

describe("CpuidTable", () => {
  it("distinguishes indices where they are significant", () => {
    const table = new CpuidTable();
    table.set([entry(4, 0, 10), entry(4, 1, 11), entry(2, 0, 2, 0)]);
    expect(table.lookup(4, 1, STATE).eax).toBe(11);
    expect(table.lookup(4, 2, STATE).eax).toBe(0);
    expect(table.lookup(2, 99, STATE).eax).toBe(2);
  });

  it("answers beyond the table with zeros on AMD and the last basic leaf elsewhere", () => {
    const amd = new CpuidTable();
    amd.set(supportedCpuid());
    expect(amd.lookup(0x50, 0, STATE)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    const intel = new CpuidTable();
    intel.set([{ ...entry(0, 0, 2), ebx: cpuidText("Genu") }, entry(2, 0, 77)]);
    expect(intel.lookup(0x50, 0, STATE).eax).toBe(77);
    expect(intel.lookup(1, 0, STATE).eax).toBe(0);
  });

  it("shows OSXSAVE and APIC as they are", () => {
    const table = new CpuidTable();
    table.set(supportedCpuid());
    const bits = (state: typeof STATE) => {
      const { ecx, edx } = table.lookup(1, 0, state);
      return [(ecx >>> 27) & 1, (edx >>> 9) & 1];
    };
    expect(bits({ osxsave: false, apicEnabled: true })).toEqual([0, 1]);
    expect(bits({ osxsave: true, apicEnabled: false })).toEqual([1, 0]);
  });

  it("repeats the x2APIC id in topology leaves that are not there", () => {
    const table = new CpuidTable();
    table.set([{ ...entry(0xb, 1, 4), edx: 3 }]);
    expect(table.lookup(0xb, 5, STATE)).toEqual({ eax: 0, ebx: 0, ecx: 5, edx: 3 });
  });

  it("refuses odd address widths and too many entries", () => {
    const table = new CpuidTable();
    expect(errnoOf(() => table.set([entry(0x80000008, 0, 0x2830)]))).toBe(Errno.EINVAL);
    expect(errnoOf(() => table.set(Array(257).fill(entry(1, 0, 0))))).toBe(Errno.E2BIG);
  });
});

describe("supportedCpuid", () => {
  const table = new CpuidTable();
  table.set(supportedCpuid());

  it("is an AMD processor of family 0x1a that knows of the hypervisor", () => {
    const zero = table.lookup(0, 0, STATE);
    expect([zero.ebx, zero.edx, zero.ecx].map((v) => v.toString(16))).toEqual([
      "68747541",
      "69746e65",
      "444d4163",
    ]);
    const { eax, ecx } = table.lookup(1, 0, STATE);
    expect(((eax >>> 8) & 15) + ((eax >>> 20) & 0xff)).toBe(0x1a);
    expect(ecx >>> 31).toBe(1);
  });

  it("has no AVX, no PCID, no LA57, and x87 and SSE in XSAVE", () => {
    const { ecx } = table.lookup(1, 0, STATE);
    expect(ecx & ((1 << 28) | (1 << 17) | (1 << 12))).toBe(0);
    expect(table.lookup(7, 0, STATE).ecx).toBe(Cpuid7Ecx.UMIP);
    expect(table.lookup(0xd, 0, STATE)).toEqual({ eax: 3, ebx: 576, ecx: 576, edx: 0 });
    expect(table.lookup(0x80000008, 0, STATE).eax).toBe(0x3030);
  });

  // [leaf, index, register, bit, name] of a feature, and what it makes no sense without.
  it.each([
    [[7, 0, "ebx", 10], "INVPCID", [1, 0, "ecx", 17], "PCID"],
    [[0xd, 1, "eax", 0], "XSAVEOPT", [1, 0, "ecx", 26], "XSAVE"],
    [[1, 0, "ecx", 28], "AVX", [1, 0, "ecx", 26], "XSAVE"],
    [[7, 0, "ebx", 5], "AVX2", [1, 0, "ecx", 28], "AVX"],
    [[1, 0, "ecx", 20], "SSE4.2", [1, 0, "ecx", 19], "SSE4.1"],
    [[1, 0, "ecx", 19], "SSE4.1", [1, 0, "ecx", 9], "SSSE3"],
    [[1, 0, "ecx", 9], "SSSE3", [1, 0, "ecx", 0], "SSE3"],
    [[1, 0, "ecx", 0], "SSE3", [1, 0, "edx", 26], "SSE2"],
    [[1, 0, "edx", 26], "SSE2", [1, 0, "edx", 25], "SSE"],
    [[1, 0, "edx", 25], "SSE", [1, 0, "edx", 24], "FXSR"],
    [[1, 0, "ecx", 13], "CMPXCHG16B", [1, 0, "edx", 8], "CMPXCHG8B"],
    [[1, 0, "ecx", 21], "x2APIC", [1, 0, "edx", 9], "APIC"],
    [[1, 0, "ecx", 24], "TSC deadline", [1, 0, "edx", 9], "APIC"],
    [[1, 0, "edx", 17], "PSE-36", [1, 0, "edx", 3], "PSE"],
    [[0x80000001, 0, "edx", 29], "long mode", [1, 0, "edx", 6], "PAE"],
    [[0x80000001, 0, "edx", 26], "1 GiB pages", [0x80000001, 0, "edx", 29], "long mode"],
    [[0x80000001, 0, "edx", 27], "RDTSCP", [1, 0, "edx", 4], "TSC"],
    [[0x80000007, 0, "edx", 8], "invariant TSC", [1, 0, "edx", 4], "TSC"],
    [[7, 0, "ebx", 1], "TSC_ADJUST", [1, 0, "edx", 4], "TSC"],
  ] as const)("%j %s needs %j %s", (feature, _name, base, _baseName) => {
    const has = ([fn, index, register, bit]: typeof feature | typeof base): boolean =>
      ((table.lookup(fn, index, STATE)[register] >>> bit) & 1) !== 0;
    expect(has(feature) && !has(base)).toBe(false);
  });

  it("says CMP_LEGACY for more than one processor", () => {
    const ecxOf = (cpus: number) =>
      supportedCpuid(cpus).find((one) => one.function === 0x80000001)?.ecx;
    expect([1, 2, 64].map(ecxOf)).toEqual([1, 3, 3]);
  });

  it("repeats leaf 1 in 0x80000001 as AMD does", () => {
    const { edx } = table.lookup(0x80000001, 0, STATE);
    expect(edx.toString(16)).toBe("2d93fbfd");
  });
});

describe("KVM_GET_SUPPORTED_CPUID", () => {
  it("says that the processor is not affected by transient scheduler attacks, as Linux of one of its family", () => {
    // CPU=EPYC,-hypervisor tests/oracle/ask-linux, a program that prints the leaf: ECX 0x86 by 6.12.117, 0x6 by 7.2.12.
    const leaf = supportedCpuid().find((one) => one.function === 0x80000021);
    expect((leaf?.ecx ?? 0) & 0x6).toBe(0x6);
  });
});

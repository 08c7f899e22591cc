import { describe, expect, it } from "vitest";
import { codeOf } from "../../base/refusal.fixture.js";
import { memoryMap } from "../machine/layout.js";
import { type BootRequest, planBoot } from "./boot.js";
import type { KernelImage } from "./elf.js";

const MIB = 1 << 20;

function kernelAt(start: number, size: number): KernelImage {
  const segments = [{ paddr: start, bytes: new Uint8Array([1]), memSize: size }];
  return { segments, entry: start, start, end: start + size };
}

function request(change: Partial<BootRequest> = {}): BootRequest {
  return {
    kernel: kernelAt(16 * MIB, 8 * MIB),
    commandLine: "console=hvc0",
    memmap: memoryMap(64 * MIB),
    rsdpPaddr: 0xfc000000,
    ...change,
  };
}

/** The memory that a plan makes. */
function memoryOf(plan: ReturnType<typeof planBoot>): DataView {
  const memory = new Uint8Array(64 * MIB);
  for (const { paddr, bytes } of plan.placements) memory.set(bytes, paddr);
  return new DataView(memory.buffer);
}

describe("planBoot", () => {
  it("writes start_info, command line, memory map and initrd where the guest finds them", () => {
    const initrd = new Uint8Array(5000).fill(7);
    const plan = planBoot(request({ modules: [{ bytes: initrd }] }));
    const memory = memoryOf(plan);
    const at = plan.startInfoPaddr;
    const pointer = (offset: number): number => Number(memory.getBigUint64(at + offset, true));
    expect(plan.entry).toBe(16 * MIB);
    expect(at).toBe(0x6000);
    expect(memory.getUint32(at, true)).toBe(0x336ec578);
    expect([4, 8, 12].map((o) => memory.getUint32(at + o, true))).toEqual([1, 0, 1]);
    expect(pointer(32)).toBe(0xfc000000);
    const module = pointer(16);
    const initrdAt = Number(memory.getBigUint64(module, true));
    expect(initrdAt).toBe(64 * MIB - 8192);
    expect(memory.getBigUint64(module + 8, true)).toBe(5000n);
    expect(memory.getUint8(initrdAt + 4999)).toBe(7);
    const text = new Uint8Array(memory.buffer, pointer(24), 13);
    expect(String.fromCharCode(...text)).toBe("console=hvc0\0");
    const count = memory.getUint32(at + 48, true);
    const map = Array.from({ length: count }, (_, i) => [
      Number(memory.getBigUint64(pointer(40) + i * 24, true)),
      Number(memory.getBigUint64(pointer(40) + i * 24 + 8, true)),
      memory.getUint32(pointer(40) + i * 24 + 16, true),
    ]);
    expect(map).toEqual([
      [0, 0xa0000, 1],
      [0xa0000, 0x60000, 2],
      [MIB, 63 * MIB, 1],
      [0xfc000000, 0x10000, 3],
      [0xfc010000, 0x1000, 2],
      [0xfeff8000, 0x4000, 2],
    ]);
  });

  it("places several modules with their command lines, apart from each other", () => {
    const line = `${"x".repeat(4000)} y`;
    const modules = [
      { bytes: new Uint8Array(5000).fill(1), commandLine: "root=/dev/ram0" },
      { bytes: new Uint8Array(4096).fill(2) },
      { bytes: new Uint8Array(1).fill(3), commandLine: line },
      { bytes: new Uint8Array(0), commandLine: "" },
    ];
    const plan = planBoot(request({ modules }));
    const memory = memoryOf(plan);
    const at = plan.startInfoPaddr;
    expect(memory.getUint32(at + 12, true)).toBe(4);
    const list = Number(memory.getBigUint64(at + 16, true));
    const entry = (i: number) =>
      [0, 8, 16, 24].map((offset) => Number(memory.getBigUint64(list + 32 * i + offset, true)));
    const text = (from: number) => {
      const bytes = new Uint8Array(memory.buffer, from);
      return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
    };
    modules.forEach(({ bytes, commandLine }, i) => {
      const [paddr = 0, size = 0, cmdline = 0, reserved] = entry(i);
      expect(new Uint8Array(memory.buffer, paddr, size)).toEqual(bytes);
      expect(paddr % 4096).toBe(0);
      expect(reserved).toBe(0);
      if (commandLine === undefined) expect(cmdline).toBe(0);
      else expect(text(cmdline)).toBe(commandLine);
    });
    const used = plan.placements.map((p) => [p.paddr, p.paddr + p.memSize] as const);
    used.sort(([a], [b]) => a - b);
    used.forEach(([start], i) => {
      expect(start).toBeGreaterThanOrEqual(used[i - 1]?.[1] ?? 0);
    });
  });

  it("refuses more modules than Xen looks at, and a module's command line that is too long", () => {
    const many = Array.from({ length: 64 }, () => ({ bytes: Uint8Array.of(1) }));
    expect(codeOf(() => planBoot(request({ modules: many })))).toBe("TOO_MANY_MODULES");
    expect(codeOf(() => planBoot(request({ modules: many.slice(1) })))).toBeUndefined();
    const modules = [{ bytes: Uint8Array.of(1), commandLine: "x".repeat(4096) }];
    expect(codeOf(() => planBoot(request({ modules })))).toBe("COMMAND_LINE_TOO_LONG");
  });

  it("without an initrd has no module list", () => {
    const plan = planBoot(request());
    const memory = memoryOf(plan);
    expect(memory.getUint32(plan.startInfoPaddr + 12, true)).toBe(0);
    expect(memory.getBigUint64(plan.startInfoPaddr + 16, true)).toBe(0n);
  });

  it("puts the boot data behind a kernel that occupies the low pages", () => {
    const plan = planBoot(request({ kernel: kernelAt(0x1000, 0x8800) }));
    expect(plan.startInfoPaddr).toBe(0xa000);
  });

  it("refuses what does not fit", () => {
    const small = { memmap: memoryMap(16 * MIB) };
    expect(codeOf(() => planBoot(request(small)))).toBe("MEMORY_TOO_SMALL");
    const initrd = new Uint8Array(41 * MIB);
    expect(codeOf(() => planBoot(request({ modules: [{ bytes: initrd }] })))).toBe(
      "INITRD_TOO_LARGE",
    );
    expect(codeOf(() => planBoot(request({ commandLine: "x".repeat(4096) })))).toBe(
      "COMMAND_LINE_TOO_LONG",
    );
    expect(codeOf(() => planBoot(request({ kernel: kernelAt(0x9f000, 0x2000) })))).toBe(
      "NOT_A_KERNEL",
    );
  });

  it("zeroes the end of a segment that lies over one before it, in the order of the file", () => {
    const of = (at: number, fill: number, length: number, memSize: number) => {
      return { paddr: at * MIB, bytes: new Uint8Array(length).fill(fill), memSize };
    };
    const segments = [of(17, 1, 5000, 5000), of(16, 2, 16, 2 * MIB), of(17, 3, 8, 8)];
    const kernel = { segments, entry: 16 * MIB, start: 16 * MIB, end: 18 * MIB };
    const memory = memoryOf(planBoot(request({ kernel })));
    expect(memory.getUint8(16 * MIB)).toBe(2);
    expect(memory.getUint8(17 * MIB + 7)).toBe(3);
    expect(memory.getUint8(17 * MIB + 8)).toBe(0);
    expect(memory.getUint8(17 * MIB + 4999)).toBe(0);
  });

  it("writes no more than there is memory, however often segments overlap", () => {
    const { segments, ...rest } = kernelAt(16 * MIB, 8 * MIB);
    const times = (count: number) => new Array(count).fill(segments[0]);
    const kernel = (count: number) => ({ ...rest, segments: times(count) });
    expect(codeOf(() => planBoot(request({ kernel: kernel(7) })))).toBeUndefined();
    expect(codeOf(() => planBoot(request({ kernel: kernel(8) })))).toBe("KERNEL_DAMAGED");
  });

  it("splits memory above 3 GiB", () => {
    const high = memoryMap(4 * 1024 * MIB).at(-1);
    expect(high).toEqual({ addr: 2 ** 32, size: 1024 * MIB, type: 1 });
  });
});

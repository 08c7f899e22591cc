import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HostError } from "../../base/index.js";
import { codeOf } from "../../base/refusal.fixture.js";
import { seed } from "../../base/seed.fixture.js";
import { buildElf } from "./elf.fixture.js";
import { MAX_SEGMENTS, readElfKernel } from "./elf.js";

const code = new Uint8Array([0xf4, 0xeb, 0xfd]);
const simple = { segments: [{ paddr: 0x100000, bytes: code, memSize: 0x3000 }], entry: 0x100001 };

const empty = { paddr: 0x200000, bytes: new Uint8Array(0), memSize: 0x1000 };

describe("readElfKernel", () => {
  it.each([
    [64, 4],
    [64, 8],
    [32, 4],
    [32, 8],
  ] as const)("reads ELF%i with a %i-byte entry note", (bits, entryBytes) => {
    const kernel = readElfKernel(buildElf({ ...simple, bits, entryBytes }));
    expect(kernel.entry).toBe(0x100001);
    expect(kernel.start).toBe(0x100000);
    expect(kernel.end).toBe(0x103000);
    expect(kernel.segments).toEqual([{ paddr: 0x100000, bytes: code, memSize: 0x3000 }]);
  });

  it("refuses what is not a PVH kernel, with a code each", () => {
    expect(codeOf(() => readElfKernel(new Uint8Array(10)))).toBe("NOT_A_KERNEL");
    expect(codeOf(() => readElfKernel(buildElf({ ...simple, machine: 183 })))).toBe("NOT_A_KERNEL");
    expect(codeOf(() => readElfKernel(buildElf({ segments: simple.segments })))).toBe(
      "NO_PVH_NOTE",
    );
    expect(codeOf(() => readElfKernel(buildElf({ segments: [], entry: 5 })))).toBe(
      "KERNEL_DAMAGED",
    );
    expect(codeOf(() => readElfKernel(buildElf({ ...simple, entry: 0x200000 })))).toBe(
      "KERNEL_DAMAGED",
    );
    const beyond = { paddr: 0xfffff000, bytes: code, memSize: 0x2000 };
    expect(codeOf(() => readElfKernel(buildElf({ segments: [beyond], entry: 0 })))).toBe(
      "KERNEL_DAMAGED",
    );
    const shrunk = { paddr: 0x100000, bytes: code, memSize: 2 };
    expect(codeOf(() => readElfKernel(buildElf({ segments: [shrunk], entry: 0x100000 })))).toBe(
      "KERNEL_DAMAGED",
    );
  });

  it.each([
    ["a program with an interpreter", { headers: [3] }, "NOT_A_KERNEL", /program or a library/],
    ["a static program", { headers: [0x6474e551] }, "NOT_A_KERNEL", /program or a library/],
    ["an object file", { type: 1 }, "NOT_A_KERNEL", /object file/],
    ["a core dump", { type: 4 }, "NOT_A_KERNEL", /core dump/],
    ["a PV kernel of Xen", { note: "Xen" }, "NO_PVH_NOTE", /PV guests of Xen only/],
    ["a Linux without PVH", { note: "Linux" }, "NO_PVH_NOTE", /CONFIG_PVH/],
    ["a kernel that lies high in virtual memory", { vaddr: 1 }, "NO_PVH_NOTE", /CONFIG_PVH/],
    ["anything else", {}, "NO_PVH_NOTE", /ELF image has no Xen PVH entry point/],
  ] as const)("calls %s what it is", (_name, change, code, words) => {
    const file = buildElf({ segments: simple.segments, ...change });
    try {
      readElfKernel(file);
      expect.unreachable();
    } catch (refusal) {
      expect(refusal).toMatchObject({ code, message: expect.stringMatching(words) });
      if (code === "NOT_A_KERNEL") expect((refusal as Error).message).not.toMatch(/PVH/);
    }
  });

  it("takes segments without bytes of the file, wherever they say those are", () => {
    const file = buildElf({ ...simple, bits: 32, segments: [...simple.segments, empty] });
    new DataView(file.buffer).setUint32(52 + 32 + 4, 0x9999999, true);
    expect(readElfKernel(file).segments).toHaveLength(2);
  });

  it(`takes ${MAX_SEGMENTS} segments and no more`, () => {
    const many = (count: number) => buildElf({ ...simple, segments: more(count) });
    const more = (count: number) => new Array(count).fill(simple.segments[0]);
    expect(readElfKernel(many(MAX_SEGMENTS)).segments).toHaveLength(MAX_SEGMENTS);
    expect(codeOf(() => readElfKernel(many(MAX_SEGMENTS + 1)))).toBe("KERNEL_DAMAGED");
  });

  it("refuses every truncation", () => {
    const file = buildElf(simple);
    for (let length = 0; length < file.length; length++) {
      expect(codeOf(() => readElfKernel(file.slice(0, length)))).toBeDefined();
    }
  });

  it("survives any damage: a HostError, or segments inside file and 4 GiB", () => {
    const file = buildElf(simple);
    const damage = fc.array(fc.tuple(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(damage, fc.constantFrom(32, 64), (changes, bits) => {
        const copy = buildElf({ ...simple, bits: bits as 32 | 64 });
        for (const [at, value] of changes) copy[at % copy.length] = value;
        let kernel: ReturnType<typeof readElfKernel>;
        try {
          kernel = readElfKernel(copy);
        } catch (error) {
          expect(error).toBeInstanceOf(HostError);
          return;
        }
        for (const segment of kernel.segments) {
          expect(segment.bytes.length).toBeLessThanOrEqual(segment.memSize);
          expect(segment.paddr + segment.memSize).toBeLessThanOrEqual(2 ** 32);
        }
      }),
      { numRuns: 2000, seed, verbose: true },
    );
  });
});

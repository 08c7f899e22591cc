/** Instructions that lie across the end of a page, by cached blocks and one by one: always the same. */
import { describe, expect, it } from "vitest";
import type { Hva } from "../../base/index.js";
import { At, GuestCpu, le, Pte, Reg } from "./guest-cpu.fixture.js";

const VA = 0x7f00_0000_0000n;
/** Does not share an entry of the TLB with VA. */
const OTHER_VA = 0x7f00_0010_0000n;
const [FIRST, SECOND, THIRD] = [At.DATA, At.DATA + 0x1000, At.DATA + 0x2000];
const CODE_PAGE = Pte.P | Pte.W | Pte.A | Pte.D;

/** Puts code across the end of the page at `page`, `here` bytes of it before. */
function across(t: GuestCpu, page: number, here: number, hex: string, next = page + 0x1000): void {
  const bytes = hex.split(" ");
  t.bytes(page + 0x1000 - here, bytes.slice(0, here).join(" "));
  t.bytes(next, bytes.slice(here).join(" "));
}

const start = (va: bigint, here: number) => va + 0x1000n - BigInt(here);

/** mov rax,VALUE; hlt */
const load = (value: bigint) => `48 b8 ${le(value, 8)} f4`;

/** Runs from `at` and says what came of it. */
function go(t: GuestCpu, at: bigint) {
  t.cpu.rip = at;
  const before = t.cpu.instructions;
  const vector = t.runToHandler();
  return { rax: t.reg(Reg.RAX), vector, count: t.cpu.instructions - before };
}

/** Makes the same on all paths, also with blocks that are compared. */
async function everyWay(script: (t: GuestCpu) => void): Promise<void> {
  for (const [decode, distrust] of [
    ["cached", false],
    ["each", false],
    ["cached", true],
    ["compiled", false],
    ["compiled", true],
  ] as const) {
    const t = await GuestCpu.create("long64", { decode });
    if (distrust) t.vm.distrustCode();
    t.map(VA, BigInt(FIRST), CODE_PAGE);
    t.map(VA + 0x1000n, BigInt(SECOND), CODE_PAGE);
    script(t);
  }
}

function flush(t: GuestCpu): void {
  const { cr3, cr4 } = t.cpu;
  t.control({ cr4: cr4 ^ 0x80n });
  t.control({ cr3, cr4 });
}

describe("an instruction across the end of a page", () => {
  it.each([1, 2, 3, 9])("is executed with %i bytes in the first", async (here) => {
    await everyWay((t) => {
      across(t, FIRST, here, load(0x1122334455667788n));
      for (let i = 0; i < 4; i++)
        expect(go(t, start(VA, here))).toEqual({
          rax: 0x1122334455667788n,
          vector: undefined,
          count: 2,
        });
    });
  });

  it("is decoded once", async () => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(FIRST), CODE_PAGE);
    t.map(VA + 0x1000n, BigInt(SECOND), CODE_PAGE);
    across(t, FIRST, 3, load(1n));
    for (let i = 0; i < 3; i++) go(t, start(VA, 3));
    const before = t.vm.counters();
    for (let i = 0; i < 3; i++) go(t, start(VA, 3));
    const { BUILD, DECODED, STEP, UNBUILT } = t.vm.counters();
    expect({ BUILD, DECODED, STEP, UNBUILT }).toEqual({
      BUILD: before.BUILD,
      DECODED: before.DECODED,
      STEP: before.STEP,
      UNBUILT: before.UNBUILT,
    });
  });

  it("is another one when another page follows", async () => {
    await everyWay((t) => {
      across(t, FIRST, 3, load(0x100n));
      across(t, FIRST, 3, load(0x200n), THIRD);
      for (let i = 0; i < 6; i++) {
        t.map(VA + 0x1000n, BigInt(i % 3 === 2 ? THIRD : SECOND), CODE_PAGE);
        flush(t);
        // From the second time on there is a block.
        for (let k = 0; k < 3; k++)
          expect(go(t, start(VA, 3)).rax).toBe(i % 3 === 2 ? 0x200n : 0x100n);
      }
    });
  });

  it("is another one where its page is mapped a second time, before another page", async () => {
    await everyWay((t) => {
      t.map(OTHER_VA, BigInt(FIRST), CODE_PAGE);
      t.map(OTHER_VA + 0x1000n, BigInt(THIRD), CODE_PAGE);
      across(t, FIRST, 3, load(0x100n));
      across(t, FIRST, 3, load(0x200n), THIRD);
      for (let i = 0; i < 8; i++) {
        const second = i % 2 === 1;
        expect(go(t, start(second ? OTHER_VA : VA, 3)).rax).toBe(second ? 0x200n : 0x100n);
      }
    });
  });

  it.each([
    ["first", FIRST + 0xfff, 5],
    ["second", SECOND, 6],
  ])("changes when the host writes to the %s page", async (_, at, byte) => {
    await everyWay((t) => {
      across(t, FIRST, 3, load(0n));
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.bytes(at, byte.toString(16).padStart(2, "0"));
      expect(go(t, start(VA, 3)).rax).toBe(at === SECOND ? 0x600n : 5n);
    });
  });

  it.each([
    ["first", 0xfffn, 0x77n],
    ["second", 0x1000n, 0x7700n],
  ])("changes when the guest writes to the %s page", async (_, offset, value) => {
    await everyWay((t) => {
      across(t, FIRST, 3, load(0n));
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.set({ RDI: VA + offset, RSI: start(VA, 3) });
      t.code("c6 07 77 ff e6"); // mov byte [rdi],0x77; jmp rsi
      expect(go(t, BigInt(At.CODE)).rax).toBe(value);
    });
  });

  it("changes when it writes to itself", async () => {
    await everyWay((t) => {
      // mov dword [rdi],0x07f48890 (nop; hlt behind it in place of its own second page)
      t.set({ RDI: VA + 0x1002n, RAX: 1n });
      for (let i = 0; i < 3; i++) {
        across(t, FIRST, 4, "c7 07 90 90 f4 07 b0 05 f4");
        t.set({ RAX: 1n });
        expect(go(t, start(VA, 4)).rax).toBe(1n);
      }
    });
  });

  it("changes when someone wrote who did not say so", async () => {
    for (const at of [FIRST + 0xfff, SECOND]) {
      const t = await GuestCpu.create("long64");
      t.vm.distrustCode();
      t.map(VA, BigInt(FIRST), CODE_PAGE);
      t.map(VA + 0x1000n, BigInt(SECOND), CODE_PAGE);
      across(t, FIRST, 3, load(0n));
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.vm.linear.u8[(t.ram + at) as Hva] = 9;
      t.vm.distrustCode();
      expect(go(t, start(VA, 3)).rax).toBe(at === SECOND ? 0x900n : 9n);
      expect(go(t, start(VA, 3)).rax).toBe(at === SECOND ? 0x900n : 9n);
    }
  });

  it("faults at the second page when that is absent", async () => {
    await everyWay((t) => {
      across(t, FIRST, 3, load(1n));
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.map(VA + 0x1000n, 0n, 0n);
      flush(t);
      expect(go(t, start(VA, 3))).toMatchObject({ vector: 14, count: 1 });
      expect(t.cpu.cr2).toBe(VA + 0x1000n);
      expect(t.stack(2)[1]).toBe(start(VA, 3));
    });
  });

  it.each<[string, string, bigint, number]>([
    // The targets are HLT with RAX as it was, or behind a MOV.
    ["jump back", "e9 05 f0 ff ff", 7n, 2],
    ["jump on", "e9 01 00 00 00 f4 b0 08 f4", 8n, 3],
    ["call", "e8 01 00 00 00 f4 b0 08 f4", 8n, 3],
    ["conditional jump that is taken", "0f 84 02 00 00 00 f4 f4 b0 08 f4", 8n, 3],
    ["conditional jump that is not", "0f 85 02 00 00 00 b0 09 f4", 9n, 3],
    ["load", "48 8b 83 10 00 00 00 f4", 0x55n, 2],
    ["locked addition", "f0 48 01 83 10 00 00 00 48 8b 43 10 f4", 0x5cn, 3],
    ["SSE load", "0f 10 83 10 00 00 00 66 48 0f 7e c0 f4", 0x55n, 3],
  ])("may be a %s", async (_, code, rax, count) => {
    await everyWay((t) => {
      t.control({ cr4: t.cpu.cr4 | 0x200n, rflags: 0x42n });
      for (let i = 0; i < 4; i++) {
        t.bytes(FIRST, "f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f4");
        t.set({ RAX: 7n, RBX: BigInt(THIRD), RSP: BigInt(At.STACK) });
        t.put64(THIRD + 0x10, 0x55n);
        across(t, FIRST, 2, code);
        expect(go(t, start(VA, 2))).toEqual({ rax, vector: undefined, count });
      }
    });
  });

  it.each([
    // From the second page dec ecx; jnz leads back; hlt.
    ["a conditional jump that is taken", "0f 85 02 00 00 00 f4 f4 ff c9 75 f4 f4"],
    ["a conditional jump that is not", "0f 84 02 00 00 00 ff c9 75 f6 f4"],
    ["a jump", "e9 02 00 00 00 f4 f4 ff c9 75 f5 f4"],
  ])("is followed by its link to the next block when it is %s", async (_, code) => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(FIRST), CODE_PAGE);
    t.map(VA + 0x1000n, BigInt(SECOND), CODE_PAGE);
    across(t, FIRST, 2, code);
    const turns = (count: bigint): number => {
      t.set({ RCX: count });
      t.control({ rflags: 2n });
      return go(t, start(VA, 2)).count;
    };
    turns(5n);
    const before = t.vm.counters();
    expect(turns(20n)).toBe(20 * 3 + 1);
    const { GENERIC, LOOKUP, GO } = t.vm.counters();
    expect(GENERIC - before.GENERIC).toBeLessThan(3);
    expect(GO - before.GO).toBeLessThan(3);
    expect(LOOKUP - before.LOOKUP).toBeLessThan(10);
  });

  it("is followed by its link, too, where an instruction ends with its page", async () => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(FIRST), CODE_PAGE);
    t.map(VA + 0x1000n, BigInt(SECOND), CODE_PAGE);
    // inc rax, or jz that is not taken; dec ecx; jnz back; hlt
    for (const code of ["48 ff c0 ff c9 75 f9 f4", "90 74 02 ff c9 75 f9 f4"]) {
      across(t, FIRST, 3, code);
      const turns = (count: bigint): number => {
        t.set({ RCX: count });
        t.control({ rflags: 2n });
        return go(t, start(VA, 3)).count;
      };
      turns(5n);
      const before = t.vm.counters();
      turns(20n);
      const { LOOKUP, GO } = t.vm.counters();
      expect(GO - before.GO).toBeLessThan(3);
      expect(LOOKUP - before.LOOKUP).toBeLessThan(10);
    }
  });

  it("goes on where the next page is another one, when an instruction ends with its page", async () => {
    await everyWay((t) => {
      for (let i = 0; i < 6; i++) {
        const page = i % 3 === 2 ? THIRD : SECOND;
        t.bytes(SECOND, "b0 02 f4");
        t.bytes(THIRD, "b0 03 f4");
        t.map(VA + 0x1000n, BigInt(page), CODE_PAGE);
        flush(t);
        for (const end of ["48 ff c0", "90 74 02"]) {
          t.bytes(FIRST + 0xffd, end);
          for (let k = 0; k < 3; k++) {
            t.set({ RAX: 0n });
            t.control({ rflags: 2n });
            expect(go(t, start(VA, 3)).rax).toBe(page === THIRD ? 3n : 2n);
          }
        }
      }
    });
  });

  it("faults behind the last address that is canonical, where an instruction ends with its page", async () => {
    await everyWay((t) => {
      const last = 0x7fff_ffff_f000n;
      t.map(last, BigInt(FIRST), CODE_PAGE);
      t.bytes(FIRST + 0xffd, "48 ff c0");
      for (let i = 0; i < 4; i++) {
        expect(go(t, start(last, 3))).toMatchObject({ vector: 13, count: 2 });
        expect(t.stack(2)[1]).toBe(0x8000_0000_0000n);
      }
    });
  });

  it("faults by its operand as others do, and counts", async () => {
    await everyWay((t) => {
      across(t, FIRST, 3, "48 8b 83 10 00 00 00 f4");
      t.set({ RBX: BigInt(THIRD) });
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.set({ RBX: 0x123456789000n });
      expect(go(t, start(VA, 3))).toMatchObject({ vector: 14, count: 1 });
      expect(t.stack(2)[1]).toBe(start(VA, 3));
    });
  });

  it("fits a budget of one", async () => {
    await everyWay((t) => {
      across(t, FIRST, 3, load(3n));
      for (let i = 0; i < 3; i++) go(t, start(VA, 3));
      t.cpu.rip = start(VA, 3);
      const before = t.cpu.instructions;
      t.run(1);
      expect(t.cpu.instructions - before).toBe(1);
      expect(t.cpu.rip).toBe(VA + 0x1007n);
    });
  });
});

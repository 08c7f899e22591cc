import { describe, expect, it } from "vitest";
import { gpa, gva } from "../../base/index.js";
import {
  At,
  CR0,
  CR4,
  EFER,
  Flag,
  GuestCpu,
  le,
  PATHS,
  Pte,
  Reg,
  Sel,
} from "./guest-cpu.fixture.js";

/** A linear address outside of the identity map, which tests map as they like. */
const VA = 0x7f00_0000_0000n;
/** Code: mov rax,[rbx]; hlt. */
const LOAD = "48 8b 03 f4";
/** Code: mov [rbx],rax; hlt. */
const STORE = "48 89 03 f4";
/** Code: jmp rbx. */
const JUMP = "ff e3";
const CODES = { read: LOAD, write: STORE, fetch: JUMP } as const;

type Access = keyof typeof CODES;
/** A user-mode program cannot HLT: INT 0x80 ends it. */
const userEnd = (code: string): string => code.replace("f4", "cd 80");

interface Outcome {
  /** Error code of the page fault, or undefined when the access succeeded. */
  error: number | undefined;
  cpu: GuestCpu;
}

/** Makes one access to VA and says what came of it. */
async function access(
  kind: Access,
  cpl: 0 | 3,
  map: (t: GuestCpu) => void,
  control: Parameters<GuestCpu["control"]>[0] = {},
): Promise<Outcome> {
  const t = await GuestCpu.create("long64", { cpl });
  map(t);
  t.bytes(At.DATA, cpl === 3 ? "cd 80" : "f4"); // what a fetch finds
  t.gate(0x80, Sel.CODE64, At.HANDLERS + 0x800, 0xe, 3);
  t.control(control);
  t.set({ RBX: VA, RAX: 0x1122334455667788n });
  t.code(cpl === 3 ? userEnd(CODES[kind]) : CODES[kind]);
  const vector = t.runToHandler();
  if (vector === 14) {
    expect(t.cpu.cr2).toBe(VA);
    return { error: Number(t.stack(1)[0]), cpu: t };
  }
  expect(vector).toBe(cpl === 3 ? 0x80 : undefined);
  return { error: undefined, cpu: t };
}

const page = (bits: bigint, upper?: bigint) => (t: GuestCpu) =>
  t.map(VA, BigInt(At.DATA), bits, 1, upper);

/** Makes the identity map supervisor pages. */
function kernelPages(t: GuestCpu): void {
  for (let at = 0n; at < At.RAM; at += 0x1000n) t.map(at, at, Pte.P | Pte.W);
}

describe("permissions of four-level tables", () => {
  const kernelControl = { cr4: CR4.PAE | CR4.SMEP | CR4.SMAP };
  const { P, W, U, NX } = Pte;
  it.each<[string, bigint, Access, 0 | 3, boolean, number | undefined]>([
    ["read kernel page at 0", P, "read", 0, false, undefined],
    ["read kernel page at 3", P, "read", 3, false, 5],
    ["read user page at 3", P | U, "read", 3, false, undefined],
    ["read absent page at 3", 0n, "read", 3, false, 4],
    ["write read-only page at 0 with WP", P, "write", 0, false, 3],
    ["write page at 0", P | W, "write", 0, false, undefined],
    ["write read-only page at 3", P | U, "write", 3, false, 7],
    ["write user page at 3", P | U | W, "write", 3, false, undefined],
    ["write absent page at 0", 0n, "write", 0, false, 2],
    ["fetch NX page at 0", P | NX, "fetch", 0, false, 0x11],
    ["fetch NX page at 3", P | U | NX, "fetch", 3, false, 0x15],
    ["fetch kernel page at 3", P, "fetch", 3, false, 0x15],
    ["fetch user page at 0", P | U, "fetch", 0, false, undefined],
    ["fetch absent page at 3", 0n, "fetch", 3, false, 0x14],
    ["SMEP: fetch user page at 0", P | U, "fetch", 0, true, 0x11],
    ["SMAP: read user page at 0", P | U, "read", 0, true, 1],
    ["SMAP: write user page at 0", P | U | W, "write", 0, true, 3],
    ["SMAP does not bind level 3", P | U | W, "write", 3, true, undefined],
  ])("%s", async (_, bits, kind, cpl, guarded, error) => {
    // The identity map is user pages: kernel code, tables and stacks must not be.
    const prepare = (t: GuestCpu): void => {
      if (guarded) kernelPages(t);
      if (cpl === 3) t.map(BigInt(At.USER_CODE), BigInt(At.USER_CODE), Pte.P | Pte.U);
      page(bits)(t);
    };
    const outcome = await access(kind, cpl, prepare, guarded ? kernelControl : {});
    expect(outcome.error).toBe(error);
  });

  it("takes the strictest of all levels", async () => {
    expect((await access("read", 3, page(P | U, P | W))).error).toBe(5);
    expect((await access("write", 3, page(P | U | W, P | U))).error).toBe(7);
    const nx = await access("fetch", 3, page(P | U, P | U | NX));
    expect(nx.error).toBe(0x15);
  });

  it("lets a supervisor write everywhere without WP", async () => {
    const outcome = await access("write", 0, page(P), { cr0: 0x80000031n });
    expect(outcome.error).toBeUndefined();
    expect(outcome.cpu.u64(At.DATA)).toBe(0x1122334455667788n);
  });

  it("AC suspends SMAP", async () => {
    const prepare = (t: GuestCpu): void => {
      kernelPages(t);
      page(P | W | U)(t);
    };
    const flags = { ...kernelControl, rflags: 2n | Flag.AC };
    expect((await access("write", 0, prepare, flags)).error).toBeUndefined();
  });

  it("STAC and CLAC switch at once", async () => {
    const t = await GuestCpu.create("long64");
    kernelPages(t);
    page(P | U)(t);
    t.control({ cr4: CR4.PAE | CR4.SMAP }).set({ RBX: VA });
    t.code(`0f 01 cb 48 8b 03 0f 01 ca 48 8b 03`); // stac; load; clac; load
    expect(t.runToHandler()).toBe(14);
    expect(t.stack(2)).toEqual([1n, BigInt(At.CODE + 9)]);
  });

  it("sees reserved bits", async () => {
    const rsvd = 1n << 50n;
    expect((await access("read", 0, page(P | rsvd))).error).toBe(9);
    expect((await access("write", 3, page(P | U | W | rsvd))).error).toBe(0xf);
    const noNx = { efer: EFER.LME | EFER.LMA };
    expect((await access("read", 0, page(P | NX), noNx)).error).toBe(9);
    // Without NX and SMEP the fetch bit of the error code is not reported.
    expect((await access("fetch", 3, page(P), noNx)).error).toBe(5);
    const largeMisplaced = (t: GuestCpu): void => t.map(VA, 0x2000n, P | W, 2);
    expect((await access("read", 0, largeMisplaced)).error).toBe(9);
    const topSize = (t: GuestCpu): void => {
      page(P)(t);
      t.put64(t.entry(VA, 4), t.u64(t.entry(VA, 4)) | Pte.PS);
    };
    expect((await access("read", 0, topSize)).error).toBe(9);
  });

  it("raises #GP(0), not #PF, for an address that is not canonical", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RBX: 0x8000_0000_0000n });
    expect(t.code(LOAD).runToHandler()).toBe(13);
    expect(t.stack(1)).toEqual([0n]);
  });
});

describe("accessed and dirty bits", () => {
  it("sets A on a read, D on a write, in all levels as due", async () => {
    const t = await GuestCpu.create("long64");
    page(Pte.P | Pte.W)(t);
    t.set({ RBX: VA });
    t.code("48 8b 03 90 48 89 03 f4");
    t.run(1);
    expect(t.u64(t.entry(VA)) & 0x60n).toBe(0x20n);
    for (const level of [2, 3, 4]) expect(t.u64(t.entry(VA, level)) & 0x60n).toBe(0x20n);
    t.runToHandler();
    expect(t.u64(t.entry(VA)) & 0x60n).toBe(0x60n);
    for (const level of [2, 3, 4]) expect(t.u64(t.entry(VA, level)) & 0x60n).toBe(0x20n);
  });

  it("does not touch a page whose access faults", async () => {
    const { cpu } = await access("write", 0, page(Pte.P));
    expect(cpu.u64(cpu.entry(VA)) & 0x60n).toBe(0n);
  });

  it("sets D again after it was cleared and the page flushed", async () => {
    const t = await GuestCpu.create("long64");
    page(Pte.P | Pte.W)(t);
    t.map(VA + 0x200000n, BigInt(t.entry(VA) & ~0xfff), Pte.P | Pte.W); // the table itself
    const entryVa = VA + 0x200000n + BigInt(t.entry(VA) & 0xfff);
    t.set({ RBX: VA, RCX: entryVa });
    // mov [rbx],eax; and qword [rcx],~0x40; invlpg [rbx]; mov eax,[rbx]; mov [rbx],eax; hlt
    t.code("89 03 48 83 21 bf 0f 01 3b 8b 03 89 03 f4");
    t.run(4);
    expect(t.u64(t.entry(VA)) & Pte.D).toBe(0n);
    t.runToHandler();
    expect(t.u64(t.entry(VA)) & Pte.D).toBe(Pte.D);
  });
});

describe("large pages", () => {
  it.each([
    [2, 0x200000n],
    [3, 0x40000000n],
  ])("maps and flushes a page of level %i as a whole", async (level, size) => {
    const slots = [{ gpa: gpa(0x40000000), size: 0x400000, readonly: false }];
    const t = await GuestCpu.create("long64", { slots });
    const va = VA;
    const pa = level === 2 ? 0x200000n : 0x40000000n;
    t.map(va, pa, Pte.P | Pte.W, level);
    expect(t.cpu.translate(gva(va + 0x12345n), "read")).toBe(Number(pa + 0x12345n));
    expect(t.cpu.translate(gva(va + size), "read")).toBeUndefined();
    t.set({ RBX: va, RCX: va + 0x5008n, RDX: va + 0x3000n });
    // read two places, unmap, INVLPG of a third place, read again
    const at = BigInt(t.entry(va, level));
    t.code(`8b 03 8b 01 48 c7 04 25 ${le(at)} 00 00 00 00 0f 01 3a 8b 01 f4`);
    expect(t.runToHandler()).toBe(14);
    expect(t.cpu.cr2).toBe(va + 0x5008n);
    expect(t.stack(2)).toEqual([0n, BigInt(At.CODE + 19)]);
  });
});

describe("what flushes", () => {
  /** Maps VA, touches it, takes the mapping away, executes `flush`, touches it again. */
  async function stale(flush: string, bits: bigint, cr4: bigint): Promise<boolean> {
    const t = await GuestCpu.create("long64");
    page(bits)(t);
    t.control({ cr4: CR4.PAE | cr4 });
    t.set({ RBX: VA });
    const clear = `48 c7 04 25 ${le(t.entry(VA))} 00 00 00 00`;
    return (t.code(`8b 03 ${clear} ${flush} 8b 03 f4`).runToHandler() ?? 0) !== 14;
  }
  const { P, W, G } = Pte;
  it.each<[string, string, bigint, bigint, boolean]>([
    ["nothing", "90", P | W, 0n, true],
    ["INVLPG", "0f 01 3b", P | W, 0n, false],
    ["INVLPG, global page", "0f 01 3b", P | W | G, CR4.PGE, false],
    ["INVLPG of another page", "0f 01 bb 00 10 00 00", P | W, 0n, true],
    ["MOV CR3", "0f 20 d8 0f 22 d8", P | W, 0n, false],
    ["MOV CR3, global page", "0f 20 d8 0f 22 d8", P | W | G, CR4.PGE, true],
    ["MOV CR3, global page, PGE off", "0f 20 d8 0f 22 d8", P | W | G, 0n, false],
    ["CR4.PGE toggled", "0f 20 e0 34 80 0f 22 e0", P | W | G, CR4.PGE, false],
    ["CR0.WP toggled", "0f 20 c0 35 00 00 01 00 0f 22 c0", P | W | G, CR4.PGE, false],
  ])("%s", async (_, flush, bits, cr4, remains) => {
    expect(await stale(flush, bits, cr4)).toBe(remains);
  });

  it.each([
    [0, false],
    [1, true],
    [2, false],
    [3, true],
  ])("INVPCID type %i on a global page", async (type, remains) => {
    const t = await GuestCpu.create("long64");
    page(P | W | G)(t);
    t.control({ cr4: CR4.PAE | CR4.PGE });
    t.put64(At.DATA + 0x1000, 0n);
    t.put64(At.DATA + 0x1008, VA);
    t.set({ RBX: VA, RCX: BigInt(type), RDX: BigInt(At.DATA + 0x1000) });
    const clear = `48 c7 04 25 ${le(t.entry(VA))} 00 00 00 00`;
    t.code(`8b 03 ${clear} 66 0f 38 82 0a 8b 03 f4`);
    expect(t.runToHandler() !== 14).toBe(remains);
  });
});

describe("accesses that cross a page", () => {
  it("reads and writes both halves", async () => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(At.DATA), Pte.P | Pte.W);
    t.map(VA + 0x1000n, BigInt(At.DATA + 0x3000), Pte.P | Pte.W);
    t.put64(At.DATA + 0xff8, 0x1111_1111_2222_2222n);
    t.put64(At.DATA + 0x3000, 0x3333_3333_4444_4444n);
    t.set({ RBX: VA + 0xffdn });
    t.code("48 8b 03 48 f7 d0 48 89 03 f4"); // load; not; store
    t.runToHandler();
    expect(t.reg(Reg.RAX)).toBe(
      BigInt.asUintN(64, ~0x3333_4444_4444_1111_11n & ((1n << 64n) - 1n)),
    );
    expect(t.u64(At.DATA + 0xff8) >> 40n).toBe(0xeeeeeen);
    expect(t.u64(At.DATA + 0x3000) & 0xffffffffffn).toBe(~0x3344444444n & 0xffffffffffn);
  });

  it("changes nothing when the second page faults, and reports its start", async () => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(At.DATA), Pte.P | Pte.W);
    t.set({ RBX: VA + 0xffdn, RAX: ~0n });
    expect(t.code(STORE).runToHandler()).toBe(14);
    expect(t.cpu.cr2).toBe(VA + 0x1000n);
    expect(t.u64(At.DATA + 0xff8)).toBe(0n);
  });

  it("fetches an instruction from two pages", async () => {
    const t = await GuestCpu.create("long64");
    t.map(VA, BigInt(At.DATA), Pte.P);
    t.map(VA + 0x1000n, BigInt(At.DATA + 0x5000), Pte.P);
    t.bytes(At.DATA + 0xffc, "48 b8 88 77");
    t.bytes(At.DATA + 0x5000, "66 55 44 33 22 11 f4");
    t.set({ RBX: VA + 0xffcn });
    expect(t.code(JUMP).runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RAX)).toBe(0x1122334455667788n);
    t.put64(t.entry(VA + 0x1000n), 0n);
    t.cpu.syncSregs();
    expect(t.code(JUMP).runToHandler()).toBe(14);
    expect(t.cpu.cr2).toBe(VA + 0x1000n);
  });
});

describe("tables of two levels", () => {
  it("checks permissions and sets A and D", async () => {
    const t = await GuestCpu.create("paging32", { cpl: 3 });
    const table = t.u32(Number(t.cpu.cr3)) & ~0xfff;
    const entry = table + (At.DATA >> 12) * 4;
    t.put32(entry, At.DATA | 5);
    t.set({ RBX: BigInt(At.DATA) });
    expect(t.code("8b 03 89 03").runToHandler()).toBe(14);
    expect(t.stack(2)).toEqual([7n, BigInt(At.USER_CODE + 2)]);
    expect(t.u32(entry)).toBe(At.DATA | 0x25);
  });

  it("has pages of 4 MiB with PSE, at 40 bits", async () => {
    const slots = [{ gpa: gpa(0x1_0040_0000), size: 0x1000, readonly: false }];
    const t = await GuestCpu.create("paging32", { slots });
    t.put32(Number(t.cpu.cr3) + 4, 0x0040_2083); // bit 13 is bit 32 of the address
    t.control({ cr4: CR4.PSE });
    expect(t.cpu.translate(gva(0x400123n), "read")).toBe(0x1_0040_0123);
    t.put32(Number(t.cpu.cr3) + 4, 0x0060_2083); // bit 21 is reserved
    t.set({ RBX: 0x400000n });
    expect(t.code("8b 03").runToHandler()).toBe(14);
    expect(t.stack(1)).toEqual([9n]);
  });
});

describe("PAE tables", () => {
  it("has NX, and the top level as loaded with CR3", async () => {
    const t = await GuestCpu.create("pae");
    const top = Number(t.cpu.cr3);
    const directory = Number(t.u64(top) & ~0xfffn);
    t.put64(directory + 16, Pte.NX | 0x83n);
    t.set({ RBX: 0x400000n + BigInt(At.DATA) });
    t.bytes(At.DATA, "f4");
    expect(t.code(JUMP).runToHandler()).toBe(14);
    expect(t.stack(1)).toEqual([0x11n]);
    // A change of the top level counts from the next load of CR3 only.
    t.put64(top, 0n);
    t.code("8b 03 0f 20 d8 0f 22 d8");
    expect(t.run(2)).toBe(0);
    expect(t.reg(Reg.RAX)).toBe(BigInt(top));
  });

  it("refuses reserved bits of the top level with #GP", async () => {
    const t = await GuestCpu.create("pae");
    t.put64(Number(t.cpu.cr3) + 8, 0x67n);
    expect(t.code("0f 20 d8 0f 22 d8").runToHandler()).toBe(13);
  });

  it("wraps at 4 GiB", async () => {
    const t = await GuestCpu.create("protected32", {
      slots: [{ gpa: gpa(0xfffff000), size: 0x1000, readonly: false }],
    });
    t.put32(0, 0x55667788);
    t.set({ RBX: 0xfffffffen });
    expect(t.code("8b 03 f4").runToHandler()).toBeUndefined();
    expect(t.reg(Reg.RAX)).toBe(0x77880000n);
  });
});

describe("device memory", () => {
  const DEVICE = 0x1000_0000n;

  async function withDevice(code: string): Promise<GuestCpu> {
    const t = await GuestCpu.create("long64");
    t.map(DEVICE, DEVICE, Pte.P | Pte.W);
    t.map(DEVICE - 0x1000n, BigInt(At.DATA), Pte.P | Pte.W);
    return t.set({ RBX: DEVICE }).code(code);
  }

  it("leaves run() for a read and goes on with the completed value", async () => {
    const t = await withDevice("8b 43 10 f4");
    expect(t.run()).toBe(3);
    const { write, address, size } = t.cpu.exit;
    expect({ write, address, size }).toEqual({ write: false, address: 0x10000010, size: 4 });
    expect(t.rip).toBe(At.CODE);
    t.cpu.completeRead(0xdeadbeefn);
    t.runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0xdeadbeefn);
  });

  it("leaves for both accesses of a read-change-write", async () => {
    const t = await withDevice("83 03 05 f4"); // add dword [rbx],5
    expect(t.run()).toBe(3);
    t.cpu.completeRead(0x10n);
    expect(t.run()).toBe(3);
    const { write, data } = t.cpu.exit;
    expect({ write, data }).toEqual({ write: true, data: 0x15n });
    t.cpu.completeWrite();
    expect(t.runToHandler()).toBeUndefined();
  });

  it("splits a write that begins in RAM, and stores only when the device is done", async () => {
    const t = await withDevice("48 89 43 fd f4"); // mov [rbx-3],rax
    t.set({ RAX: 0x8877665544332211n });
    expect(t.run()).toBe(3);
    expect([t.cpu.exit.size, t.cpu.exit.data]).toEqual([4, 0x77665544n]);
    expect(t.u32(At.DATA + 0xffc)).toBe(0);
    t.cpu.completeWrite();
    expect(t.run()).toBe(3);
    expect([t.cpu.exit.size, t.cpu.exit.data, t.cpu.exit.address]).toEqual([1, 0x88n, 0x10000004]);
    t.cpu.completeWrite();
    t.runToHandler();
    expect(t.u32(At.DATA + 0xffc) >>> 8).toBe(0x332211);
  });

  it("makes writes to a read-only slot exits, and reads plain", async () => {
    const slots = [{ gpa: gpa(Number(DEVICE)), size: 0x1000, readonly: true }];
    const t = await GuestCpu.create("long64", { slots });
    t.map(DEVICE, DEVICE, Pte.P | Pte.W);
    t.set({ RBX: DEVICE }).code("8b 03 89 0b 8b 13 f4");
    expect(t.run()).toBe(3);
    expect(t.cpu.exit.write).toBe(true);
    t.cpu.completeWrite();
    expect(t.runToHandler()).toBeUndefined();
  });

  it("reads page tables outside of memory as absent", async () => {
    const t = await GuestCpu.create("long64");
    page(Pte.P)(t);
    t.put64(t.entry(VA, 2), DEVICE | 7n);
    t.set({ RBX: VA });
    expect(t.code(LOAD).runToHandler()).toBe(14);
    expect(t.stack(1)).toEqual([0n]);
  });
});

describe("dirty logging", () => {
  it("sets a page's bit on the first write, page tables included, and again when cleared", async () => {
    const t = await GuestCpu.create("long64", { log: true });
    const isDirty = (at: number): boolean =>
      ((t.vm.linear.u8[t.bitmap + (at >> 15)] ?? 0) & (1 << ((at >> 12) & 7))) !== 0;
    page(Pte.P | Pte.W)(t);
    t.set({ RBX: VA });
    t.code("8b 03 eb 00 89 03 eb fc"); // load; store again and again
    t.run(2);
    expect(isDirty(At.DATA)).toBe(false);
    expect(isDirty(t.entry(VA))).toBe(true); // the accessed bit
    t.run(2);
    expect(isDirty(At.DATA)).toBe(true);
    t.vm.linear.u8.fill(0, t.bitmap, t.bitmap + 4096);
    t.run(4);
    expect(isDirty(At.DATA)).toBe(false); // the write tag is still there
    t.vm.clearDirty();
    t.run(4);
    expect(isDirty(At.DATA)).toBe(true);
  });
});

describe("segment-free translation from outside", () => {
  it("changes nothing and honours rights", async () => {
    const t = await GuestCpu.create("long64");
    page(Pte.P | Pte.NX)(t);
    expect(t.cpu.translate(gva(VA + 5n), "read")).toBe(At.DATA + 5);
    expect(t.cpu.translate(gva(VA), "write")).toBeUndefined();
    expect(t.cpu.translate(gva(VA), "fetch")).toBeUndefined();
    expect(t.cpu.translate(gva(VA), "read", 3)).toBeUndefined();
    expect(t.cpu.translate(gva(1n << 47n), "read")).toBeUndefined();
    expect(t.u64(t.entry(VA)) & Pte.A).toBe(0n);
    expect(t.cpu.cr0 & CR0.WP).toBe(CR0.WP);
  });
});

describe("two pages side by side that belong into one entry of the TLB", () => {
  // 8 GiB: bits 12 to 22 and 19 to 29 turn over together.
  const BORDER = 0x2_0000_0000n;
  it.each([
    [2, "66 8b 03 f4", "66 89 03 f4"],
    [4, "8b 03 f4", "89 03 f4"],
    [8, LOAD, STORE],
    [16, "0f 10 03 f4", "0f 11 03 f4"],
  ])("an access of %i bytes across their border is not taken for one of the second", async (size, load, store) => {
    for (const decode of PATHS) {
      for (const code of [load, store]) {
        const t = await GuestCpu.create("long64", { decode });
        t.map(BORDER, BigInt(At.DATA), Pte.P | Pte.W | Pte.A | Pte.D);
        t.control({ cr4: CR4.PAE | CR4.OSFXSR });
        // The entry holds the second page, for reads and writes; the first is absent.
        t.set({ RBX: BORDER });
        t.code(`48 8b 03 48 89 03 48 bb ${le(BORDER - BigInt(size / 2), 8)} ${code}`);
        expect(t.runToHandler()).toBe(14);
        expect(t.cpu.cr2).toBe(BORDER - BigInt(size / 2));
      }
    }
  });
});

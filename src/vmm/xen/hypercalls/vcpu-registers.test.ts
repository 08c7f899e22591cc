/**
 * What a vCPU starts with after VCPUOP_initialise: every field of public/hvm/hvm_vcpu.h in its own register, and
 * what Xen refuses of each segment.
 */
import { describe, expect, it } from "vitest";
import { vcpu_hvm_x86_32, vcpu_hvm_x86_64 } from "../../../abi/xen/hvm-vcpu.js";
import { startState } from "./vcpu-context.js";

type Fields32 = Parameters<typeof vcpu_hvm_x86_32.encode>[0];
type Fields64 = Parameters<typeof vcpu_hvm_x86_64.encode>[0];

function context(mode: number, registers: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(128);
  new DataView(bytes.buffer).setUint32(0, mode, true);
  bytes.set(registers, 8);
  return bytes;
}

/** A 32-bit context whose code, stack and task are usable; DS and ES are null. */
function start32(fields: Partial<Fields32> = {}) {
  const segments = { cs_ar: 0xc9b, ss_ar: 0xc93, tr_ar: 0x8b, cs_limit: 0xffffffff };
  const zero = vcpu_hvm_x86_32.decode(new Uint8Array(120));
  const bytes = vcpu_hvm_x86_32.encode({ ...zero, ...segments, ...fields });
  return startState(context(0, bytes));
}

function start64(fields: Partial<Fields64> = {}) {
  const control = { cr0: 0x80000001n, cr4: 0x20n, efer: 0x100n };
  const zero = vcpu_hvm_x86_64.decode(new Uint8Array(112));
  return startState(context(1, vcpu_hvm_x86_64.encode({ ...zero, ...control, ...fields })));
}

const GENERAL = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "ip"] as const;
const SEGMENTS = ["cs", "ds", "ss", "es", "tr"] as const;
/** The flags that processors have (SDM volume 1, 3.4.3), beside the one that is always set. */
const FLAGS = [0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21];
const ALL_FLAGS = FLAGS.reduce((bits, flag) => bits | (1n << BigInt(flag)), 1n << 1n);

describe("general registers", () => {
  it("of a 32-bit context are each in their own, and flags that there are", () => {
    const values = GENERAL.map((name, i) => [`e${name}`, 0x80000001 + i] as const);
    const state = start32({ ...Object.fromEntries(values), eflags: 0xffffffff });
    const wide = GENERAL.map((name, i) => [`r${name}`, 0x80000001n + BigInt(i)] as const);
    expect(state?.regs).toEqual({ ...Object.fromEntries(wide), rflags: ALL_FLAGS });
    expect(start32({ cr0: 0x11, cr3: 0x2000, cr4: 0x30 })?.sregs).toMatchObject({
      ...{ cr0: 0x11n, cr3: 0x2000n, cr4: 0x30n },
    });
  });

  it("of a 64-bit context, too", () => {
    const values = Object.fromEntries(
      GENERAL.map((name, i) => [`r${name}`, 2n ** 40n + BigInt(i)]),
    );
    const state = start64({ ...values, rflags: 2n ** 64n - 1n, cr3: 0x3000n });
    expect(state?.regs).toEqual({ ...values, rflags: ALL_FLAGS });
    expect(state?.sregs).toMatchObject({ cr0: 0x80000001n, cr3: 0x3000n, cr4: 0x20n });
  });
});

describe("EFER", () => {
  const [LME, LMA, NX, PG] = [0x100n, 0x400n, 0x800n, 2 ** 31];
  // LMA is LME while there is paging (SDM volume 3, 2.2.1); LMA alone is refused.
  it.each([
    [0n, 0, 0n],
    [0n, PG, 0n],
    [LME, 0, LME],
    [LME, PG, LME | LMA],
    [LME | LMA, 0, LME],
    [LME | LMA, PG, LME | LMA],
    [NX, PG, NX],
    [NX | LME, PG, NX | LME | LMA],
    [LMA, 0, undefined],
    [LMA, PG, undefined],
  ])("of %d with CR0 %d is %d", (efer, cr0, expected) => {
    expect(start32({ efer, cr0 })?.sregs.efer).toBe(expected);
  });
});

describe("segments of a 32-bit context", () => {
  it("have each their base and limit, and no selector", () => {
    const bases = SEGMENTS.map((name, i) => [`${name}_base`, 0xf0000000 + i * 4096]);
    const limits = SEGMENTS.map((name, i) => [`${name}_limit`, 0x1000 + i]);
    const data = { ds_ar: 0x93, es_ar: 0x93 };
    const state = start32({ ...Object.fromEntries([...bases, ...limits]), ...data });
    for (const [i, name] of SEGMENTS.entries())
      expect(state?.sregs[name], name).toMatchObject({
        ...{ base: 0xf0000000n + BigInt(i * 4096), limit: 0x1000 + i, selector: 0 },
      });
  });

  const PLAIN = { type: 3, s: true, dpl: 0, present: true, avl: false, l: false, db: false };
  // Attributes as in bits 55:52 and 47:40 of a descriptor (SDM volume 3, 3.4.5).
  it.each([
    ["writable", 0x93, {}],
    ["read-only", 0x91, { type: 1 }],
    ["expand-down", 0x97, { type: 7 }],
    ["not accessed yet, which it is at once", 0x92, {}],
    ["readable code", 0x9b, { type: 11 }],
    ["available to software", 0x193, { avl: true }],
    ["L", 0x293, { l: true }],
    ["D/B", 0x493, { db: true }],
    ["G", 0x893, { g: true }],
  ])("DS: %s", (_, ar, changed) => {
    const expected = { ...PLAIN, g: false, unusable: false, ...changed };
    expect(start32({ ds_ar: ar })?.sregs.ds).toMatchObject(expected);
    expect(start32({ es_ar: ar })?.sregs.es).toMatchObject(expected);
  });

  it.each([0, 1, 2, 3])("have one level in CS and SS (%i), and DS and ES none above", (level) => {
    const at = (dpl: number, ar: number): number => ar | (dpl << 5);
    const code = { cs_ar: at(level, 0xc9b), ss_ar: at(level, 0xc93) };
    expect(start32(code)?.sregs).toMatchObject({ cs: { dpl: level }, ss: { dpl: level } });
    for (let other = 0; other < 4; other++) {
      const fits = expect.objectContaining({ dpl: other });
      const [ds, es] = [{ ds_ar: at(other, 0xc93) }, { es_ar: at(other, 0xc93) }];
      expect(start32({ ...code, ...ds })?.sregs.ds).toEqual(other <= level ? fits : undefined);
      expect(start32({ ...code, ...es })?.sregs.es).toEqual(other <= level ? fits : undefined);
      const isSame = other === level;
      expect(start32({ ...code, ss_ar: at(other, 0xc93) }) !== undefined).toBe(isSame);
    }
  });

  it.each([
    // CS
    ...[{ cs_ar: 0 }, { cs_ar: 0xc1b }, { cs_ar: 0xc8b }, { cs_ar: 0xc93 }],
    // SS: null, not present, a system segment, code, read-only
    ...[{ ss_ar: 0 }, { ss_ar: 0xc13 }, { ss_ar: 0xc83 }, { ss_ar: 0xc9b }, { ss_ar: 0xc91 }],
    // DS and ES: not present, a system segment, code that cannot be read
    ...[{ ds_ar: 0xc13 }, { ds_ar: 0xc83 }, { ds_ar: 0xc99 }],
    ...[{ es_ar: 0xc13 }, { es_ar: 0xc83 }, { es_ar: 0xc99 }],
    // TR: null, no system segment, not present, a 16-bit TSS, an LDT
    ...[{ tr_ar: 0 }, { tr_ar: 0x9b }, { tr_ar: 0x0b }, { tr_ar: 0x83 }, { tr_ar: 0x82 }],
    // bits that attributes do not have
    ...[
      { cs_ar: 0x1c9b },
      { ds_ar: 0x1000 },
      { ss_ar: 0x8c93 },
      { es_ar: 0x4000 },
      { tr_ar: 0x208b },
    ],
    // what must be zero
    ...[{ pad1: 2 ** 31 }, { pad2: [1] }, { pad2: [0, 1] }, { pad2: [0, 0, 1] }],
  ] satisfies Partial<Fields32>[])("%j is refused", (fields) => {
    expect(start32()).toBeDefined();
    expect(start32(fields)).toBeUndefined();
  });

  it.each([
    [0x49b, 0, 0],
    [0x49b, 0xffff, 0xffff],
    [0xc9b, 0, 0xfff],
    [0xc9b, 3, 0x3fff],
  ])("CS of attributes 0x%x, limit 0x%x: EIP up to 0x%x", (cs_ar, cs_limit, last) => {
    expect(start32({ cs_ar, cs_limit, eip: last })?.regs.rip).toBe(BigInt(last));
    expect(start32({ cs_ar, cs_limit, eip: last + 1 })).toBeUndefined();
  });
});

describe("a 64-bit context", () => {
  it("has flat segments: code of 64 bits, data, and a busy TSS of 104 bytes", () => {
    const flat = { base: 0n, limit: 0xffffffff, selector: 0, dpl: 0, s: true, g: true };
    const usable = { present: true, unusable: false, avl: false };
    const { sregs } = start64() ?? {};
    expect(sregs?.cs).toEqual({ ...flat, ...usable, type: 11, l: true, db: false });
    for (const name of ["ds", "es", "ss"] as const)
      expect(sregs?.[name]).toEqual({ ...flat, ...usable, type: 3, l: false, db: true });
    const task = { base: 0n, limit: 103, selector: 0, dpl: 0, type: 11, s: false, g: false };
    expect(sregs?.tr).toEqual({ ...task, ...usable, l: false, db: false });
  });

  it("starts at a canonical address of 48 bits", () => {
    for (const rip of [0n, 2n ** 47n - 1n, 2n ** 64n - 2n ** 47n, 2n ** 64n - 1n])
      expect(start64({ rip })?.regs.rip).toBe(rip);
    for (const rip of [2n ** 47n, 2n ** 48n, 2n ** 63n, 2n ** 64n - 2n ** 47n - 1n])
      expect(start64({ rip })).toBeUndefined();
  });
});

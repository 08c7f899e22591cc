import { describe, expect, it } from "vitest";
import { At, Flag, GuestCpu, le, Pte, Reg } from "./guest-cpu.fixture.js";

const CLD_REP_MOVSB = "fc f3 a4";
const HLT = "f4";
const REP_STOSQ = "f3 48 ab";
/** A page that no slot serves. */
const DEVICE = 0x500000;

const EXIT = { BUDGET: 0, HLT: 1, MMIO: 3, IRQ_WINDOW: 5 } as const;

/** Memory of the guest as a view. */
function ram(t: GuestCpu, at: number, length: number): Uint8Array {
  return t.vm.linear.u8.subarray(t.ram + at, t.ram + at + length);
}

/** A vCPU in 64-bit mode with a device page and numbered bytes in its data area. */
async function withDevice(): Promise<GuestCpu> {
  const t = await GuestCpu.create("long64");
  t.map(BigInt(DEVICE), BigInt(DEVICE), Pte.P | Pte.W | Pte.U);
  ram(t, At.DATA, 256).set(Array.from({ length: 256 }, (_, i) => i + 1));
  return t;
}

describe("repeated string instructions on a device", () => {
  it("write it element by element, each committed before the next", async () => {
    const t = await withDevice();
    t.set({ RSI: BigInt(At.DATA), RDI: BigInt(DEVICE), RCX: 3n }).code(`${CLD_REP_MOVSB} ${HLT}`);
    for (let i = 0; i < 3; i++) {
      expect(t.run()).toBe(EXIT.MMIO);
      const { write, address, size, data } = t.cpu.exit;
      expect([write, Number(address), size, data]).toEqual([true, DEVICE + i, 1, BigInt(i + 1)]);
      expect(t.reg(Reg.RCX)).toBe(BigInt(3 - i));
      t.cpu.completeWrite();
    }
    expect(t.run()).toBe(EXIT.HLT);
    expect(t.reg(Reg.RDI)).toBe(BigInt(DEVICE + 3));
  });

  it("read it element by element and do not replay an old answer", async () => {
    const t = await withDevice();
    const to = At.DATA + 0x1000;
    t.set({ RSI: BigInt(DEVICE), RDI: BigInt(to), RCX: 3n }).code(`fc f3 66 a5 ${HLT}`);
    for (let i = 0; i < 3; i++) {
      expect(t.run()).toBe(EXIT.MMIO);
      expect([t.cpu.exit.write, Number(t.cpu.exit.address)]).toEqual([false, DEVICE + 2 * i]);
      t.cpu.completeRead(BigInt(0x1111 * (i + 1)));
    }
    expect(t.run()).toBe(EXIT.HLT);
    expect([t.u16(to), t.u16(to + 2), t.u16(to + 4)]).toEqual([0x1111, 0x2222, 0x3333]);
  });

  it("copy from device to device: two exits for each element", async () => {
    const t = await withDevice();
    t.set({ RSI: BigInt(DEVICE), RDI: BigInt(DEVICE + 64), RCX: 2n }).code(`fc f3 a5 ${HLT}`);
    for (let i = 0; i < 2; i++) {
      expect(t.run()).toBe(EXIT.MMIO);
      expect(t.cpu.exit.write).toBe(false);
      t.cpu.completeRead(BigInt(100 + i));
      expect(t.run()).toBe(EXIT.MMIO);
      expect([t.cpu.exit.write, t.cpu.exit.data]).toEqual([true, BigInt(100 + i)]);
      t.cpu.completeWrite();
    }
    expect(t.run()).toBe(EXIT.HLT);
  });

  it("compare with it", async () => {
    const t = await withDevice();
    t.set({ RSI: BigInt(At.DATA), RDI: BigInt(DEVICE), RCX: 9n }).code(`fc f3 a6 ${HLT}`);
    for (const answer of [1n, 2n, 7n]) {
      expect(t.run()).toBe(EXIT.MMIO);
      t.cpu.completeRead(answer);
    }
    expect(t.run()).toBe(EXIT.HLT);
    expect(t.reg(Reg.RCX)).toBe(6n);
    expect(t.cpu.rflags & (Flag.ZF | Flag.CF)).toBe(Flag.CF);
  });
});

describe("repeated string instructions in pieces", () => {
  it("let an interrupt in and go on afterwards", async () => {
    const t = await GuestCpu.create("long64");
    const quads = 0x20000;
    t.set({ RDI: BigInt(At.DATA), RCX: BigInt(quads), RAX: 0x0102030405060708n });
    t.control({ rflags: 0x202n }).code(`fc ${REP_STOSQ} ${HLT}`);
    t.cpu.run(2);
    t.cpu.requestInterruptWindow = true;
    expect(t.run()).toBe(EXIT.IRQ_WINDOW);
    expect(t.rip).toBe(At.CODE + 1);
    const left = t.reg(Reg.RCX);
    expect(left).toBeGreaterThan(0n);
    expect(t.reg(Reg.RDI)).toBe(BigInt(At.DATA) + 8n * (BigInt(quads) - left));
    t.cpu.requestInterruptWindow = false;
    // Each piece is charged to the slice as if it were many instructions.
    let exit: number = EXIT.BUDGET;
    for (let slice = 0; slice < 100 && exit === EXIT.BUDGET; slice++) exit = t.run(1000);
    expect(exit).toBe(EXIT.HLT);
    expect(t.reg(Reg.RCX)).toBe(0n);
    expect(t.u64(At.DATA + quads * 8 - 8)).toBe(0x0102030405060708n);
    expect(t.u64(At.DATA + quads * 8)).toBe(0n);
  });

  it("give the budget back in the middle", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RDI: BigInt(At.DATA), RCX: 0x100000n, RAX: 0xffn }).code(`fc f3 aa ${HLT}`);
    let turns = 0;
    while (t.cpu.run(1) === EXIT.BUDGET) turns++;
    expect(turns).toBeGreaterThan(8);
    expect(ram(t, At.DATA, 0x100000).every((byte) => byte === 0xff)).toBe(true);
    expect(ram(t, At.DATA + 0x100000, 1)[0]).toBe(0);
  });

  it("trap after each element with TF", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RDI: BigInt(At.DATA), RCX: 3n, RAX: 0x55n }).code(`f3 aa ${HLT}`);
    for (let i = 1; i <= 3; i++) {
      t.control({ rflags: 2n | Flag.TF });
      expect(t.runToHandler()).toBe(1);
      expect(t.stack(1)).toEqual([BigInt(At.CODE + (i < 3 ? 0 : 2))]);
      expect(t.reg(Reg.RCX)).toBe(BigInt(3 - i));
      t.cpu.rip = BigInt(At.CODE);
      t.set({ RSP: BigInt(At.STACK) });
    }
  });

  it("see code that they overwrite behind themselves", async () => {
    const t = await GuestCpu.create("long64");
    // The copy replaces the INC EAX behind it by DEC EAX, in the same page of code.
    t.bytes(At.DATA, "ff c8");
    for (let turn = 0; turn < 2; turn++) {
      t.set({ RSI: BigInt(At.DATA), RDI: BigInt(At.CODE + 4), RCX: 2n, RAX: 5n });
      t.code(`fc f3 a4 90 ff c0 ${HLT}`);
      expect(t.run()).toBe(EXIT.HLT);
      expect(t.reg(Reg.RAX)).toBe(4n);
    }
  });
});

describe("overlapping copies", () => {
  const LENGTH = 0x3000;
  /** Copies in steps of `size` like the processor's loop. */
  function reference(bytes: Uint8Array, from: number, to: number, count: number, size: number) {
    for (let i = 0; i < count * size; i += size)
      bytes.copyWithin(to + i, from + i, from + i + size);
  }

  for (const [name, code, size] of [
    ["MOVSB", "f3 a4", 1],
    ["MOVSW", "f3 66 a5", 2],
    ["MOVSQ", "f3 48 a5", 8],
  ] as const) {
    it(`${name} at every distance`, async () => {
      const t = await GuestCpu.create("long64");
      for (const distance of [
        -4097, -9, -1, 0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 100, 4095, 4096,
      ]) {
        const bytes = ram(t, At.DATA, LENGTH * 2);
        bytes.set(Array.from({ length: LENGTH * 2 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
        const expected = bytes.slice();
        const from = 0x1234;
        const count = Math.floor(0x1800 / size);
        reference(expected, from, from + distance, count, size);
        t.set({
          RSI: BigInt(At.DATA + from),
          RDI: BigInt(At.DATA + from + distance),
          RCX: BigInt(count),
        });
        expect(t.code(`fc ${code} ${HLT}`).run(1000)).toBe(EXIT.HLT);
        expect(Buffer.compare(ram(t, At.DATA, LENGTH * 2), expected), `${distance}`).toBe(0);
      }
    });
  }
});

describe("string instructions in 16-bit code", () => {
  it("wrap SI and DI at 64 KiB", async () => {
    const t = await GuestCpu.create("real");
    ram(t, 0, 4).set([1, 2, 3, 4]);
    ram(t, 0xfffe, 2).set([8, 9]);
    t.set({ RSI: 0x7777fffen, RDI: 0x4000n, RCX: 0x88880005n }).code(`fc f3 a4 ${HLT}`);
    expect(t.run()).toBe(EXIT.HLT);
    expect([...ram(t, 0x4000, 6)]).toEqual([8, 9, 1, 2, 3, 0]);
    expect([t.reg(Reg.RSI), t.reg(Reg.RCX)]).toEqual([0x77770003n, 0x88880000n]);
  });

  it("fault where an element would cross the segment's end, with what went before done", async () => {
    const t = await GuestCpu.create("real");
    t.set({ RSI: 0x2000n, RDI: 0xfff9n, RCX: 9n }).code(`fc f3 66 a5 ${HLT}`);
    expect(t.runToHandler()).toBe(13);
    expect([t.reg(Reg.RCX), t.reg(Reg.RDI), t.reg(Reg.RSI)]).toEqual([8n, 0xfffdn, 0x2004n]);
    expect(t.stack(1)).toEqual([1n]);
  });
});

describe("page faults in string instructions", () => {
  it("leave the registers at the element that faulted", async () => {
    const t = await GuestCpu.create("long64");
    const hole = At.DATA + 0x2000;
    t.put64(t.entry(BigInt(hole)), 0n);
    t.set({ RSI: BigInt(At.DATA), RDI: BigInt(hole - 0x1004), RCX: 0x2000n });
    expect(t.code(`fc f3 a5 ${HLT}`).runToHandler()).toBe(14);
    expect(t.cpu.cr2).toBe(BigInt(hole));
    expect(t.reg(Reg.RCX)).toBe(0x2000n - 0x401n);
    expect(t.stack(2)).toEqual([2n, BigInt(At.CODE + 1)]);
    t.map(BigInt(hole), BigInt(hole), Pte.P | Pte.W);
    expect(t.code(`fc f3 a5 ${HLT} ${le(0)}`).run(1000)).toBe(EXIT.HLT);
  });
});

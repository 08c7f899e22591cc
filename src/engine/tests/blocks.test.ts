import { describe, expect, it } from "vitest";
import { gpa, hva } from "../../base/index.js";
import { EngineExit } from "../bridge/port.js";
import { At, CR0, CR4, Flag, GuestCpu, le, Reg } from "./guest-cpu.fixture.js";

/** Where slots end: nothing answers there but a device. */
const DEVICE = At.RAM;
const TOP = BigInt(At.STACK);

describe("SSE in cached blocks", () => {
  /** movaps xmm0,[rsi]; paddd xmm0,[rsi+16]; movaps [rdi],xmm0; hlt */
  const CODE = "0f 28 06 66 0f fe 46 10 0f 29 07 f4";
  const start = async (cr0: bigint, cr4: bigint) => {
    const t = await GuestCpu.create("long64");
    t.control({ cr0: t.cpu.cr0 | cr0, cr4: t.cpu.cr4 | cr4 });
    t.set({ RSI: BigInt(At.DATA), RDI: BigInt(At.DATA + 0x100) });
    for (let i = 0; i < 8; i++) t.put32(At.DATA + i * 4, 1000 + i);
    return t.code(CODE);
  };

  it("adds, with operands in memory", async () => {
    const t = await start(0n, CR4.OSFXSR);
    expect(t.runToHandler()).toBeUndefined();
    expect(t.u32(At.DATA + 0x100)).toBe(2004);
    expect(t.u32(At.DATA + 0x10c)).toBe(2010);
  });

  it("raises #NM when CR0.TS is set after the block was made, and #UD without CR4.OSFXSR", async () => {
    const t = await start(0n, CR4.OSFXSR);
    t.runToHandler();
    t.control({ cr0: t.cpu.cr0 | CR0.TS });
    t.cpu.rip = BigInt(At.CODE);
    expect(t.runToHandler()).toBe(7);
    t.control({ cr0: t.cpu.cr0 & ~CR0.TS, cr4: t.cpu.cr4 & ~CR4.OSFXSR });
    t.cpu.rip = BigInt(At.CODE);
    expect(t.runToHandler()).toBe(6);
  });

  it("sees that the guest itself sets and clears CR0.TS", async () => {
    const t = await start(0n, CR4.OSFXSR);
    // mov rax,cr0; or al,8; mov cr0,rax; clts; xorps xmm1,xmm1; mov cr0,rax; xorps xmm1,xmm1
    t.code("0f 20 c0 0c 08 0f 22 c0 0f 06 0f 57 c9 0f 22 c0 0f 57 c9");
    expect(t.runToHandler()).toBe(7);
    expect(Number(t.stack(1)[0])).toBe(At.CODE + 16);
  });

  it("raises #GP for a misaligned operand, before anything else", async () => {
    const t = await start(0n, CR4.OSFXSR);
    t.set({ RSI: BigInt(At.DATA + 4) });
    expect(t.runToHandler()).toBe(13);
    t.set({ RSI: BigInt(DEVICE + 0x1000004), RSP: TOP });
    t.cpu.rip = BigInt(At.CODE);
    expect(t.runToHandler()).toBe(13);
  });

  it("counts an instruction with an operand in memory once", async () => {
    const t = await start(0n, CR4.OSFXSR);
    t.runToHandler();
    expect(t.cpu.instructions).toBe(4);
    // padd of an unmapped operand faults with the count of the instructions before it.
    t.code("0f 28 06 66 0f fe 86 00 00 00 10 f4");
    expect(t.runToHandler()).toBe(14);
    expect(Number(t.stack(2)[1])).toBe(At.CODE + 3);
  });
});

describe("pairs of operations", () => {
  it("report a fault in the second one as its own", async () => {
    const t = await GuestCpu.create("long64");
    // pop rax; pop rbx: the second word lies behind the end of what is mapped.
    t.set({ RSP: BigInt(At.RAM - 8) });
    t.put64(At.RAM - 8, 0x1234n);
    t.gate(14, 8, At.HANDLERS + 14 * 16, 0xe, 0, 1);
    t.code("58 5b f4");
    expect(t.runToHandler()).toBe(14);
    expect(t.reg(Reg.RAX)).toBe(0x1234n);
    expect(t.stack(5).map(Number).slice(1, 5)).toEqual([At.CODE + 1, 8, 0x10002, At.RAM]);
  });

  it("go on after a page is first touched by the first one", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RAX: 5n, RBX: 7n });
    t.code("50 53 59 5a f4");
    t.runToHandler();
    expect([t.reg(Reg.RCX), t.reg(Reg.RDX)]).toEqual([7n, 5n]);
    expect(t.cpu.instructions).toBe(5);
  });
});

describe("the interrupt shadow of STI", () => {
  /** sti; mov eax,[rsi]; nop; nop: the load is a device access. */
  const CODE = "fb 8b 06 90 90 f4";

  it("is still there when the instruction behind it leaves for a device", async () => {
    const t = await GuestCpu.create("long64");
    t.map(BigInt(DEVICE), BigInt(DEVICE), 7n);
    t.set({ RSI: BigInt(DEVICE) });
    t.code(CODE);
    expect(t.run()).toBe(EngineExit.MMIO);
    expect(t.cpu.interruptShadow).toBe(1);
    t.cpu.completeRead(0x55n);
    t.cpu.requestInterruptWindow = true;
    expect(t.run()).toBe(EngineExit.IRQ_WINDOW);
    expect(t.reg(Reg.RAX)).toBe(0x55n);
    expect(t.rip).toBe(At.CODE + 3);
  });

  it("is over behind the next instruction", async () => {
    const t = await GuestCpu.create("long64");
    t.code("fb 90 90 90 f4");
    t.run(2);
    expect(t.cpu.interruptShadow).toBe(0);
    t.code("fb 90 90 90 f4");
    t.control({ rflags: 2n });
    t.run(1);
    expect(t.cpu.interruptShadow).toBe(1);
    expect(t.cpu.rflags & Flag.IF).toBe(Flag.IF);
  });
});

describe("code that changes behind the engine's back", () => {
  /** mov eax,n; hlt, without a word to the engine. */
  const put = (t: GuestCpu, n: number) =>
    t.vm.linear.u8.set([0xb8, n, 0, 0, 0, 0xf4], t.ram + At.CODE);

  it("is noticed once distrustCode() was called", async () => {
    const t = await GuestCpu.create("long64");
    t.code(`b8 ${le(1)} f4`);
    t.runToHandler();
    put(t, 2);
    t.vm.distrustCode();
    for (const n of [3, 4]) {
      put(t, n);
      t.vm.distrustCode();
      t.cpu.rip = BigInt(At.CODE);
      t.runToHandler();
      expect(t.reg(Reg.RAX)).toBe(BigInt(n));
    }
  });

  it("is noticed in each byte of a block of any length", async () => {
    const t = await GuestCpu.create("long64");
    const at = t.ram + At.CODE;
    const setsCarry = () => {
      t.vm.distrustCode();
      t.control({ rflags: 2n });
      t.cpu.rip = BigInt(At.CODE);
      t.runToHandler();
      return (t.cpu.rflags & Flag.CF) !== 0n;
    };
    // NOPs, one of which becomes STC.
    for (let length = 1; length <= 26; length++) {
      t.vm.linear.u8.fill(0x90, at, at + length);
      t.vm.linear.u8[at + length] = 0xf4;
      const seen = Array.from({ length }, (_, i) => {
        const before = setsCarry();
        t.vm.linear.u8[at + i] = 0xf9;
        const after = setsCarry();
        t.vm.linear.u8[at + i] = 0x90;
        return !before && after;
      });
      expect(seen).toEqual(seen.map(() => true));
    }
  });

  it("is noticed when the block is reached by a link", async () => {
    const t = await GuestCpu.create("long64");
    // At DATA: jmp to CODE and back, three times (ecx counts).
    t.vm.distrustCode();
    t.bytes(At.DATA, `ff c9 74 05 e9 ${le(At.CODE - At.DATA - 9)} f4`);
    t.bytes(At.CODE, `05 ${le(1)} e9 ${le(At.DATA - At.CODE - 10)}`);
    const run = () => {
      t.set({ RAX: 0n, RCX: 4n });
      t.cpu.rip = BigInt(At.DATA);
      t.runToHandler();
      return t.reg(Reg.RAX);
    };
    expect(run()).toBe(3n);
    t.vm.linear.u8[t.ram + At.CODE + 1] = 16;
    t.vm.distrustCode();
    expect(run()).toBe(48n);
  });
});

describe("a device access whose place becomes memory before it is answered", () => {
  const device = { gpa: gpa(DEVICE), size: 0x1000, readonly: false, dirtyBitmap: hva(0) };
  const add = (t: GuestCpu) => t.vm.insertSlot(1, { ...device, hva: t.bitmap });
  const remove = (t: GuestCpu) => t.vm.removeSlot(1);

  it("ends with the answer, and a write does not reach the memory", async () => {
    const t = await GuestCpu.create("long64");
    t.map(BigInt(DEVICE), BigInt(DEVICE), 7n);
    t.set({ RSI: BigInt(DEVICE), RBX: 9n });
    t.vm.linear.view.setUint32(t.bitmap, 0x32, true);
    t.code("8b 06 8b 16 89 1e 8b 3e f4");
    expect(t.run()).toBe(EngineExit.MMIO);
    add(t);
    t.cpu.completeRead(0x77n);
    expect(t.run(2)).toBe(EngineExit.BUDGET);
    expect([t.reg(Reg.RAX), t.reg(Reg.RDX)]).toEqual([0x77n, 0x32n]);
    remove(t);
    expect(t.run()).toBe(EngineExit.MMIO);
    add(t);
    t.cpu.completeWrite();
    t.runToHandler();
    expect(t.reg(Reg.RDI)).toBe(0x32n);
  });
});

describe("RDMSR and WRMSR of registers that the engine keeps", () => {
  it("leave run() when all MSRs are asked for", async () => {
    const t = await GuestCpu.create("long64");
    t.set({ RCX: 0xc0000100n, RAX: 0x1234n });
    t.code("0f 30 0f 32 f4"); // wrmsr; rdmsr: FS base
    t.cpu.msrExits = true;
    expect(t.run()).toBe(EngineExit.WRMSR);
    expect([t.cpu.exit.address, t.cpu.exit.data]).toEqual([0xc0000100, 0x1234n]);
    t.cpu.completeWrmsr();
    expect(t.run()).toBe(EngineExit.RDMSR);
    t.cpu.completeRdmsr(0x77n);
    t.cpu.msrExits = false;
    t.runToHandler();
    expect(t.reg(Reg.RAX)).toBe(0x77n);
    expect(t.cpu.segment(4).base).toBe(0n);
  });
});

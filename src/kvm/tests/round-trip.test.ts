import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { apicId, assert, hva } from "../../base/index.js";
import { Engine } from "../../engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../../hosts/sim/index.js";
import { Kvm } from "../index.js";
import { region } from "./machine.fixture.js";

/**
 * Guest code that sends an event to itself and takes the upcall, on the real engine: the vector of
 * the VM is level-triggered by evtchn_upcall_pending, so what counts is that byte at the moment an
 * interrupt can be taken.
 */

const CORE = new URL("../../../dist/engine/core.wasm", import.meta.url);
const PORT = 70;
const VECTOR = 0xf3;
const At = {
  GDT: 0x1000,
  IDT: 0x2000,
  TABLES: 0x10000,
  CODE: 0x20000,
  HANDLER: 0x21000,
  STACK: 0x30000,
  SHARED_INFO: 0x40000,
  VCPU_INFO: 0x41000,
  SEND: 0x42000,
  UPCALLS: 0x42008,
  ROUNDS: 0x42010,
  /** Sum of ROUNDS at each upcall. */
  SEEN: 0x42018,
  RAM: 0x100000,
};

/** mov edi, 4; mov esi, SEND; mov eax, 32; vmmcall; inc qword ptr [ROUNDS] */
const SEND = "bf04000000 be00200400 b820000000 0f01d9 48ff042510200400";
/** cmp qword ptr [ROUNDS], 50; jb to the start */
const FIFTY_TIMES = "48833c251020040032 72db";
const CLEAR = "c604250010040000"; // mov byte ptr [VCPU_INFO], 0
const STI_NOP = "fb 90";
const OUT = "e610";
/** Counts, adds ROUNDS to SEEN, clears pending bit and selector. */
const NOTE = `50 48ff042508200400 488b042510200400 480104251820040048c7042508080400 00000000
  48c704250810040000000000`;
/** cmp dword ptr [UPCALLS], 2; jb over CLEAR */
const UNLESS_FIRST = "833c250820040002 7208";
const IRETQ = "58 48cf";

const unhex = (text: string) => Buffer.from(text.replace(/\s+/g, ""), "hex");

async function play(code: string, handler: string, options: { if?: boolean; each?: boolean }) {
  assert(existsSync(CORE), "engine core missing: run node tools/build/engine.mjs");
  const clock = new VirtualClock();
  const engine = await Engine.compile(readFileSync(CORE), {
    decode: options.each === true ? "each" : "compiled",
  });
  const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock) });
  const vm = kvm.createVm();
  vm.createIrqchip();
  const ram = vm.linear.allocate(At.RAM) as number;
  vm.setUserMemoryRegion(region(0, 0, At.RAM, ram));
  vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000000 });
  vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
  vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(At.SHARED_INFO >> 12) });
  vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: VECTOR });
  const vcpu = vm.createVcpu(apicId(0));
  vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(At.VCPU_INFO) });
  const deliver = { port: PORT, vcpu: apicId(0), priority: 0xffffffff };
  vm.xen.setAttr({ type: "EVTCHN", sendPort: PORT, evtchnType: 5, flags: 0, deliver });
  const { view } = vm.linear;
  const quad = (at: number, value: bigint) => view.setBigUint64(ram + at, value, true);
  quad(At.GDT + 8, 0x00af9b000000ffffn);
  quad(At.TABLES, BigInt(At.TABLES + 0x1000) | 3n);
  quad(At.TABLES + 0x1000, 0x83n);
  quad(At.IDT + VECTOR * 16, BigInt(At.HANDLER & 0xffff) | 0x00028e0000080000n);
  view.setUint32(ram + At.SEND, PORT, true);
  vm.linear.u8.set(unhex(code), ram + At.CODE);
  vm.linear.u8.set(unhex(handler), ram + At.HANDLER);
  vm.linear.noteWrite(hva(ram), At.RAM);
  vcpu.setCpuid2(kvm.getSupportedCpuid());
  const sregs = vcpu.getSregs();
  const { cs, ds } = sregs;
  const flat = { base: 0n, limit: 0xffffffff, g: true };
  vcpu.setSregs({
    ...sregs,
    cs: { ...cs, ...flat, selector: 8, l: true, type: 11 },
    ss: { ...ds, ...flat, selector: 0 },
    gdt: { base: BigInt(At.GDT), limit: 15 },
    idt: { base: BigInt(At.IDT), limit: 0xfff },
    ...{ cr0: 0x80050033n, cr3: BigInt(At.TABLES), cr4: 0x220n, efer: 0x500n },
  });
  const rflags = options.if === false ? 2n : 0x202n;
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(At.CODE), rsp: BigInt(At.STACK), rflags });
  const exit = await vcpu.run();
  expect(exit).toMatchObject({ kind: "io", port: 0x10 });
  const read = (at: number) => Number(view.getBigUint64(ram + at, true));
  const result = { upcalls: read(At.UPCALLS), rounds: read(At.ROUNDS), seen: read(At.SEEN) };
  const { instructions } = vcpu;
  vm.close();
  return { ...result, instructions };
}

describe.each([
  false,
  true,
])("an event of a vCPU to itself (each instruction decoded: %s)", (each) => {
  it("comes right after the hypercall", async () => {
    const handler = NOTE + CLEAR + IRETQ;
    const first = await play(SEND + FIFTY_TIMES + OUT, handler, { each });
    // Before the round is counted: 0 + 1 + ... + 49.
    expect(first).toMatchObject({ upcalls: 50, rounds: 50, seen: 1225 });
    expect(await play(SEND + FIFTY_TIMES + OUT, handler, { each })).toEqual(first);
  });

  it("comes again at IRET when the guest leaves evtchn_upcall_pending set", async () => {
    const handler = NOTE + UNLESS_FIRST + CLEAR + IRETQ;
    const result = await play(SEND + OUT, handler, { each });
    expect(result).toMatchObject({ upcalls: 2, rounds: 1, seen: 0 });
  });

  it("waits for the interrupt flag", async () => {
    const handler = NOTE + CLEAR + IRETQ;
    const result = await play(SEND + STI_NOP + OUT, handler, { each, if: false });
    expect(result).toMatchObject({ upcalls: 1, rounds: 1, seen: 1 });
  });

  it("is gone when the guest clears evtchn_upcall_pending before", async () => {
    const handler = NOTE + CLEAR + IRETQ;
    const code = SEND + CLEAR + STI_NOP + OUT;
    expect(await play(code, handler, { each, if: false })).toMatchObject({ upcalls: 0, rounds: 1 });
  });
});

import { describe, expect, it } from "vitest";
import {
  KvmExitReason as Exit,
  KVM_CHECK_EXTENSION,
  KVM_CREATE_IRQCHIP,
  KVM_GET_REGS,
  KVM_RUN,
  KVM_SET_REGS,
  KVM_XEN_HVM_CONFIG,
  KvmCap,
  kvm_regs,
  kvm_xen_hvm_config,
} from "../kvm/index.js";
import { Door, err, field } from "./door.fixture.js";

async function machine(code: string, irqchip = false) {
  const door = await Door.open();
  const vm = door.vm();
  if (irqchip) expect(door.call(vm, KVM_CREATE_IRQCHIP)).toBe(0);
  const ram = door.slot(vm, 0, 0, 0x10000);
  door.put(ram + 0x1000n, code);
  const vcpu = door.vcpu(vm);
  door.realMode(vcpu.fd, 0x1000);
  return { door, vm, ram, ...vcpu };
}

const reason = (view: DataView): number => view.getUint32(field("exit_reason"), true);

function registers(door: Door, fd: number) {
  const bytes = new Uint8Array(kvm_regs.size);
  expect(door.call(fd, KVM_GET_REGS, bytes)).toBe(0);
  return kvm_regs.decode(bytes);
}

describe("KVM_RUN", () => {
  it("port output: the page describes it, data is in the second page", async () => {
    // mov al, 0x5a; out 0xe9, al; hlt
    const { door, fd, page, view } = await machine("b0 5a e6 e9 f4");
    expect(await door.run(fd)).toBe(0);
    expect(reason(view)).toBe(Exit.IO);
    expect(view.getUint8(field("io.direction"))).toBe(1);
    expect(view.getUint8(field("io.size"))).toBe(1);
    expect(view.getUint16(field("io.port"), true)).toBe(0xe9);
    expect(view.getUint32(field("io.count"), true)).toBe(1);
    expect(view.getBigUint64(field("io.data_offset"), true)).toBe(4096n);
    expect(page[4096]).toBe(0x5a);
    expect(await door.run(fd)).toBe(0);
    expect(reason(view)).toBe(Exit.HLT);
  });

  it("port input takes what the client left in the second page", async () => {
    // in ax, 0x60; hlt
    const { door, fd, page, view } = await machine("e5 60 f4");
    expect(await door.run(fd)).toBe(0);
    expect([reason(view), view.getUint8(field("io.direction"))]).toEqual([Exit.IO, 0]);
    page.set([0x34, 0x12], 4096);
    expect(await door.run(fd)).toBe(0);
    expect(registers(door, fd).rax).toBe(0x1234n);
  });

  it("MMIO reads and writes", async () => {
    // mov ax, 0xf000; mov ds, ax; mov eax, [0]; mov [4], eax; hlt
    const { door, fd, page, view } = await machine("b8 00f0 8ed8 66a1 0000 66a3 0400 f4");
    expect(await door.run(fd)).toBe(0);
    expect(reason(view)).toBe(Exit.MMIO);
    expect(view.getBigUint64(field("mmio.phys_addr"), true)).toBe(0xf0000n);
    expect(view.getUint32(field("mmio.len"), true)).toBe(4);
    expect(view.getUint8(field("mmio.is_write"))).toBe(0);
    page.set([1, 2, 3, 4], field("mmio.data"));
    expect(await door.run(fd)).toBe(0);
    expect(view.getBigUint64(field("mmio.phys_addr"), true)).toBe(0xf0004n);
    expect(view.getUint8(field("mmio.is_write"))).toBe(1);
    expect([...page.subarray(field("mmio.data"), field("mmio.data") + 4)]).toEqual([1, 2, 3, 4]);
    expect(await door.run(fd)).toBe(0);
    expect(reason(view)).toBe(Exit.HLT);
  });

  it("a Xen hypercall exits and takes its result from the page", async () => {
    // mov eax, 17; vmmcall; hlt
    const { door, vm, fd, view } = await machine("66 b8 11000000 0f01d9 f4", true);
    const config = kvm_xen_hvm_config.encode({ flags: 2, msr: 0x40000000 });
    expect(door.call(vm, KVM_XEN_HVM_CONFIG, config)).toBe(0);
    expect(await door.run(fd)).toBe(0);
    expect(reason(view)).toBe(Exit.XEN);
    expect(view.getUint32(field("xen.type"), true)).toBe(1);
    expect(view.getUint32(field("xen.u.hcall.longmode"), true)).toBe(0);
    expect(view.getUint32(field("xen.u.hcall.cpl"), true)).toBe(0);
    expect(view.getBigUint64(field("xen.u.hcall.input"), true)).toBe(17n);
    view.setBigUint64(field("xen.u.hcall.result"), 0x40011n, true);
    view.setUint8(field("immediate_exit"), 1);
    expect(await door.run(fd)).toBe(err("EINTR"));
    expect(registers(door, fd).rax).toBe(0x40011n);
    expect(registers(door, fd).rip).toBe(0x1009n);
    // The reason is left alone when nothing ran.
    expect(reason(view)).toBe(Exit.XEN);
  });

  it("interrupt() ends a run that halts in the kernel", async () => {
    const { door, fd, view } = await machine("f4", true);
    const run = door.run(fd);
    door.timers.arm(door.clock.monotonicNs() + 1e6, () => door.process.interrupt(fd));
    expect(await run).toBe(err("EINTR"));
    expect(reason(view)).toBe(Exit.INTR);
    expect(view.getUint8(field("ready_for_interrupt_injection"))).toBe(1);
  });

  it("an argument is refused, and a second run waits for the first", async () => {
    const { door, fd } = await machine("b0 01 e6 e9 b0 02 e6 e9 f4");
    expect(await door.process.ioctl(fd, 0xae80, 1n)).toBe(err("EINVAL"));
    const both = await Promise.all([door.run(fd), door.run(fd)]);
    expect(both).toEqual([0, 0]);
    expect(registers(door, fd).rax & 0xffn).toBe(2n);
  });

  it("other calls of the vCPU wait for the run, those of the VM do not", async () => {
    const { door, fd, vm } = await machine("eb fe");
    const regs = new Uint8Array(kvm_regs.size);
    const run = Promise.resolve(door.process.ioctl(fd, KVM_RUN));
    const order: string[] = [];
    const call = door.process.ioctl(fd, KVM_GET_REGS, regs);
    const unknown = door.process.ioctl(fd, 0xaefe, 0n);
    const second = door.process.ioctl(fd, KVM_RUN, 0n);
    expect([call, unknown, second].map((one) => typeof one)).toEqual([
      "object",
      "object",
      "object",
    ]);
    expect(door.process.ioctl(fd, 0x7801, 0n)).toBe(err("EINVAL"));
    expect(door.call(vm, KVM_CHECK_EXTENSION, BigInt(KvmCap.USER_MEMORY))).toBe(1);
    Promise.resolve(call).then(() => order.push("call"));
    run.then(() => order.push("run"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual([]);
    door.process.interrupt(fd);
    expect([await run, await call, await unknown]).toEqual([err("EINTR"), 0, err("EINVAL")]);
    expect(order).toEqual(["run", "call"]);
    expect(kvm_regs.decode(regs).rip).toBe(0x1000n);
    door.process.interrupt(fd);
    expect(await second).toBe(err("EINTR"));
  });

  it("registers in the page: stored when valid, taken when dirty", async () => {
    const { door, fd, view } = await machine("f4");
    view.setBigUint64(field("kvm_valid_regs"), 1n, true);
    expect(await door.run(fd)).toBe(0);
    expect(view.getBigUint64(field("s.regs.regs.rip"), true)).toBe(0x1001n);
    view.setBigUint64(field("s.regs.regs.rip"), 0x1000n, true);
    view.setBigUint64(field("s.regs.regs.rbx"), 77n, true);
    view.setBigUint64(field("kvm_dirty_regs"), 1n, true);
    expect(await door.run(fd)).toBe(0);
    expect(view.getBigUint64(field("kvm_dirty_regs"), true)).toBe(0n);
    expect(registers(door, fd).rbx).toBe(77n);
    view.setBigUint64(field("kvm_valid_regs"), 8n, true);
    expect(await door.run(fd)).toBe(err("EINVAL"));
  });

  it("without a local APIC, cr8 of the page goes in and comes out", async () => {
    const { door, fd, view } = await machine("f4 f4");
    view.setBigUint64(field("cr8"), 5n, true);
    expect(await door.run(fd)).toBe(0);
    expect(view.getBigUint64(field("cr8"), true)).toBe(5n);
    view.setBigUint64(field("cr8"), 16n, true);
    expect(await door.run(fd)).toBe(err("EINVAL"));
    expect(view.getBigUint64(field("apic_base"), true)).toBe(0xfee00900n);
  });

  it("guest and client see the same bytes, code that the client changes too", async () => {
    // inc byte [0x2000]; hlt
    const { door, fd, ram } = await machine("fe 06 0020 f4");
    door.put(ram + 0x2000n, "29");
    expect(await door.run(fd)).toBe(0);
    expect(door.process.read(ram + 0x2000n, 1)?.[0]).toBe(0x2a);
    door.put(ram + 0x1000n, "fe 0e");
    expect(door.call(fd, KVM_SET_REGS, kvm_regs.encode({ rip: 0x1000n, rflags: 2n }))).toBe(0);
    expect(await door.run(fd)).toBe(0);
    expect(door.process.read(ram + 0x2000n, 1)?.[0]).toBe(0x29);
  });
});

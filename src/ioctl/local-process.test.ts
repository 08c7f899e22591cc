import { describe, expect, it } from "vitest";
import {
  KVM_CREATE_IRQCHIP,
  KVM_CREATE_VCPU,
  KVM_GET_API_VERSION,
  KVM_IRQFD,
  KVM_SET_USER_MEMORY_REGION,
  KVM_XEN_HVM_GET_ATTR,
  KVM_XEN_HVM_SET_ATTR,
  KvmExitReason,
  kvm_irqfd,
  kvm_userspace_memory_region,
  kvm_xen_hvm_attr,
} from "../kvm/index.js";
import { Door, err, field } from "./door.fixture.js";

const region = (slot: number, gpa: number, bytes: number, address: bigint) =>
  kvm_userspace_memory_region.encode({
    slot,
    guest_phys_addr: BigInt(gpa),
    memory_size: BigInt(bytes),
    userspace_addr: address,
  });

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex");

describe("descriptors", () => {
  it("are the lowest free numbers; standard ones are open but nothing to KVM", async () => {
    const { process, system } = await Door.open();
    expect(system).toBe(3);
    expect(process.createEventfd()).toBe(4);
    expect(process.close(3)).toBe(0);
    expect(process.close(3)).toBe(err("EBADF"));
    expect(process.createEventfd(7)).toBe(3);
    expect(process.eventfdOf(3)?.count).toBe(7n);
    expect(process.eventfd(0)).toBe("EINVAL");
    expect(process.eventfd(99)).toBe("EBADF");
    expect(process.ioctl(0, KVM_GET_API_VERSION)).toBe(err("ENOTTY"));
    expect(process.ioctl(99, KVM_GET_API_VERSION)).toBe(err("EBADF"));
    expect(process.mmap(0, 4096)).toBe(err("ENODEV"));
  });

  it("run out with EMFILE", async () => {
    const door = await Door.open();
    let fd = 0;
    while (fd >= 0) fd = door.process.createEventfd();
    expect(fd).toBe(err("EMFILE"));
    expect(door.vm()).toBe(err("EMFILE"));
  });

  it("a VM lives as long as a descriptor of it or of a vCPU", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const ram = door.slot(vm, 0, 0, 0x2000);
    door.put(ram + 0x1000n, "e6 e9 f4");
    const vcpu = door.vcpu(vm);
    door.realMode(vcpu.fd, 0x1000);
    const copy = door.process.dup(vcpu.fd);
    expect(door.process.close(vm)).toBe(0);
    expect(door.process.close(vcpu.fd)).toBe(0);
    expect(await door.run(copy)).toBe(0);
    expect(vcpu.view.getUint32(field("exit_reason"), true)).toBe(KvmExitReason.IO);
    expect(door.process.close(copy)).toBe(0);
    expect(text(door.process.read(ram + 0x1000n, 3))).toBe("e6e9f4");
  });

  it("closing a vCPU ends the run that is under way", async () => {
    const door = await Door.open();
    const vm = door.vm();
    door.call(vm, KVM_CREATE_IRQCHIP);
    const ram = door.slot(vm, 0, 0, 0x2000);
    door.put(ram + 0x1000n, "f4");
    const vcpu = door.vcpu(vm);
    door.realMode(vcpu.fd, 0x1000);
    const run = door.run(vcpu.fd);
    door.process.close(vm);
    door.process.close(vcpu.fd);
    expect(await run).toBe(err("EINTR"));
  });
});

describe("client memory", () => {
  it("is zero at first, and ends where its mapping ends", async () => {
    const { process } = await Door.open();
    const at = process.mapAnonymous(0x2000);
    expect(text(process.read(at + 0x1ffcn, 4))).toBe("00000000");
    expect(process.read(at + 0x1ffdn, 4)).toBeUndefined();
    expect(process.write(at + 0x1ffen, Uint8Array.of(1, 2, 3))).toBe(false);
    expect(text(process.read(at + 0x1ffen, 2))).toBe("0102");
    process.unmap(at, 0x1000);
    expect(process.read(at, 1)).toBeUndefined();
    expect(text(process.read(at + 0x1ffen, 2))).toBe("0102");
    expect(process.mapAnonymous(0x1000, at)).toBe(at);
    expect(text(process.read(at + 0xffen, 4))).toBe("00000000");
  });

  it("keeps its content when a slot takes it, and slots of one mapping lie together", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const at = door.process.mapAnonymous(0x4000);
    door.put(at + 0x1000n, "01 02 03");
    expect(door.call(vm, KVM_SET_USER_MEMORY_REGION, region(0, 0, 0x1000, at + 0x1000n))).toBe(0);
    expect(door.call(vm, KVM_SET_USER_MEMORY_REGION, region(1, 0x8000, 0x4000, at))).toBe(0);
    expect(text(door.process.read(at + 0x1000n, 3))).toBe("010203");
  });

  it("belongs to one VM at a time, and is free again when that one is gone", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const at = door.slot(vm, 0, 0, 0x1000);
    door.put(at, "aa bb");
    const other = door.vm();
    const wanted = region(0, 0, 0x1000, at);
    expect(door.call(other, KVM_SET_USER_MEMORY_REGION, wanted)).toBe(err("ENOMEM"));
    door.process.close(vm);
    expect(door.call(other, KVM_SET_USER_MEMORY_REGION, wanted)).toBe(0);
    expect(text(door.process.read(at, 2))).toBe("aabb");
  });

  it("a slot over nothing works once something is mapped there", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const nothing = 0x5000_0000n;
    expect(door.call(vm, KVM_SET_USER_MEMORY_REGION, region(0, 0, 0x2000, nothing))).toBe(0);
    expect(door.process.read(nothing, 1)).toBeUndefined();
    expect(door.process.mapAnonymous(0x2000, nothing)).toBe(nothing);
    door.put(nothing + 0x1000n, "e6 e9 f4");
    const vcpu = door.vcpu(vm);
    door.realMode(vcpu.fd, 0x1000);
    expect(await door.run(vcpu.fd)).toBe(0);
    expect(vcpu.view.getUint32(field("exit_reason"), true)).toBe(KvmExitReason.IO);
    door.process.unmap(nothing + 0x1000n, 0x1000);
    expect(await door.run(vcpu.fd)).toBe(err("EFAULT"));
    expect(vcpu.view.getUint32(field("exit_reason"), true)).toBe(KvmExitReason.UNKNOWN);
    door.process.mapAnonymous(0x1000, nothing + 0x1000n);
    door.put(nothing + 0x1000n, "00 00 f4");
    expect(await door.run(vcpu.fd)).toBe(0);
    expect(vcpu.view.getUint32(field("exit_reason"), true)).toBe(KvmExitReason.HLT);
  });

  it("replaced pages are zero, for the guest's code too", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const ram = door.slot(vm, 0, 0, 0x3000);
    door.put(ram + 0x1000n, "e6 e9 eb fc");
    const vcpu = door.vcpu(vm);
    door.realMode(vcpu.fd, 0x1000);
    await door.run(vcpu.fd);
    door.process.replacePages(ram + 0x1000n, 0x1000);
    expect(text(door.process.read(ram + 0x1000n, 2))).toBe("0000");
    // add [bx+si], al up to the next page, where a HLT is.
    door.put(ram + 0x2000n, "f4");
    expect(await door.run(vcpu.fd)).toBe(0);
    expect(vcpu.view.getUint32(field("exit_reason"), true)).toBe(KvmExitReason.HLT);
  });

  it("an address that no slot uses can still be a Xen page, and comes back as given", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const page = door.process.mapAnonymous(0x1000);
    const attr = kvm_xen_hvm_attr.encode({ type: 6, u: { shared_info: { hva: page } } });
    expect(door.call(vm, KVM_XEN_HVM_SET_ATTR, attr)).toBe(0);
    const out = kvm_xen_hvm_attr.encode({ type: 6 });
    expect(door.call(vm, KVM_XEN_HVM_GET_ATTR, out)).toBe(0);
    expect(kvm_xen_hvm_attr.decode(out).u.shared_info.hva).toBe(page);
    // The wallclock was written there: its version is even and not zero.
    expect(text(door.process.read(page + 0x900n, 4))).toBe("02000000");
  });
});

describe("a vCPU's pages", () => {
  it("are shown in pieces, and every vCPU shows the same ring", async () => {
    const door = await Door.open();
    const vm = door.vm();
    const first = door.vcpu(vm, 0);
    const second = door.call(vm, KVM_CREATE_VCPU, 1n);
    expect(door.process.mmap(first.fd, 4096, 1)).toBe(err("EINVAL"));
    expect(door.process.mmap(first.fd, 4096, 12288)).toBe(err("EINVAL"));
    expect(door.process.mmap(vm, 4096)).toBe(err("ENODEV"));
    const port = door.process.mmap(first.fd, 4096, 4096) as Uint8Array;
    port[0] = 9;
    expect(first.page[4096]).toBe(9);
    const ring = door.process.mmap(second, 4096, 8192) as Uint8Array;
    ring[5] = 7;
    expect(first.page[8192 + 5]).toBe(7);
  });
});

describe("eventfds", () => {
  it("reach KVM by their descriptors and stay connected when those are closed", async () => {
    const door = await Door.open();
    const vm = door.vm();
    door.call(vm, KVM_CREATE_IRQCHIP);
    const fd = door.process.createEventfd();
    const eventfd = door.process.eventfdOf(fd);
    expect(door.call(vm, KVM_IRQFD, kvm_irqfd.encode({ fd, gsi: 4 }))).toBe(0);
    door.process.close(fd);
    eventfd?.signal();
    expect(eventfd?.count).toBe(0n);
  });
});

describe("the end of the process", () => {
  it("closes everything", async () => {
    const door = await Door.open();
    const vm = door.vm();
    door.vcpu(vm);
    door.process.exit();
    expect(door.process.close(vm)).toBe(err("EBADF"));
    expect(door.process.ioctl(0, KVM_GET_API_VERSION)).toBe(err("EBADF"));
  });
});

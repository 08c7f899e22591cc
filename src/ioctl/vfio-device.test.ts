import { expect, it } from "vitest";
import {
  KVM_CHECK_EXTENSION,
  KVM_CREATE_DEVICE,
  KVM_GET_DEVICE_ATTR,
  KVM_HAS_DEVICE_ATTR,
  KVM_SET_DEVICE_ATTR,
  kvm_create_device,
  kvm_device_attr,
} from "../kvm/index.js";
import { Door, err } from "./door.fixture.js";

const VFIO = 4;

/** KVM_CREATE_DEVICE: what it answers, and the descriptor in the structure. */
function create(door: Door, vm: number, flags = 0): { result: number; fd: number } {
  const bytes = kvm_create_device.encode({ type: VFIO, fd: 77, flags });
  const result = Number(door.process.ioctl(vm, KVM_CREATE_DEVICE, bytes));
  return { result, fd: kvm_create_device.decode(bytes).fd };
}

// Every answer below is that of Linux 6.12.117 and 7.2.12 to the same calls.
it("a VM has one VFIO device at a time; KVM_CREATE_DEVICE_TEST makes none", async () => {
  const door = await Door.open();
  const vm = door.vm();
  expect(create(door, vm, 1)).toEqual({ result: 0, fd: 77 });
  const { result, fd } = create(door, vm, 0xfffffffe);
  expect(result).toBe(0);
  expect(fd).not.toBe(77);
  expect(create(door, vm)).toEqual({ result: err("EBUSY"), fd: 77 });
  expect(create(door, vm, 1)).toEqual({ result: 0, fd: 77 });
  expect(create(door, door.vm()).result).toBe(0);
  door.process.close(fd);
  expect(create(door, vm).result).toBe(0);
});

it("no descriptor is a VFIO file", async () => {
  const door = await Door.open();
  const { process } = door;
  const { fd } = create(door, door.vm());
  const at = process.mapAnonymous(4096);
  const call = (request: number, group: number, attr: bigint, addr: bigint): unknown =>
    process.ioctl(fd, request, kvm_device_attr.encode({ flags: 1, group, attr, addr }));
  const answers = (attr: bigint, addr = at, group = 1): unknown[] => [
    call(KVM_HAS_DEVICE_ATTR, group, attr, addr),
    call(KVM_SET_DEVICE_ATTR, group, attr, addr),
    call(KVM_GET_DEVICE_ATTR, group, attr, addr),
  ];
  const named = (value: number): void => {
    process.write(at, new Uint8Array(new Int32Array([value]).buffer));
  };
  const [ebadf, einval, enoent, eperm] = [err("EBADF"), err("EINVAL"), err("ENOENT"), err("EPERM")];
  named(-1);
  expect([answers(1n), answers(2n)]).toEqual([
    [0, ebadf, eperm],
    [0, ebadf, eperm],
  ]);
  named(process.createEventfd());
  expect([answers(1n), answers(2n)]).toEqual([
    [0, einval, eperm],
    [0, enoent, eperm],
  ]);
  expect(answers(1n, 0n)).toEqual([0, err("EFAULT"), eperm]);
  const none = [err("ENXIO"), err("ENXIO"), eperm];
  expect([answers(3n), answers((1n << 32n) + 1n), answers(1n, at, 0)]).toEqual([none, none, none]);
  expect(process.ioctl(fd, KVM_GET_DEVICE_ATTR, 0n)).toBe(eperm);
  expect(process.ioctl(fd, KVM_SET_DEVICE_ATTR, 0n)).toBe(err("EFAULT"));
  expect(process.ioctl(fd, KVM_CHECK_EXTENSION, 0n)).toBe(err("ENOTTY"));
});

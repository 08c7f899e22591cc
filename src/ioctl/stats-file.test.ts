import { expect, it } from "vitest";
import { KVM_GET_STATS_FD, kvm_stats_desc, kvm_stats_header } from "../kvm/index.js";
import { Door, err } from "./door.fixture.js";

const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end));
};

/** All that a statistics file says: its name, and numbers by name. */
function contents(door: Door, fd: number): { id: string; numbers: Record<string, bigint> } {
  const read = (length: number, offset: number): Uint8Array => {
    const bytes = door.process.pread(fd, length, offset);
    if (typeof bytes === "number") throw new Error(`pread: ${bytes}`);
    return bytes;
  };
  const header = kvm_stats_header.decode(read(kvm_stats_header.size, 0));
  const { name_size, num_desc, id_offset, desc_offset, data_offset } = header;
  const id = text(read(name_size, id_offset));
  const numbers: Record<string, bigint> = {};
  const size = kvm_stats_desc.size + name_size;
  for (let i = 0; i < num_desc; i++) {
    const bytes = read(size, desc_offset + i * size);
    const { offset } = kvm_stats_desc.decode(bytes);
    const data = read(8, data_offset + offset);
    const value = new DataView(data.buffer, data.byteOffset).getBigUint64(0, true);
    numbers[text(bytes.subarray(kvm_stats_desc.size))] = value;
  }
  return { id, numbers };
}

it("KVM_GET_STATS_FD counts exits of a vCPU and pages of a VM", async () => {
  const door = await Door.open();
  const vm = door.vm();
  const ram = door.slot(vm, 0, 0, 0x10000);
  // out 0x80, al; hlt
  door.put(ram + 0x1000n, "e6 80 f4");
  const { fd } = door.vcpu(vm, 3);
  door.realMode(fd, 0x1000);
  await door.run(fd);
  await door.run(fd);
  const files = [vm, fd].map((of) => door.call(of, KVM_GET_STATS_FD));
  const [ofVm, ofVcpu] = files.map((file) => contents(door, file));
  expect(ofVm).toMatchObject({ id: "kvm-0", numbers: { pages_4k: 16n } });
  expect(ofVcpu?.id).toBe("kvm-0/vcpu-3");
  expect(ofVcpu?.numbers).toMatchObject({ io_exits: 1n, halt_exits: 1n, blocking: 0n });
  expect(ofVcpu?.numbers["exits"]).toBeGreaterThanOrEqual(2n);
  const [first = -1] = files;
  expect(door.process.pread(first, 8, 1 << 20)).toHaveLength(0);
  expect(door.process.pread(vm, 8, 0)).toBe(err("EINVAL"));
  expect(door.call(first, KVM_GET_STATS_FD)).toBe(err("ENOTTY"));
});

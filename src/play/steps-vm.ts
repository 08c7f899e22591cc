import { Errno, noAddressesForVm } from "../base/index.js";
import {
  KVM_CHECK_EXTENSION,
  KVM_CREATE_IRQCHIP,
  KVM_CREATE_VCPU,
  KVM_CREATE_VM,
  KVM_ENABLE_CAP,
  KVM_GET_DIRTY_LOG,
  KVM_SET_USER_MEMORY_REGION,
  KVM_XEN_HVM_CONFIG,
  KvmCap,
  kvm_dirty_log,
  kvm_enable_cap,
  kvm_userspace_memory_region,
  kvm_xen_hvm_config,
} from "../kvm/index.js";
import { argument, type Client, MAX_VCPUS } from "./client.js";
import { address, answer } from "./format.js";
import { hex, strtou32, strtoul, unhex } from "./numbers.js";

const PAGE = 4096n;
/** Bytes of the bitmap that `dirty` asks for. */
const BITMAP_BYTES = 0x10000;
/**
 * Bytes that `poke` writes at most.
 * @limit file | bytes that one poke writes | bytes | the rest is not written
 */
const MAX_POKE = 0x8000;
/**
 * A slot above this is not given memory of its own: the address is one that no mapping has.
 * @limit file | memory of a scenario's slot | bytes | the slot has an address that no mapping has
 */
const MAX_SLOT_BYTES = 2n ** 32n;

/** A step about a VM: the words of the line to what is printed after it. */
export type VmStep = (client: Client, words: readonly string[]) => string;

const cap: VmStep = (client, words) => {
  const fd = client.vm >= 0 ? client.vm : client.system;
  return answer(client.call(fd, KVM_CHECK_EXTENSION, strtoul(argument(client, words, 1))));
};

/**
 * KVM_CREATE_VM: a descriptor.
 * @throws HostError HOST_MEMORY where Linux would have made one: that is no answer of KVM.
 */
export function createVm(client: Client): number {
  const fd = client.call(client.system, KVM_CREATE_VM, 0n);
  if (fd === -Errno.ENOMEM) throw noAddressesForVm();
  return fd;
}

const vm: VmStep = (client) => {
  const fd = createVm(client);
  client.vm = Math.max(fd, -1);
  client.chip = "none";
  client.created = [];
  return answer(Math.min(fd, 0));
};

const irqchip: VmStep = (client) => {
  const result = client.call(client.vm, KVM_CREATE_IRQCHIP, 0n);
  if (result === 0) client.chip = "kernel";
  return answer(result);
};

/** Argument of KVM_ENABLE_CAP for an interrupt controller of which only the local APICs are KVM's. */
export const SPLIT_IRQCHIP: Uint8Array = kvm_enable_cap.encode({
  cap: KvmCap.SPLIT_IRQCHIP,
  args: [24n],
});

const splitirqchip: VmStep = (client) => {
  const result = client.callWith(client.vm, KVM_ENABLE_CAP, SPLIT_IRQCHIP.slice());
  if (result === 0) client.chip = "split";
  return answer(result);
};

const vcpu: VmStep = (client, words) => {
  const id = strtou32(argument(client, words, 1));
  const place = client.vcpus[id % MAX_VCPUS];
  const fd = client.call(client.vm, KVM_CREATE_VCPU, BigInt(id));
  if (place === undefined) return answer(fd);
  place.fd = Math.max(fd, -1);
  if (fd >= 0) {
    if (client.created.length < MAX_VCPUS) client.created.push(id);
    const pages = client.process.mmap(fd, client.runSize);
    if (typeof pages !== "number") place.run = pages;
  }
  return answer(Math.min(fd, 0));
};

function memoryFor(client: Client, id: number, size: bigint): bigint {
  const present = client.slots[id];
  if (present?.size === size) return present.address;
  return size > MAX_SLOT_BYTES ? -1n : client.process.mapAnonymous(Number(size));
}

const slot: VmStep = (client, words) => {
  const id = strtou32(argument(client, words, 1));
  const gpa = strtoul(argument(client, words, 2));
  const size = strtoul(argument(client, words, 3));
  const flags = words[4] === undefined ? 0 : strtou32(words[4]);
  const at = size === 0n ? 0n : memoryFor(client, id, size);
  const region = kvm_userspace_memory_region.encode({
    slot: id,
    flags,
    guest_phys_addr: gpa,
    memory_size: size,
    userspace_addr: at,
  });
  const result = client.callWith(client.vm, KVM_SET_USER_MEMORY_REGION, region);
  if (result === 0 && id < client.slots.length) {
    client.slots[id] = size === 0n ? undefined : { gpa, size, address: at, flags };
  }
  return answer(result);
};

const remap: VmStep = (client, words) => {
  const at = client.addressOf(strtoul(argument(client, words, 1)));
  if (at === 0n) client.process.mapAnonymous(Number(PAGE), 0n);
  else client.process.replacePages(at - (at % PAGE), Number(PAGE));
  return answer(0);
};

const poke: VmStep = (client, words) => {
  const at = client.addressOf(strtoul(argument(client, words, 1)));
  if (at === 0n) return answer(-Errno.EFAULT);
  client.store(at, unhex(words[2] ?? "", MAX_POKE));
  return answer(0);
};

const peek: VmStep = (client, words) => {
  const at = client.addressOf(strtoul(argument(client, words, 1)));
  if (at === 0n) return answer(-Errno.EFAULT);
  return ` = ${hex(client.load(at, Number(strtoul(argument(client, words, 2)))))}`;
};

const config: VmStep = (client, words) => {
  const number = (at: number) => strtoul(argument(client, words, at));
  const blobs =
    words[6] === undefined
      ? {}
      : {
          blob_addr_32: client.addressOf(number(3)),
          blob_size_32: Number(number(4) & 0xffn),
          blob_addr_64: client.addressOf(number(5)),
          blob_size_64: Number(number(6) & 0xffn),
        };
  const arg = kvm_xen_hvm_config.encode({
    flags: strtou32(argument(client, words, 1)),
    msr: strtou32(argument(client, words, 2)),
    ...blobs,
  });
  const result = client.callWith(client.vm, KVM_XEN_HVM_CONFIG, arg);
  if (result === 0) client.config = arg;
  return answer(result);
};

const dirty: VmStep = (client, words) => {
  const id = strtou32(argument(client, words, 1));
  const bitmapAt = client.scratch + BigInt(BITMAP_BYTES);
  client.store(bitmapAt, new Uint8Array(BITMAP_BYTES));
  const log = kvm_dirty_log.encode({ slot: id, $bitmap: { dirty_bitmap: bitmapAt } });
  const result = client.callWith(client.vm, KVM_GET_DIRTY_LOG, log);
  const known = client.slots[id];
  if (result !== 0 || known === undefined) return answer(result);
  const bitmap = client.load(bitmapAt, BITMAP_BYTES);
  const pages = Math.min(Number(known.size / PAGE), BITMAP_BYTES * 8);
  const written = Array.from({ length: pages }, (_, i) => i).filter(
    (i) => (((bitmap[i >> 3] as number) >> (i & 7)) & 1) !== 0,
  );
  return answer(0) + written.map((i) => ` ${address(known.gpa + BigInt(i) * PAGE)}`).join("");
};

const sleep: VmStep = (client, words) => {
  const microseconds = BigInt.asUintN(32, 1000n * strtoul(argument(client, words, 1)));
  client.time.pass(Number(microseconds) * 1000);
  return answer(0);
};

/** Steps about the system, the VM and its memory, by name. */
export const vmSteps: ReadonlyMap<string, VmStep> = new Map(
  Object.entries({
    cap,
    vm,
    irqchip,
    splitirqchip,
    vcpu,
    slot,
    remap,
    poke,
    peek,
    config,
    dirty,
    sleep,
  }),
);

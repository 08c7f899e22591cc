// @ts-check
/**
 * Attack on the binary door: random request numbers and structures, nearly valid ones among them, on
 * every kind of descriptor, with arguments that are bytes, addresses or nothing.
 */
import { inEpisodes } from "./episodes.mjs";
import { Finding } from "./world.mjs";

const PAGES = 64;

/**
 * @typedef {import("./types.js").Library} Library
 * @typedef {import("./values.mjs").Values} Values
 * @typedef {{ fd: number, page: Uint8Array }} Vcpu a descriptor and the pages of struct kvm_run
 */

/** Every ioctl number that the library knows. @param {Library} lib */
const numbersOf = (lib) =>
  Object.entries(lib).filter(
    ([name, value]) =>
      /^KVM_[A-Z0-9_]+$/.test(name) && typeof value === "number" && ((value >>> 8) & 0xff) === 0xae,
  );

/** An answer that cannot be a promise: that of any request but KVM_RUN. @param {unknown} answer */
function settled(answer) {
  if (typeof answer !== "number" || !Number.isInteger(answer))
    throw new Finding(`an ioctl answered ${String(answer)}`);
  return answer;
}

class Client {
  /** @type {Vcpu[]} */
  vcpus = [];

  /**
   * @param {Library} lib
   * @param {Values} v
   * @param {Parameters<InstanceType<Library["LocalProcess"]>["open"]>[0]} kvm
   * @param {InstanceType<Library["VirtualClock"]>} clock
   * @param {InstanceType<Library["HeapTimers"]>} timers
   */
  constructor(lib, v, kvm, clock, timers) {
    this.lib = lib;
    this.v = v;
    this.clock = clock;
    this.timers = timers;
    this.process = new lib.LocalProcess();
    this.numbers = numbersOf(lib);
    const { process } = this;
    this.system = process.open(kvm);
    this.vm = settled(process.ioctl(this.system, lib.KVM_CREATE_VM, 0n));
    this.memory = process.mapAnonymous(PAGES * 4096);
    this.guard = process.mapAnonymous(16 * 4096);
    process.write(this.guard, new Uint8Array(16 * 4096).fill(0xa5));
    if (v.chance(70)) process.ioctl(this.vm, lib.KVM_CREATE_IRQCHIP, 0n);
    this.slot(0, 0n, 0x20000n, this.memory);
    for (let i = 0; i < 2; i++) this.addVcpu(i);
    this.eventfds = [process.createEventfd(), process.createEventfd(3)];
    v.places = [0n, this.memory, this.guard, 0x10000n, 0x7f0000000000n];
  }

  /** @param {Library} lib @param {Values} v */
  static async open(lib, v) {
    const clock = new lib.VirtualClock();
    clock.virtual.advance(1000);
    const timers = new lib.HeapTimers(clock);
    const kvm = await lib.Kvm.open({ engine: lib.engine, clock, timers });
    return new Client(lib, v, kvm, clock, timers);
  }

  /** @param {number} id */
  addVcpu(id) {
    const fd = settled(this.process.ioctl(this.vm, this.lib.KVM_CREATE_VCPU, BigInt(id)));
    if (fd < 0) return;
    const page = this.process.mmap(fd, 12288, 0);
    if (typeof page !== "number") this.vcpus.push({ fd, page });
  }

  /** @param {number} id @param {bigint} gpa @param {bigint} size @param {bigint} address */
  slot(id, gpa, size, address, flags = 0) {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, id, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, gpa, true);
    view.setBigUint64(16, size, true);
    view.setBigUint64(24, address, true);
    return this.process.ioctl(this.vm, this.lib.KVM_SET_USER_MEMORY_REGION, bytes);
  }

  /** A structure for a request: random, or what KVM would give, changed a little. @param {number} request */
  argument(request) {
    const { v, process } = this;
    const size = (request >>> 16) & 0x3fff;
    const bytes = v.bytes(
      Math.max(1, v.chance(80) ? size + v.pick([0, 0, 0, 8, 64, 4096]) : v.below(6000)),
    );
    const view = new DataView(bytes.buffer);
    // Counts and flags come first in most of them.
    if (bytes.length >= 8 && v.chance(70)) view.setUint32(0, v.small(12), true);
    if (bytes.length >= 8 && v.chance(60)) view.setUint32(4, v.chance(80) ? 0 : v.narrow(), true);
    if (bytes.length >= 8 && v.chance(20))
      view.setBigUint64(v.below(bytes.length >> 3) * 8, this.address(), true);
    if (bytes.length >= 16 && v.chance(20))
      view.setUint32(
        8 + v.below((bytes.length - 8) >> 2) * 4,
        v.pick([...this.eventfds, this.vm, this.system, 999]),
        true,
      );
    switch (v.below(6)) {
      case 0: {
        const at = this.memory + BigInt(v.below(PAGES * 4096 - 64));
        process.write(at, bytes);
        return at;
      }
      case 1:
        return v.wide();
      case 2:
        return BigInt(v.small(64));
      default:
        return bytes;
    }
  }

  address() {
    return this.v.chance(80) ? this.memory + BigInt(this.v.below(PAGES) * 4096) : this.v.wide();
  }

  descriptor() {
    const { v } = this;
    const kind = v.below(20);
    if (kind < 8) return this.vm;
    if (kind < 17) return v.pick(this.vcpus).fd;
    if (kind < 18) return this.system;
    return v.chance(50) ? v.pick(this.eventfds) : v.small(20);
  }

  /** @param {Vcpu} vcpu */
  async run(vcpu, ns = 3000) {
    const { process, v, lib } = this;
    for (let i = 0; i < 3; i++) {
      const kick = this.timers.arm(this.clock.monotonicNs() + ns, () => process.interrupt(vcpu.fd));
      const result = await process.ioctl(vcpu.fd, lib.KVM_RUN, 0n);
      kick.cancel();
      if (result < 0) return result;
      // An answer to whatever the exit was: the union, and the data page of port accesses.
      if (v.chance(70)) vcpu.page.set(v.bytes(64), 32 + v.below(64));
      if (v.chance(50)) vcpu.page.set(v.bytes(16), 4096 + v.below(64));
    }
    return 0;
  }
}

/** @type {import("./episodes.mjs").Episode} */
async function episode(lib, v, outcomes, calls, trace) {
  const client = await Client.open(lib, v);
  const { process, numbers } = client;
  const count = (/** @type {string} */ what) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  for (let n = 0; n < calls; n++) {
    const vcpu = v.pick(client.vcpus);
    if (n % 100 === 0) {
      trace.push("run");
      if (v.chance(20)) vcpu.page.set(v.bytes(64), v.below(300));
      vcpu.page[1] = v.chance(10) ? 1 : 0;
      count(`run ${await client.run(vcpu)}`);
      vcpu.page[1] = 0;
      continue;
    }
    const [name, number] = v.pick(numbers);
    if (name === "KVM_RUN" || name === "KVM_CREATE_VM") continue;
    if (name === "KVM_CREATE_VCPU" && client.vcpus.length > 4) continue;
    const request = v.chance(95) ? number : (number ^ (1 << v.below(32))) >>> 0;
    if (request === lib.KVM_RUN) continue;
    const fd = client.descriptor();
    trace.push(`${name} ${request.toString(16)} on ${fd}`);
    if (trace.length > 20) trace.shift();
    const result = settled(process.ioctl(fd, request, client.argument(request)));
    count(result < 0 ? String(result) : "ok");
    // Descriptors that were made are not kept.
    if (result > 2 && name.includes("CREATE")) process.close(result);
    if (result > 2 && /STATS|MEMFD|DEVICE/.test(name)) process.close(result);
    if (n % 17 === 0) {
      const id = v.below(6);
      client.slot(
        id,
        BigInt(v.below(32) * 0x10000),
        v.chance(80) ? BigInt(v.below(8) * 4096) : 0n,
        client.address(),
        v.below(4),
      );
    }
    if (n % 37 === 0) process.replacePages(client.memory + BigInt(v.below(PAGES) * 4096), 4096);
    if (n % 41 === 0) process.eventfdOf(v.pick(client.eventfds))?.signal();
    if (n % 43 === 0) process.write(client.memory + BigInt(v.below(PAGES) * 4096), v.bytes(4096));
    if (n % 53 === 0) {
      client.clock.virtual.advance(v.below(100000));
      client.timers.runDue();
    }
  }
  await checkAlive(client);
  for (let fd = 3; fd < 40; fd++) process.close(fd);
  client.timers.runDue();
}

/** The VM goes on: its descriptors answer, and its vCPUs come back from KVM_RUN. @param {Client} client */
async function checkAlive(client) {
  const { process, lib, vcpus, vm } = client;
  const guard = process.read(client.guard, 16 * 4096);
  if (guard === undefined) throw new Finding("client memory is gone");
  const regs = new Uint8Array(144);
  for (const vcpu of vcpus) {
    if (process.ioctl(vcpu.fd, lib.KVM_GET_REGS, regs) !== 0)
      throw new Finding("KVM_GET_REGS fails");
    if (process.ioctl(vcpu.fd, lib.KVM_SET_REGS, regs) !== 0)
      throw new Finding("KVM_SET_REGS fails");
    vcpu.page.fill(0, 0, 32);
    await client.run(vcpu);
  }
  if (process.ioctl(vm, lib.KVM_CHECK_EXTENSION, 0n) !== 1)
    throw new Finding("the VM does not answer");
}

const EPISODE = 4000;

/** The attack: see {@link inEpisodes}. */
export const attackIoctls = inEpisodes("ioctl", EPISODE, episode);

// @ts-check
/**
 * A VM that is attacked: guest memory with guard areas around it, and the check that it still works
 * when all is over.
 */

const MIB = 1 << 20;
const GUARD = 0x10000;

/** Guard byte of an offset. */
const pattern = (/** @type {number} */ offset) => (offset * 31 + (offset >> 8) * 7 + 0x5a) & 0xff;

/** A finding: what was done is in the message. */
export class Finding extends Error {
  /** @override */
  name = "Finding";
}

/** @param {unknown} error */
export const stackOf = (error) => (error instanceof Error ? error.stack : String(error));

/**
 * @typedef {import("../../src/kvm/index.js").Vcpu} Vcpu
 * @typedef {import("../../src/kvm/index.js").KvmSregs} Sregs
 * @typedef {import("./types.js").Area} Area
 * @typedef {import("./types.js").Library} Library
 */

/** A VM on virtual time with areas of memory to make slots of, and guards around them. */
export class World {
  /** Bytes that no one may touch. @type {Area["hva"][]} */
  guards = [];
  /** Numbers of slots that may exist. */
  slots = new Set([0, 1, 3]);
  /** @type {Vcpu[]} */
  vcpus = [];

  /**
   * @param {Library} lib
   * @param {import("./values.mjs").Values} values
   * @param {Awaited<ReturnType<Library["Kvm"]["open"]>>} kvm
   * @param {InstanceType<Library["VirtualClock"]>} clock
   * @param {InstanceType<Library["HeapTimers"]>} timers
   */
  constructor(lib, values, kvm, clock, timers) {
    this.lib = lib;
    this.values = values;
    this.kvm = kvm;
    this.clock = clock;
    this.timers = timers;
    this.vm = kvm.createVm();
    this.eventfds = Array.from({ length: 4 }, () => new lib.EventFd());
    this.ram = this.#area(MIB);
    this.high = this.#area(0x10000);
    this.spare = this.#area(0x10000);
    this.areas = [this.ram, this.high, this.spare, this.#area(0x10000)];
    this.#guard();
  }

  /**
   * Makes a VM.
   * @param {Library} lib
   * @param {import("./values.mjs").Values} values
   * @param {"none" | "split" | "kernel"} irqchip
   * @param {number} vcpus
   */
  static async open(lib, values, irqchip, vcpus) {
    const clock = new lib.VirtualClock();
    clock.virtual.advance(1000);
    const timers = new lib.HeapTimers(clock);
    const kvm = await lib.Kvm.open({ engine: lib.engine, clock, timers });
    const world = new World(lib, values, kvm, clock, timers);
    if (irqchip === "kernel") world.vm.createIrqchip();
    if (irqchip === "split") world.vm.enableCap(121, [24]);
    world.slot(0, 0, world.ram);
    world.slot(1, 0xc0000000, world.high);
    for (let i = 0; i < vcpus; i++) {
      const vcpu = world.vm.createVcpu(lib.apicId(i));
      if (values.chance(80)) vcpu.setCpuid2(kvm.getSupportedCpuid());
      world.vcpus.push(vcpu);
    }
    values.places = [0n, 0x40000n, 0xc0000000n, 0xfee00000n, 0xfec00000n];
    return world;
  }

  /** An area of memory with a guard before it. @param {number} size @returns {Area} */
  #area(size) {
    this.#guard();
    return { hva: this.allocate(size), size };
  }

  /** Memory of the VM that no slot has yet. @param {number} size */
  allocate(size) {
    const hva = this.vm.linear.allocate(size);
    if (hva === undefined) throw new Finding("no memory is left");
    return hva;
  }

  /** Sets a slot over a whole area. @param {number} slot @param {number} gpa @param {Area} area */
  slot(slot, gpa, area, flags = 0) {
    const { hva, size } = area;
    const region = { slot, flags, guestPhysAddr: gpa, memorySize: size, userspaceAddr: hva };
    this.vm.setUserMemoryRegion(region);
  }

  #guard() {
    const hva = this.allocate(GUARD);
    const { u8 } = this.vm.linear;
    for (let i = 0; i < GUARD; i++) u8[hva + i] = pattern(i);
    this.guards.push(hva);
  }

  /** Whether every byte that no one may touch is as it was. */
  checkGuards() {
    const { u8 } = this.vm.linear;
    for (let i = 0; i < 0x1000; i++) {
      if (u8[i] !== 0) throw new Finding(`the engine's null page was written at ${i}`);
    }
    for (const hva of this.guards) {
      for (let i = 0; i < GUARD; i++) {
        if (u8[hva + i] !== pattern(i))
          throw new Finding(`guard written at 0x${(hva + i).toString(16)}`);
      }
    }
  }

  /** Runs a vCPU for at most so many nanoseconds of virtual time and answers what it asks. @param {Vcpu} vcpu */
  async run(vcpu, ns = 3000, exits = 4) {
    const { values } = this;
    for (let i = 0; i < exits; i++) {
      const kick = this.timers.arm(this.clock.monotonicNs() + ns, () => vcpu.kick());
      const exit = await vcpu.run();
      kick.cancel();
      if (exit.kind === "intr") return exit;
      if (exit.kind === "xen") exit.result = values.wide();
      if ("data" in exit && exit.data instanceof Uint8Array)
        exit.data.set(values.bytes(exit.data.length));
      if (exit.kind === "shutdown" || exit.kind === "internal-error") return exit;
    }
    return undefined;
  }

  /** The VM goes on: after a reset of its memory and a vCPU, a program of three bytes runs. */
  async checkAlive() {
    const { vm, values } = this;
    const area = this.spare;
    for (const slot of this.slots) {
      const gone = { slot, flags: 0, guestPhysAddr: 0, memorySize: 0, userspaceAddr: 0 };
      this.ignore(() => vm.setUserMemoryRegion(gone));
    }
    this.ignore(() => vm.xen.hvmConfig({ flags: 0, msr: 0 }));
    this.slot(3, 0x10000, area);
    this.#removeAreas();
    // mov al, 42; out 0x99, al
    vm.linear.u8.set([0xb0, 42, 0xe6, 0x99], area.hva);
    vm.invalidate(area.hva, 4);
    const [vcpu] = this.vcpus;
    if (vcpu === undefined) throw new Finding("the VM has no vCPU");
    vcpu.immediateExit = false;
    vcpu.requestInterruptWindow = false;
    const clean = { injected: false, nr: 0, hasErrorCode: false, errorCode: 0 };
    const none = { injected: false, nr: 0, soft: false, shadow: 0 };
    const nmi = { injected: false, pending: 0, masked: true };
    let last = "";
    // ENTER makes up to 63 accesses of memory that is not there before it is done.
    for (let i = 0; i < 80; i++) {
      this.ignore(() => vcpu.setMpState(0));
      vcpu.setSregs(realMode(vcpu.getSregs()));
      vcpu.setRegs({ ...vcpu.getRegs(), rip: 0n, rflags: 2n, rax: 0n, rcx: 1n });
      vcpu.setVcpuEvents({ exception: clean, interrupt: none, nmi, sipiVector: 0, flags: 7 });
      vcpu.setDebugregs({ db: [0n, 0n, 0n, 0n], dr6: 0xffff0ff0n, dr7: 0x400n });
      const kick = this.timers.arm(this.clock.monotonicNs() + 10000, () => vcpu.kick());
      const exit = await vcpu.run();
      kick.cancel();
      if (exit.kind === "io" && exit.port === 0x99 && exit.data[0] === 42) return;
      // What was under way first: an answer to it, and again. A repetition ends with its RCX.
      if ("data" in exit && exit.data instanceof Uint8Array)
        exit.data.set(values.bytes(exit.data.length));
      last = exit.kind;
    }
    throw new Finding(`the VM does not go on: ${last}`);
  }

  /** No area that KVM writes by itself is left: it could lie where the program is put. */
  #removeAreas() {
    const nowhere = 0xffff_ffff_ffff_ffffn;
    for (const { xen } of this.vcpus) {
      for (const type of /** @type {const} */ (["VCPU_INFO", "VCPU_TIME_INFO", "RUNSTATE_ADDR"])) {
        this.ignore(() => xen.setAttr({ type, gpa: nowhere }));
      }
    }
    for (const vcpu of this.vcpus) {
      const off = PV_AREAS.map((index) => ({ index, data: 0n }));
      for (const entry of off) this.ignore(() => vcpu.setMsrs([entry]));
    }
  }

  /**
   * Does something that may be refused; anything else that is thrown is a finding.
   * @template T
   * @param {() => T} action
   * @returns {T | undefined}
   */
  ignore(action) {
    try {
      return action();
    } catch (error) {
      if (error instanceof this.lib.KvmError) return undefined;
      throw error;
    }
  }
}

/** MSR_KVM_SYSTEM_TIME, its old number, MSR_KVM_ASYNC_PF_EN, _STEAL_TIME and _PV_EOI_EN. */
const PV_AREAS = [0x4b564d01, 0x12, 0x4b564d02, 0x4b564d03, 0x4b564d04];

/** Flat real mode at 0x10000. @param {Sregs} sregs @returns {Sregs} */
export function realMode(sregs) {
  const data = {
    ...{ base: 0n, limit: 0xffff, selector: 0, type: 3, present: true, dpl: 0 },
    ...{ db: false, s: true, l: false, g: false, avl: false, unusable: false },
  };
  return {
    ...sregs,
    cs: { ...data, base: 0x10000n, selector: 0x1000, type: 11 },
    ...{ ds: data, es: data, fs: data, gs: data, ss: data },
    tr: { ...data, type: 11, s: false },
    ldt: { ...data, type: 2, s: false },
    gdt: { base: 0n, limit: 0 },
    idt: { base: 0n, limit: 0x3ff },
    cr0: 0x10n,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    cr8: 0n,
    efer: 0n,
    apicBase: (sregs.apicBase & 0x100n) | 0xfee00800n,
    interruptBitmap: [0n, 0n, 0n, 0n],
  };
}

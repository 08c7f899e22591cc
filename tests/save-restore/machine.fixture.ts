/** A VM that runs guest.S, and a client that answers its exits; see the head of that file. */
import { readFileSync } from "node:fs";
import { KVM_XEN_INVALID, type KvmSegment } from "../../src/abi/kvm/index.js";
import { apicId, type Hva, hva } from "../../src/base/index.js";
import type { Engine } from "../../src/engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import { Kvm, type Vcpu, type VcpuExit, type Vm } from "../../src/kvm/index.js";

const CODE = readFileSync(new URL("guest.bin", import.meta.url));

/** Guest-physical places; those of the guest are in guest.S. */
export const At = {
  CODE: 0x10000,
  STACK: 0x30000,
  SHARED_INFO: 0x40000,
  /** vcpu_info of vCPU 1. */
  VCPU_INFO: 0x41080,
  TIME_INFO: 0x42000,
  RUNSTATE: 0x43fe8,
  STRUCT: 0x50000,
  LOG: 0x60000,
  IDT: 0x7e000,
  GDT: 0x7f000,
  TABLES: 0x80000,
} as const;

/** Bytes of RAM. */
export const RAM = 0x100000;

/** Operations of guest.S whose outcome depends on nothing outside of its vCPU. */
export const EVERYTHING = 0xffffffffn;
/** Operations by number. */
export const Op = { CROSS: 1n << 1n, POLL: 1n << 5n } as const;

const PRIORITY = 0xffffffff;
const MSR = 0x40000200;
const HVM_VECTOR = 0xf3;
const VCPU_VECTOR = 0xf4;
/** The GSI that raises port 50 of vCPU 0; the next one that of vCPU 1. */
const GSI = 30;

/** What a guest is started with. */
export interface Options {
  readonly vcpus: 1 | 2;
  readonly rounds: number;
  readonly operations: bigint;
  readonly irqchip: "kernel" | "split";
  /** How vCPU 1 hears of events: by a vector of its own, or by that of the VM. */
  readonly ownVector: boolean;
  readonly hva: boolean;
}

/** What the client keeps of a vCPU: it travels with the guest. */
export interface Device {
  reads: number;
  readonly trace: string[];
  ended: boolean;
}

/** The VM with its client. */
export class Machine {
  readonly clock = new VirtualClock();
  readonly timers = new HeapTimers(this.clock);
  readonly kvm: Kvm;
  readonly vm: Vm;
  readonly vcpus: Vcpu[] = [];
  readonly ram: Hva;
  readonly options: Options;
  devices: Device[];
  exits = 0;
  #stopping = false;
  #stopAtExit = Number.POSITIVE_INFINITY;

  private constructor(kvm: Kvm, vm: Vm, options: Options, time: [VirtualClock, HeapTimers]) {
    this.kvm = kvm;
    this.vm = vm;
    this.options = options;
    [this.clock, this.timers] = time;
    this.ram = this.vm.linear.allocate(RAM) ?? hva(0);
    this.devices = Array.from({ length: options.vcpus }, () => ({
      reads: 0,
      trace: [],
      ended: false,
    }));
  }

  /** An empty machine, as a client makes it before it starts or restores a guest. */
  static async create(engine: Engine, options: Options, startNs = 0): Promise<Machine> {
    const clock = new VirtualClock();
    clock.virtual.advance(startNs);
    const timers = new HeapTimers(clock);
    const kvm = await Kvm.open({ engine, clock, timers });
    const machine = new Machine(kvm, kvm.createVm(), options, [clock, timers]);
    machine.#setUp();
    return machine;
  }

  #setUp(): void {
    const { vm, options } = this;
    if (options.irqchip === "kernel") vm.createIrqchip();
    else vm.enableCap(121, [24]);
    vm.setUserMemoryRegion({
      slot: 0,
      flags: 0,
      guestPhysAddr: 0,
      memorySize: RAM,
      userspaceAddr: this.ram,
    });
    vm.xen.hvmConfig({ flags: 0x22, msr: MSR });
    const signature = { ebx: 0x566e6558, ecx: 0x65584d4d, edx: 0x4d4d566e };
    for (let i = 0; i < options.vcpus; i++) {
      const vcpu = vm.createVcpu(apicId(i * 2));
      const xen = { function: 0x40000000, index: 0, flags: 0, eax: 0x40000004, ...signature };
      vcpu.setCpuid2([
        ...this.kvm.getSupportedCpuid().filter((e) => e.function >>> 8 !== 0x400000),
        xen,
      ]);
      this.vcpus.push(vcpu);
    }
    this.route();
  }

  /** The parts of Xen's state that a client keeps itself. */
  route(): void {
    const { vm } = this;
    vm.setGsiRouting(
      this.vcpus.map((vcpu, i) => {
        return {
          gsi: GSI + i,
          type: "XEN_EVTCHN",
          port: 50 + i,
          vcpu: vcpu.id,
          priority: PRIORITY,
        };
      }),
    );
  }

  /** The outbound table. */
  connect(): void {
    for (const [i, vcpu] of this.vcpus.entries()) {
      for (const [base, evtchnType] of [
        [10, 5],
        [20, 2],
        [30, 5],
      ] as const) {
        const port = base + i;
        const deliver = { port, vcpu: vcpu.id, priority: PRIORITY };
        this.vm.xen.setAttr({ type: "EVTCHN", sendPort: port, evtchnType, flags: 0, deliver });
      }
    }
  }

  /** Loads the guest and puts the vCPUs at its start. */
  start(): void {
    const { vm, options } = this;
    const view = vm.linear.view;
    // Runstate takes a kvmclock of 0 for "never": no VM starts that early.
    this.clock.virtual.advance(1000);
    vm.linear.u8.set(CODE, this.ram + At.CODE);
    this.#tables();
    for (const port of [30, 31])
      view.setUint8(this.#at(At.SHARED_INFO + 0xa00 + (port >> 3)), 0xc0);
    vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    if (options.hva)
      vm.xen.setAttr({ type: "SHARED_INFO_HVA", hva: BigInt(this.#at(At.SHARED_INFO)) });
    else vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(At.SHARED_INFO >> 12) });
    vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: HVM_VECTOR });
    vm.xen.setAttr({ type: "XEN_VERSION", xenVersion: 0x40011 });
    vm.xen.setAttr({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: true });
    this.connect();
    for (const [i, vcpu] of this.vcpus.entries()) this.#startVcpu(vcpu, i);
  }

  #startVcpu(vcpu: Vcpu, i: number): void {
    const { options } = this;
    const info = i === 0 ? At.SHARED_INFO : At.VCPU_INFO;
    vcpu.setMpState(0);
    if (options.hva) vcpu.xen.setAttr({ type: "VCPU_INFO_HVA", hva: BigInt(this.#at(info)) });
    else vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(info) });
    vcpu.xen.setAttr({ type: "VCPU_TIME_INFO", gpa: BigInt(At.TIME_INFO + i * 32) });
    vcpu.xen.setAttr({ type: "RUNSTATE_ADDR", gpa: BigInt(At.RUNSTATE + i * 0x1000) });
    vcpu.xen.setAttr({ type: "VCPU_ID", vcpuId: i });
    vcpu.xen.setAttr({ type: "TIMER", port: 40 + i, priority: PRIORITY, expiresNs: 0n });
    if (i === 1 && options.ownVector)
      vcpu.xen.setAttr({ type: "UPCALL_VECTOR", vector: VCPU_VECTOR });
    const flat: KvmSegment = {
      ...{ base: 0n, limit: 0xffffffff, selector: 0x10, type: 3, present: true, dpl: 0 },
      ...{ db: true, s: true, l: false, g: true, avl: false, unusable: false },
    };
    const sregs = vcpu.getSregs();
    vcpu.setSregs({
      ...sregs,
      ...{ ds: flat, es: flat, fs: flat, gs: flat, ss: flat },
      cs: { ...flat, selector: 8, type: 11, db: false, l: true },
      gdt: { base: BigInt(At.GDT), limit: 23 },
      idt: { base: BigInt(At.IDT), limit: 0xfff },
      cr0: 0x80010033n,
      cr3: BigInt(At.TABLES),
      cr4: 0x620n,
      efer: 0xd01n,
    });
    const at = At.STRUCT + i * 0x1000;
    const other = options.vcpus === 1 ? 0 : At.STRUCT + (1 - i) * 0x1000;
    vcpu.setRegs({
      ...vcpu.getRegs(),
      rip: this.#code(0),
      rflags: 2n,
      rsp: BigInt(At.STACK + i * 0x8000),
      rdi: BigInt(i),
      rsi: BigInt(at),
      rdx: BigInt(other),
      r8: BigInt(info),
      r9: BigInt(At.LOG + i * 0x8000),
      rcx: BigInt(options.rounds),
      r10: options.operations,
    });
  }

  /** An address out of the table at the start of the guest. */
  #code(entry: number): bigint {
    return this.vm.linear.view.getBigUint64(this.#at(At.CODE + entry * 8), true);
  }

  #at(gpa: number): number {
    return this.ram + gpa;
  }

  #tables(): void {
    const view = this.vm.linear.view;
    const put = (gpa: number, value: bigint): void => view.setBigUint64(this.#at(gpa), value, true);
    put(At.GDT + 8, 0x00af9b000000ffffn);
    put(At.GDT + 16, 0x00cf93000000ffffn);
    const vectors = [6, 13, 14, 2, 0x41, 0x42, HVM_VECTOR, VCPU_VECTOR];
    for (const [i, vector] of vectors.entries()) {
      const offset = this.#code(i + 1);
      const low = (offset & 0xffffn) | (8n << 16n) | (0x8e00n << 32n) | ((offset >> 16n) << 48n);
      put(At.IDT + vector * 16, low);
      put(At.IDT + vector * 16 + 8, offset >> 32n);
    }
    put(At.TABLES, BigInt(At.TABLES + 0x1003));
    for (let i = 0; i < 4; i++)
      put(At.TABLES + 0x1000 + i * 8, BigInt(At.TABLES + 0x2003 + i * 0x1000));
    for (let i = 0; i < 2048; i++) put(At.TABLES + 0x2000 + i * 8, BigInt(i * 0x200000) | 0x83n);
  }

  /** Runs until the guest has ended (true), or until a stop that was asked for (false). */
  async run(): Promise<boolean> {
    this.#stopping = false;
    await Promise.all(this.vcpus.map((vcpu, i) => this.#drive(vcpu, this.devices[i] as Device)));
    return this.devices.every((device) => device.ended);
  }

  /** Asks all vCPUs to leave run() with nothing under way. */
  stop(): void {
    this.#stopping = true;
    for (const vcpu of this.vcpus) vcpu.kick();
  }

  /** Asks for a stop after so many more exits. */
  stopAfterExits(count: number): void {
    this.#stopAtExit = this.exits + count;
  }

  async #drive(vcpu: Vcpu, device: Device): Promise<void> {
    while (!device.ended) {
      vcpu.immediateExit = this.#stopping;
      const exit = await vcpu.run();
      if (exit.kind === "intr") {
        if (this.#stopping) return;
        continue;
      }
      this.#answer(device, exit);
      if (++this.exits === this.#stopAtExit) this.stop();
    }
  }

  #answer(device: Device, exit: VcpuExit): void {
    const fill = (data: Uint8Array, place: number): void => {
      for (let i = 0; i < data.length; i++)
        data[i] = (place * 7 + device.reads * 31 + i * 13) & 0xff;
      device.reads++;
    };
    const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");
    switch (exit.kind) {
      case "io":
        if (exit.direction === "in") fill(exit.data, exit.port);
        else if (exit.port === 0x30) device.ended = true;
        else if (exit.port === 0x31) this.vm.irqLine(GSI + (exit.data[0] as number), true);
        device.trace.push(`${exit.direction} ${exit.port} ${hex(exit.data)}`);
        return;
      case "mmio":
        if (!exit.isWrite) fill(exit.data, exit.physAddr);
        device.trace.push(`mmio ${exit.isWrite} ${exit.physAddr} ${hex(exit.data)}`);
        return;
      case "xen":
        exit.result = exit.params.reduce((sum, each) => sum * 3n + each, exit.input);
        device.trace.push(
          `xen ${exit.longmode} ${exit.cpl} ${exit.input} ${exit.params.join(" ")}`,
        );
        return;
      default:
        throw new Error(
          `exit ${JSON.stringify(exit, (_, v) => (typeof v === "bigint" ? `${v}` : v))}`,
        );
    }
  }

  /** A copy of guest memory. */
  memory(from = 0, length = RAM): Uint8Array {
    return this.vm.linear.u8.slice(this.ram + from, this.ram + from + length);
  }
}

/** KVM_XEN_INVALID_GPA. */
export const INVALID = KVM_XEN_INVALID;

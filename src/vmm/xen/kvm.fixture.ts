/** KVM objects that note what they are asked and keep attributes, for tests of the user half. */
import { KVM_XEN_INVALID, KvmMpState, type KvmRegs, type KvmSregs } from "../../abi/kvm/index.js";
import { type ApicId, apicId, type Gpa, type Gva, gpa, type Hva } from "../../base/index.js";
import {
  KvmError,
  type KvmXenHvmAttr,
  type KvmXenVcpuAttr,
  type VcpuXen,
  type VmXen,
} from "../../kvm/api/index.js";
import { LinearMemory } from "../../memory/index.js";
import type { TimerHandle } from "../../ports/index.js";
import { memoryMap } from "../machine/layout.js";
import type { Backend } from "./backends/backend.js";
import { Domain } from "./domain.js";
import { Hypercalls } from "./hypercalls/dispatch.js";
import type { XenVcpu, XenVm } from "./kvm-objects.js";
import { GuestPhysmap } from "./overlay.js";

const MIB = 1 << 20;

/** One armed timer of the fake time. */
interface Armed {
  readonly deadline: number;
  readonly callback: () => void;
}

/** A clock that tests move, with its timers. */
export class FakeTime {
  now = 1000;
  readonly armed = new Set<Armed>();

  monotonicNs(): number {
    return this.now;
  }

  realtimeNs(): number {
    return this.now;
  }

  arm(deadline: number, callback: () => void): TimerHandle {
    const timer = { deadline, callback };
    this.armed.add(timer);
    return { cancel: () => this.armed.delete(timer) };
  }

  nextDeadlineNs(): number | undefined {
    return undefined;
  }

  runDue(): number {
    const due = [...this.armed].filter((timer) => timer.deadline <= this.now);
    for (const timer of due) {
      this.armed.delete(timer);
      timer.callback();
    }
    return due.length;
  }
}

/** Keeps the last value of each attribute. */
class Attributes<A extends { readonly type: string }> {
  readonly values = new Map<string, A>();
  readonly sets: A[] = [];

  set(attr: A): void {
    this.sets.push(attr);
    this.values.set(attr.type, attr);
  }
}

/** A domain with two vCPUs (APIC ids 0 and 4), 16 MiB, identity-mapped guest-virtual memory. */
export function makeDomain(devices: readonly Backend[] = [], apicIds: readonly number[] = [0, 4]) {
  const time = new FakeTime();
  const linear = new LinearMemory(new WebAssembly.Memory({ initial: 1 }), 4096);
  const notes: string[] = [];
  const hvm = new Attributes<KvmXenHvmAttr>();
  const hvmDefaults: Record<string, unknown> = {
    LONG_MODE: { type: "LONG_MODE", longMode: false },
  };
  const xen = {
    hvmConfig: () => undefined,
    setAttr: (attr: KvmXenHvmAttr) => hvm.set(attr),
    getAttr: (type: string) => hvm.values.get(type) ?? hvmDefaults[type],
    evtchnSend: ({ port, vcpu }) => {
      notes.push(`send ${port} to ${vcpu}`);
    },
  } as VmXen;
  const vm: XenVm = {
    linear,
    xen,
    setUserMemoryRegion: () => undefined,
    signalMsi: (msi) => notes.push(`msi ${msi.addressLo.toString(16)} ${msi.data}`),
    getClock: () => ({ clock: BigInt(time.now), flags: 0, realtime: 0n, hostTsc: 0n }),
  };
  const ram = linear.allocate(16 * MIB) as Hva;
  const physmap = new GuestPhysmap(vm, [{ gpa: gpa(0), size: 16 * MIB, hva: ram }]);
  const vcpus = apicIds.map((id) => new FakeVcpu(apicId(id), notes));
  const lines: string[] = [];
  const shutdowns: number[] = [];
  const written: number[] = [];
  const note = (text: string): void => {
    lines.push(text);
  };
  const domain = new Domain({
    vm,
    physmap,
    vcpus,
    clock: time,
    timers: time,
    log: { warn: note, debug: note },
    debugLog: { warn: note, debug: note },
    console: { write: (bytes) => written.push(...bytes), onData: () => undefined },
    memmap: memoryMap(16 * MIB),
    memoryBytes: 16 * MIB,
    uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
    name: "test",
    consoleGfn: 0xfeff8,
    xenstoreGfn: 0xfeff9,
    devices,
    onShutdown: (reason) => shutdowns.push(reason),
    onSuspend: () => notes.push("suspend"),
  });
  const hypercalls = new Hypercalls(domain);
  const continuations: number[][] = [];
  /** Makes a hypercall on a vCPU, and its continuations; numbers may be given for 64-bit values. */
  const call = (
    nr: number,
    args: readonly (number | bigint)[],
    options: { vcpu?: number; cpl?: number; compat?: boolean } = {},
  ): number => {
    const params = Array.from({ length: 6 }, (_, i) => BigInt.asUintN(64, BigInt(args[i] ?? 0)));
    const exit = {
      kind: "xen" as const,
      longmode: options.compat !== true,
      cpl: options.cpl ?? 0,
      input: BigInt(nr),
      params: params as [bigint, bigint, bigint, bigint, bigint, bigint],
      result: 0n,
    };
    const vcpu = domain.vcpus.get(options.vcpu ?? 0);
    if (vcpu === undefined) throw new Error("no such vCPU");
    for (;;) {
      const result = hypercalls.dispatch(vcpu, exit);
      if (typeof result === "bigint") return Number(BigInt.asIntN(64, result));
      continuations.push(result.args.map(Number));
      exit.params.splice(0, result.args.length, ...result.args);
    }
  };
  const take = (): string[] => notes.splice(0);
  return { domain, call, take, time, hvm, vcpus, lines, shutdowns, written, continuations };
}

/** A vCPU whose guest-virtual addresses below 1 GiB are guest-physical ones. */
export class FakeVcpu implements XenVcpu {
  readonly id: ApicId;
  readonly attributes = new Attributes<KvmXenVcpuAttr>();
  readonly xen: VcpuXen;
  readonly #notes: string[];
  mpState: number;
  immediateExit = false;
  /** Units of work that were charged. */
  work = 0;

  constructor(id: ApicId, notes: string[]) {
    this.id = id;
    this.#notes = notes;
    this.mpState = id === 0 ? KvmMpState.RUNNABLE : KvmMpState.UNINITIALIZED;
    const zero = { state: 0n, stateEntryTime: 400n, timeRunning: 100n, timeRunnable: 0n };
    const runstate = { ...zero, timeBlocked: 0n, timeOffline: 300n };
    const defaults: Record<string, unknown> = {
      VCPU_INFO_HVA: { type: "VCPU_INFO_HVA", hva: 0n },
      UPCALL_VECTOR: { type: "UPCALL_VECTOR", vector: 0 },
      TIMER: { type: "TIMER", port: 0, priority: 0xffffffff, expiresNs: 0n },
      RUNSTATE_DATA: { type: "RUNSTATE_DATA", runstate },
    };
    this.xen = {
      setAttr: (attr: KvmXenVcpuAttr) => {
        const crosses =
          "gpa" in attr && attr.gpa !== KVM_XEN_INVALID && Number(attr.gpa & 0xfffn) + 32 > 4096;
        if (attr.type === "VCPU_TIME_INFO" && crosses) throw new KvmError(22, "crosses a page");
        this.attributes.set(attr);
      },
      getAttr: (type: string) => this.attributes.values.get(type) ?? defaults[type],
    } as VcpuXen;
  }

  charge(work: number): void {
    this.work += work;
  }
  runNow(): void {}
  kick(): void {
    this.#notes.push(`kick ${this.id}`);
  }

  translate(address: Gva): Gpa | undefined {
    return address < 0x40000000n ? gpa(Number(address)) : undefined;
  }

  getMpState(): number {
    return this.mpState;
  }

  setMpState(mpState: number): void {
    this.mpState = mpState;
  }

  regs = {} as KvmRegs;
  sregs = {} as KvmSregs;

  getRegs(): KvmRegs {
    return this.regs;
  }

  setRegs(regs: KvmRegs): void {
    this.regs = regs;
  }

  getSregs(): KvmSregs {
    return this.sregs;
  }

  /** What special registers were set to. */
  readonly sregsSet: KvmSregs[] = [];

  setSregs(sregs: KvmSregs): void {
    this.sregs = sregs;
    this.sregsSet.push(sregs);
  }

  nmi(): void {
    this.#notes.push(`nmi ${this.id}`);
  }
}

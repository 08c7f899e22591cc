/** One run of a machine, from its start to its end or reboot: VM, memory, devices, vCPUs. */
import { KvmXenHvmConfig } from "../../abi/kvm/index.js";
import { Msr } from "../../abi/x86/index.js";
import { XEN_CPUID_FIRST_LEAF } from "../../abi/xen/cpuid.js";
import { HvmParam } from "../../abi/xen/hvm.js";
import { Shutdown } from "../../abi/xen/sched.js";
import { apicId, assert, gpa } from "../../base/index.js";
import type {
  EngineCounters,
  KvmApi,
  VcpuApi,
  VcpuExit,
  VcpuExitIo,
  VcpuExitXen,
  VmApi,
} from "../../kvm/api/index.js";
import type { MemoryRegion } from "../../memory/index.js";
import type { ByteStream, TraceSink } from "../../ports/index.js";
import { SLEEP_CONTROL_PORT } from "../firmware/tables.js";
import type { BootPlan } from "../loader/boot.js";
import { refuse } from "../loader/errors.js";
import { PortBus } from "../platform/bus.js";
import { DEBUG_PORT, DebugPort } from "../platform/debug-port.js";
import { POWER_PORTS, PowerRegisters } from "../platform/power.js";
import { Uart } from "../platform/uart/model.js";
import type { Backend } from "../xen/backends/backend.js";
import { DebugText } from "../xen/debug-text.js";
import { Domain, type DomainVcpu, GUEST_DOMID } from "../xen/domain.js";
import { Continuation } from "../xen/hypercalls/call.js";
import { continueCall } from "../xen/hypercalls/continuation.js";
import { Hypercalls } from "../xen/hypercalls/dispatch.js";
import { XEN_VERSION } from "../xen/hypercalls/xen-version.js";
import { GuestPhysmap } from "../xen/overlay.js";
import { bootInstance } from "./boot-instance.js";
import type { Hardware, MachinePorts } from "./config.js";
import { vcpuCpuid } from "./cpuid.js";
import type { DebuggedInstance, DebugTarget } from "./debug-target.js";
import { GENERATION_GSI, GenerationNotice } from "./generation.js";
import { ExactSide } from "./instance-exact.js";
import {
  type InstanceParts,
  type InstanceState,
  type PutPages,
  readInstance,
  writeInstance,
} from "./instance-state.js";
import { createVm, ioapicRoutes } from "./instance-vm.js";
import { LastWords } from "./last-words.js";
import {
  ACPI_AREA,
  CONSOLE_GFN,
  GENERATION_PAGE,
  memoryMap,
  ramRanges,
  XENSTORE_GFN,
} from "./layout.js";
import { Parking } from "./parking.js";
import { Standstill, Suspension } from "./suspension.js";

/** The machine has no such timer; Linux reads its counter 100,000 times until it knows. */
const PIT = { first: 0x40, count: 4 } as const;
/** Ports and interrupt of the first serial port of a PC. */
const UART = { port: 0x3f8, count: 8, gsi: 4 } as const;
/** MTRRs enabled, write-back by default: as Xen starts a PVH guest. */
const MTRR_DEF_TYPE = 0xc06n;
/** Revision without the RDSEED flaw of this processor family: Linux complains about older ones. */
const MICROCODE = 0x0b404108n;
/** HWCR.TscFreqSel: the TSC counts at the P0 frequency. Linux complains without it on AMD. */
const HWCR_TSC_FREQ_SEL = 1n << 24n;

/** Why an instance ended. */
export type InstanceEnd =
  | { readonly kind: "poweroff" }
  | { readonly kind: "reboot" }
  | { readonly kind: "crash"; readonly reason: string }
  | { readonly kind: "stopped" };

/** Who waits for the guest to suspend itself. */
interface PendingSuspend {
  resolve(): void;
  reject(error: Error): void;
}

/** Who the guest is, and what it has. */
export interface InstanceGuest {
  readonly uuid: Uint8Array;
  /** Its VM generation ID. */
  readonly generation: Uint8Array;
  readonly devices: readonly Backend[];
}

export class Instance {
  readonly #config: Hardware;
  readonly #ports: MachinePorts;
  readonly #vm: VmApi;
  readonly #vcpus: readonly VcpuApi[];
  /** RAM without overlays, the ACPI tables, and the page of the generation ID. */
  readonly #ram: readonly MemoryRegion[];
  /** MSRs that KVM names for saving. */
  readonly #msrs: readonly number[];
  readonly #domain: Domain;
  readonly #generation: Uint8Array;
  readonly #notice: GenerationNotice;
  readonly #hypercalls: Hypercalls;
  readonly #bus = new PortBus();
  readonly #words: LastWords;
  readonly #debugTexts: DebugText[] = [];
  /** The guest has written to its console. */
  #spoke = false;
  #uart: Uart | undefined;
  #end: InstanceEnd | undefined;
  #suspension: Suspension | undefined;
  #pause: Standstill | undefined;
  readonly #parking: Parking;
  /** Who holds vCPUs and hears of breakpoints. */
  debugger: DebugTarget | undefined;
  /** What each vCPU's last run() gave, or gives. */
  readonly #running: Promise<VcpuExit>[] = [];
  /** Told when the guest suspends itself. Without it, such a guest goes on at once. */
  #onSuspended: PendingSuspend | undefined;
  /** Instructions at the time of {@link close}. */
  #retired: number | undefined;
  #counted: EngineCounters | undefined;
  /** How it is saved in the middle of everything, and goes on so. */
  readonly exact: ExactSide;
  #resolve: (end: InstanceEnd) => void = () => undefined;

  /**
   * Builds a machine that {@link boot} or {@link load} makes ready to run.
   * @throws HostError MEMORY_TOO_LARGE when the memory cannot be had, HOST_MEMORY when not even addresses can.
   */
  constructor(kvm: KvmApi, config: Hardware, ports: MachinePorts, guest: InstanceGuest) {
    this.#config = config;
    this.#ports = ports;
    this.#words = new LastWords(ports.log);
    this.#parking = new Parking(config.cpus);
    this.#vm = createVm(kvm);
    this.#vm.createIrqchip();
    this.#vm.floatPorts?.(PIT.first, PIT.count);
    this.#vm.setGsiRouting(ioapicRoutes());
    this.#vm.xen.hvmConfig({
      flags: KvmXenHvmConfig.INTERCEPT_HCALL | KvmXenHvmConfig.EVTCHN_SEND,
      msr: XEN_CPUID_FIRST_LEAF,
    });
    this.#vm.xen.setAttr({ type: "XEN_VERSION", xenVersion: XEN_VERSION });
    this.#msrs = kvm.getMsrIndexList();
    this.#ram = this.#allocateMemory();
    const physmap = new GuestPhysmap(this.#vm, this.#ram);
    this.#vcpus = this.#createVcpus(kvm);
    this.#domain = new Domain({
      vm: this.#vm,
      physmap,
      vcpus: this.#vcpus,
      clock: ports.clock,
      timers: ports.timers,
      log: ports.log,
      debugLog: this.#words,
      console: this.#hvc(),
      memmap: memoryMap(config.memoryBytes),
      memoryBytes: config.memoryBytes,
      uuid: guest.uuid,
      name: "kvm-xen",
      consoleGfn: CONSOLE_GFN,
      xenstoreGfn: XENSTORE_GFN,
      devices: guest.devices,
      onShutdown: (reason) => this.#shutdown(reason),
      onSuspend: () => this.#suspend(),
    });
    this.#generation = guest.generation;
    this.#notice = new GenerationNotice({
      ...{ clock: ports.clock, timers: ports.timers },
      setLine: (level) => this.#vm.irqLine(GENERATION_GSI, level),
    });
    this.#domain.params.set(HvmParam.VM_GENERATION_ID_ADDR, BigInt(GENERATION_PAGE.addr));
    this.#debugTexts.push(this.#domain.debugText);
    this.#hypercalls = new Hypercalls(this.#domain);
    this.#attachDevices();
    this.exact = new ExactSide({
      parts: () => ({ ...this.#parts, debugTexts: this.#debugTexts, words: this.#words }),
      obstacle: () => this.#obstacle,
      pause: () => this.pause(),
      spoke: (spoke = this.#spoke) => {
        this.#spoke = spoke;
        return spoke;
      },
    });
  }

  /** Fills an instance that has not run with a guest that starts. Nothing is complete when `isOver` ends it early. */
  boot(plan: BootPlan, isOver: () => boolean): Promise<void> {
    const [{ memory }, vcpus, { loop }] = [this.#domain, this.#vcpus, this.#ports];
    const generation = { id: this.#generation, gsi: GENERATION_GSI };
    const uart = this.#uart === undefined ? {} : { uart: UART };
    return bootInstance({ memory, vcpus, generation, ...uart }, plan, { loop, isOver });
  }

  /** Instructions that all vCPUs have retired; 0 where they are not counted. */
  get instructions(): number {
    return this.#retired ?? this.#vcpus.reduce((sum, vcpu) => sum + (vcpu.instructions ?? 0), 0);
  }

  /** What the engine has done beside plain execution, where that is counted. */
  get engineCounters(): EngineCounters | undefined {
    return this.#counted ?? this.#vm.engineCounters;
  }

  /** Who is told what happens; undefined: nobody. */
  set trace(sink: TraceSink | undefined) {
    this.#vm.trace = sink;
    this.#domain.trace = sink;
  }

  /** What backends get. */
  get domain(): Domain {
    return this.#domain;
  }

  /** What a debugger works on. */
  get debugged(): DebuggedInstance {
    const whenOutside = async (): Promise<void> => {
      await Promise.all(this.#running);
    };
    return { vm: this.#vm, vcpus: this.#vcpus, memory: this.#domain.memory, whenOutside };
  }

  /** Runs until the end. Rejects when this program has a defect. Call once. */
  run(): Promise<InstanceEnd> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      if (this.#end !== undefined) resolve(this.#end);
      for (const [id, vcpu] of this.#vcpus.entries()) {
        this.#runVcpu(vcpu, this.#domain.vcpus.get(id) as DomainVcpu).catch(reject);
      }
      this.exact.goOn();
    });
  }

  /** Ends the run from outside. */
  stop(): void {
    this.#finish({ kind: "stopped" });
  }

  /** As the reset button: the guest is not asked. */
  reset(): void {
    this.#finish({ kind: "reboot" });
  }

  /** Stops all vCPUs behind the guest's back; time goes on. */
  pause(): void {
    this.#pause ??= new Standstill();
    for (const vcpu of this.#vcpus) vcpu.kick();
  }

  /** What keeps it from being saved exactly. */
  get #obstacle(): string | undefined {
    if (this.#notice.isPending) return "a guest that is to hear of its restore";
    return this.standstill ?? (this.debugger && "a debugger");
  }

  /** Ends a pause. @returns false when there is none. */
  unpause(): boolean {
    const pause = this.#pause;
    this.#pause = undefined;
    pause?.end();
    return pause !== undefined;
  }

  /** What keeps the vCPUs from running. */
  get standstill(): "paused" | "suspended" | undefined {
    if (this.#pause !== undefined) return "paused";
    return this.#suspension === undefined ? undefined : "suspended";
  }

  /**
   * Asks the guest to suspend itself. Resolves when it has: none of its vCPUs runs then, until
   * {@link resume}. A guest that does not know how never answers.
   */
  suspend(): Promise<void> {
    if (this.#onSuspended !== undefined || this.#suspension !== undefined) {
      return Promise.reject(refuse("SUSPENDED", "the guest is suspended, or about to be, already"));
    }
    return new Promise((resolve, reject) => {
      this.#onSuspended = { resolve, reject };
      this.#domain.requestShutdown("suspend");
    });
  }

  /**
   * Lets a suspended guest go on, in the same domain ("cancelled") or as if restored in a new one
   * ("restored"): then all that it had set up is gone, and it sets it up again.
   */
  resume(as: "cancelled" | "restored"): void {
    const suspension = this.#suspension;
    if (suspension === undefined) throw refuse("NOT_SUSPENDED", "the guest is not suspended");
    this.#suspension = undefined;
    if (as === "restored") this.#domain.restore();
    suspension.answer(as === "restored" ? 0n : 1n);
    suspension.end();
  }

  /**
   * Reads all of a guest that has suspended itself, as it is to go on in a new domain. It stays suspended, and can go
   * on here too.
   * @throws HostError NOT_SUSPENDED; SNAPSHOT_IMPOSSIBLE for a guest that cannot be told; ENDED; HOST_MEMORY.
   */
  async save(): Promise<InstanceState> {
    const suspension = this.#suspension;
    if (suspension === undefined) throw refuse("NOT_SUSPENDED", "the guest is not suspended");
    await this.#parking.all();
    if (this.#suspension !== suspension)
      throw refuse("ENDED", "the guest ended before it was saved");
    if (!suspension.isAnswerable) {
      const message =
        "the guest suspended itself by a multicall, and cannot be told that it was restored";
      throw refuse("SNAPSHOT_IMPOSSIBLE", message);
    }
    suspension.answer(0n);
    for (const [id, vcpu] of this.#vcpus.entries()) {
      await this.#finishExit(vcpu, this.#domain.vcpus.get(id) as DomainVcpu);
    }
    suspension.noteFinished();
    const state = await readInstance(this.#parts);
    if (this.#suspension === suspension) return state;
    throw refuse("ENDED", "the guest ended, or went on, before it was saved");
  }

  /**
   * Fills an instance that has not run with what {@link save} gave, of a machine with the same memory and CPUs. Its
   * guest is told that it is another run of that memory.
   * @throws HostError SNAPSHOT_DAMAGED or SNAPSHOT_VERSION: the instance is not to be used then.
   */
  async load(state: Omit<InstanceState, "pages">, pages: PutPages): Promise<void> {
    await writeInstance(this.#parts, state, pages);
    // A guest may have given the page back: then it does not want to know.
    this.#domain.memory.write(GENERATION_PAGE.addr, this.#generation);
    // Without a UART the guest knows of no interrupts.
    if (this.#uart !== undefined) this.#notice.tell();
  }

  get #parts(): InstanceParts {
    const [vm, vcpus, msrs, ram] = [this.#vm, this.#vcpus, this.#msrs, this.#ram];
    return { vm, vcpus, msrs, ram, domain: this.#domain, uart: this.#uart };
  }

  /** Hands the answer to a vCPU's last exit to it, and lets it go no further. */
  async #finishExit(vcpu: VcpuApi, domainVcpu: DomainVcpu): Promise<void> {
    vcpu.immediateExit = true;
    for (;;) {
      const exit = await vcpu.run();
      if (exit.kind === "intr") break;
      this.#handle(exit, domainVcpu);
    }
    vcpu.immediateExit = false;
  }

  /** Input for the console that the configuration names. */
  input(bytes: Uint8Array): void {
    if (this.#end !== undefined) return;
    if (this.#config.console === "hvc0") this.#domain.consoleInput(bytes);
    else this.#uart?.receive(bytes);
  }

  /** The console's stream takes output again. */
  outputRoom(): void {
    if (this.#end !== undefined) return;
    if (this.#config.console === "hvc0") this.#domain.consoleRoom();
    else this.#uart?.ready();
  }

  /** Of a guest that has not written to its console, tells what it wrote elsewhere. */
  tellLastWords(): void {
    for (const text of this.#debugTexts) text.end();
    if (!this.#spoke) this.#words.tell();
  }

  /** Gives everything back. The instance cannot be used afterwards. */
  close(): void {
    this.#retired = this.instructions;
    this.#counted = this.engineCounters;
    this.#notice.close();
    this.#domain.close();
    this.#vm.close();
  }

  #allocateMemory(): MemoryRegion[] {
    const ranges = [...ramRanges(this.#config.memoryBytes), ACPI_AREA, GENERATION_PAGE];
    return ranges.map(({ addr, size }) => {
      const at = this.#vm.linear.allocate(size);
      if (at === undefined) {
        throw refuse("MEMORY_TOO_LARGE", "the host cannot give the guest this much memory");
      }
      return { gpa: gpa(addr), size, hva: at };
    });
  }

  /** Xen vCPU ids and local APIC ids are both the order of creation; the boot vCPU is the first. */
  #createVcpus(kvm: KvmApi): VcpuApi[] {
    const { cpus } = this.#config;
    return Array.from({ length: cpus }, (_, id) => {
      const vcpu = this.#vm.createVcpu(apicId(id));
      vcpu.setCpuid2(
        vcpuCpuid(kvm.getSupportedCpuid(), {
          apicId: id,
          xenVcpuId: id,
          cpus,
          domid: GUEST_DOMID,
          xenVersion: XEN_VERSION,
          hypercallMsr: XEN_CPUID_FIRST_LEAF,
          tscKhz: vcpu.tscKhz,
        }),
      );
      vcpu.xen.setAttr({ type: "VCPU_ID", vcpuId: id });
      vcpu.setMsrs([
        { index: Msr.IA32_MTRR_DEF_TYPE, data: MTRR_DEF_TYPE },
        { index: Msr.IA32_BIOS_SIGN_ID, data: MICROCODE },
        { index: Msr.K7_HWCR, data: HWCR_TSC_FREQ_SEL },
      ]);
      return vcpu;
    });
  }

  #attachDevices(): void {
    const { console } = this.#ports;
    const debug = this.#debugText("debug port");
    this.#bus.attach(DEBUG_PORT, 1, new DebugPort((byte) => debug.write(Uint8Array.of(byte))));
    const power = new PowerRegisters({
      powerOff: () => this.#finish({ kind: "poweroff" }),
      reset: () => this.#finish({ kind: "reboot" }),
    });
    this.#bus.attach(SLEEP_CONTROL_PORT, POWER_PORTS, power);
    if (this.#config.console !== "ttyS0") return;
    this.#uart = new Uart({
      transmit: (byte) => {
        this.#spoke = true;
        console.write(Uint8Array.of(byte));
      },
      canTransmit: () => console.room !== 0,
      setInterrupt: (level) => {
        this.#vm.irqLine(UART.gsi, level);
      },
    });
    this.#bus.attach(UART.port, UART.count, this.#uart);
  }

  /** The PV console; where that is not the machine's console, what is written to it is for debugging. */
  #hvc(): ByteStream {
    const { console } = this.#ports;
    const onData = (): void => undefined;
    if (this.#config.console !== "hvc0") {
      const text = this.#debugText("hvc0");
      return { write: (bytes) => text.write(bytes), onData };
    }
    const write = (bytes: Uint8Array): void => {
      this.#spoke = true;
      console.write(bytes);
    };
    return {
      write,
      onData,
      get room() {
        return console.room ?? Number.POSITIVE_INFINITY;
      },
    };
  }

  #debugText(source: string): DebugText {
    const text = new DebugText(this.#words, source);
    this.#debugTexts.push(text);
    return text;
  }

  async #runVcpu(vcpu: VcpuApi, domainVcpu: DomainVcpu): Promise<void> {
    while (this.#end === undefined) {
      const standstill = this.#pause ?? this.#suspension ?? this.debugger?.standstillOf(vcpu.index);
      if (standstill !== undefined) {
        await this.#parking.wait(vcpu, standstill.over);
        continue;
      }
      if (domainVcpu.down) {
        const up = new Promise<void>((resolve) => {
          domainVcpu.wake = resolve;
        });
        await this.#parking.wait(vcpu, up);
        continue;
      }
      const running = vcpu.run();
      this.#running[vcpu.index] = running;
      this.#handle(await running, domainVcpu);
    }
  }

  #handle(exit: VcpuExit, vcpu: DomainVcpu): void {
    switch (exit.kind) {
      case "io":
        this.#handleIo(exit);
        return;
      case "mmio":
        // No device has memory of its own: reads float, writes are lost.
        if (!exit.isWrite) exit.data.fill(0xff);
        return;
      case "xen":
        this.#hypercall(exit, vcpu);
        return;
      case "shutdown":
        this.#crash(`vCPU ${vcpu.id} had a triple fault`);
        return;
      case "fail-entry":
        this.#crash(`vCPU ${vcpu.id} cannot be entered (${exit.reason})`);
        return;
      case "memory-fault":
        this.#crash(`vCPU ${vcpu.id} has no memory at 0x${exit.physAddr.toString(16)}`);
        return;
      case "internal-error":
        this.#crash(`vCPU ${vcpu.id} cannot go on: ${exit.message}`);
        return;
      case "hlt":
      case "irq-window-open":
      case "set-tpr":
      case "tpr-access":
      case "hypercall":
      case "rdmsr":
      case "wrmsr":
      case "ioapic-eoi":
        assert(false, `exit ${exit.kind}, which this machine does not have`);
        return;
      case "debug":
        this.debugger?.hit(vcpu.id, exit);
        return;
      case "intr":
      case "again":
        return;
    }
  }

  #hypercall(exit: VcpuExitXen, vcpu: DomainVcpu): void {
    const result = this.#hypercalls.dispatch(vcpu, exit);
    if (result instanceof Continuation) continueCall(vcpu.kvm, exit, result);
    else exit.result = result;
    this.#suspension?.noteCall(exit, this.#vcpus[vcpu.id] as VcpuApi);
  }

  #handleIo({ direction, port, size, count, data }: VcpuExitIo): void {
    for (let i = 0; i < count; i++) {
      const element = data.subarray(i * size, (i + 1) * size);
      if (direction === "in") this.#bus.read(port, element);
      else this.#bus.write(port, element);
    }
  }

  #shutdown(reason: number): void {
    if (reason === Shutdown.poweroff) this.#finish({ kind: "poweroff" });
    else if (reason === Shutdown.reboot) this.#finish({ kind: "reboot" });
    else if (reason === Shutdown.watchdog) this.#crash("the guest's watchdog expired");
    else this.#crash("the guest reported a crash");
  }

  /** SHUTDOWN_suspend: the call answers when the guest is resumed. */
  #suspend(): void {
    const tell = this.#onSuspended;
    this.#onSuspended = undefined;
    if (tell === undefined) {
      this.#ports.log.debug("the guest suspended itself unasked and goes on");
      return;
    }
    this.#suspension = new Suspension();
    for (const vcpu of this.#vcpus) vcpu.kick();
    tell.resolve();
  }

  #crash(reason: string): void {
    this.#finish({ kind: "crash", reason });
  }

  #finish(end: InstanceEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const vcpu of this.#vcpus) vcpu.kick();
    this.unpause();
    this.debugger?.go();
    this.#suspension?.end();
    this.#suspension = undefined;
    this.#onSuspended?.reject(refuse("ENDED", "the guest ended before it suspended itself"));
    this.#onSuspended = undefined;
    this.exact.ended();
    this.#resolve(end);
  }
}

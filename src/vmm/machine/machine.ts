import { PAGE_SIZE } from "../../base/index.js";
import type {
  EngineCounters,
  KvmApi,
  KvmXenHvmAttr,
  KvmXenVcpuAttr,
  XenVmView,
} from "../../kvm/api/index.js";
import type { TraceSink } from "../../ports/index.js";
import { type BootPlan, planBoot } from "../loader/boot.js";
import { refuse } from "../loader/errors.js";
import { readKernel } from "../loader/kernel.js";
import { damaged } from "../snapshot/codec.js";
import type { Backend, DeviceStatus } from "../xen/backends/backend.js";
import { type DomainView, type DomainViewParts, domainView } from "../xen/view.js";
import { given, sumOf } from "./beyond-kvm.js";
import {
  type BootConfig,
  checkConfig,
  type Hardware,
  type MachineConfig,
  type MachineEnd,
  type MachinePorts,
  type RestoreConfig,
} from "./config.js";
import { type DebugListener, DebugTarget } from "./debug-target.js";
import { MachineDevices } from "./devices.js";
import { type AgentChannel, agentConsole, withoutAgent } from "./exec/agent-console.js";
import type { ExecOptions, ExecResult } from "./exec/running-command.js";
import { generationOf, makeUuid } from "./identity.js";
import { Instance } from "./instance.js";
import type { PutPages } from "./instance-state.js";
import { ACPI_AREA, memoryMap } from "./layout.js";
import { openKvm } from "./own-kvm.js";
import {
  checkDevices,
  copyChanges,
  describeDevices,
  type SavedMachine,
  type SaveOptions,
  Snapshot,
  setClock,
} from "./snapshot.js";

/** What {@link Machine.view} gives. */
export interface MachineView {
  readonly kvm: XenVmView;
  readonly domain: DomainView;
}

/**
 * A PVH guest of Xen with everything around it. Create, run once, perhaps stop. A guest that
 * reboots starts again inside run(), in a new VM from the same files.
 */
export class Machine {
  readonly #kvm: KvmApi;
  readonly #hardware: Hardware;
  readonly #ports: MachinePorts;
  /** What was booted last; undefined in a machine that was restored and has not rebooted. */
  #plan: BootPlan | undefined;
  readonly #boot: BootConfig | undefined;
  readonly #bootAgain: (() => Promise<BootConfig>) | undefined;
  readonly #uuid: Uint8Array;
  /** The VM generation ID: another one in each machine that is not exactly the one that it was. */
  readonly #generation: Uint8Array;
  /** The file of which it was made. */
  readonly #saved: SavedMachine | undefined;
  readonly #devices: MachineDevices;
  readonly #agent: AgentChannel | undefined;
  #instance: Instance;
  #stopped: "timeout" | "stopped" | undefined;
  readonly #nodeListeners = new Map<string, () => void>();
  #consoleSize: { readonly rows: number; readonly columns: number } | undefined;
  #trace: TraceSink | undefined;
  #debugger: DebugTarget | undefined;
  /** What was known when there was an instance last; undefined while there is one. */
  #lastView: MachineView | undefined;
  #ran = false;
  #ended = false;
  #reboots = 0;
  #instructionsBefore = 0;
  #countersBefore: EngineCounters | undefined;

  private constructor(kvm: KvmApi, start: Start, ports: MachinePorts) {
    const { hardware, plan, devices = [], saved } = start;
    this.#kvm = kvm;
    this.#hardware = hardware;
    this.#ports = ports;
    this.#plan = plan;
    this.#boot = start.boot;
    this.#bootAgain = start.bootAgain;
    this.#saved = saved;
    this.#uuid = saved?.machine.uuid ?? makeUuid(ports);
    this.#generation = generationOf(saved, ports);
    this.#instructionsBefore = saved?.machine.instructions ?? 0;
    this.#reboots = saved?.machine.reboots ?? 0;
    const agent = agentConsole(start, ports);
    this.#agent = agent?.channel;
    this.#devices = new MachineDevices(agent === undefined ? devices : [...devices, agent.console]);
    // An exact one is handed its devices with the rest.
    this.#instance = this.#newInstance(saved?.exact === undefined ? this.#devices.all : []);
    ports.console.onData((bytes) => this.#instance.input(bytes));
    ports.console.onRoom?.(() => this.#instance.outputRoom());
  }

  /**
   * Reads the files and builds the machine.
   * @throws HostError with a code of LoadErrorCode when they cannot be used.
   */
  static async create(config: MachineConfig, ports: MachinePorts): Promise<Machine> {
    checkConfig(config);
    const plan = await planOf(config, config, ports);
    const { kernel, initrd, modules, commandLine, devices, bootAgain } = config;
    const files = { kernel, ...(initrd && { initrd }), ...(modules && { modules }), commandLine };
    const machine = new Machine(
      await openKvm(ports),
      {
        hardware: config,
        plan,
        devices,
        boot: bootAgain === undefined ? files : undefined,
        exec: config.exec,
        bootAgain,
      },
      ports,
    );
    await machine.#instance.boot(plan, () => false);
    return machine;
  }

  /**
   * Builds a machine that goes on where a guest has suspended itself: to the guest it is a new one, with the memory of
   * the old. The devices have to be those that the machine had, with the same content; `bootAgain` is needed where the
   * file has no kernel. The snapshot is the machine's from now on.
   * @throws HostError SNAPSHOT_DEVICES, SNAPSHOT_DAMAGED, SNAPSHOT_VERSION; MEMORY_TOO_LARGE, HOST_MEMORY.
   */
  static async restore(
    saved: SavedMachine,
    config: RestoreConfig,
    ports: MachinePorts,
  ): Promise<Machine> {
    const { devices, bootAgain } = config;
    await checkDevices(withoutAgent(saved.devices), devices ?? []);
    const { hardware, exact } = saved;
    if (exact !== undefined) setClock(ports.clock, exact.vm.nowNs);
    const start = { hardware, plan: undefined, devices, boot: undefined, bootAgain, saved };
    const machine = new Machine(await openKvm(ports), start, ports);
    try {
      await machine.#load(saved);
      return machine;
    } catch (refusal) {
      machine.#instance.close();
      throw refusal;
    }
  }

  /** Fills the first instance with what was saved. */
  async #load(saved: SavedMachine): Promise<void> {
    const { kvm, exact, machine: layer } = saved;
    const pages: PutPages = (linear, regions) => saved.readPages(linear, regions);
    const instance = this.#instance;
    await saved.readDisks(this.#devices.all);
    if (exact === undefined) {
      const { domain, uart } = layer;
      if (domain === undefined) throw damaged("its kind");
      await instance.load({ kvm, domain, uart }, pages);
      return;
    }
    await instance.exact.load({ kvm, exact }, this.#devices.all, pages);
    // Those of this start are counted by its vCPUs.
    this.#instructionsBefore = Math.max(0, layer.instructions - instance.instructions);
  }

  /** Instructions retired so far by all vCPUs, since the first start; 0 with a KVM that does not count them. */
  get instructions(): number {
    return this.#instructionsBefore + this.#instance.instructions;
  }

  /**
   * What the engine has done beside plain execution, since the first start.
   * @throws HostError KVM_LACKS with a KVM that does not count it.
   */
  get engineCounters(): EngineCounters {
    return given(this.#engineCounters, "counters");
  }

  get #engineCounters(): EngineCounters | undefined {
    const now = this.#instance.engineCounters;
    return now && sumOf(this.#countersBefore, now);
  }

  /**
   * Who is told what happens in the machine, through reboots; undefined, as at first: nobody, which costs nothing.
   * `TraceRing` of kvm-xen/trace makes one.
   */
  get trace(): TraceSink | undefined {
    return this.#trace;
  }
  set trace(sink: TraceSink | undefined) {
    this.#trace = sink;
    this.#instance.trace = sink;
  }

  /**
   * What both halves of Xen know now, read without any effect on the guest; `parts` that take longer when asked for.
   * @throws HostError KVM_LACKS with a KVM that does not show its half.
   */
  view(parts: DomainViewParts = {}): MachineView {
    return this.#lastView ?? given(this.#view(parts), "view of its Xen support");
  }

  #view(parts: DomainViewParts): MachineView | undefined {
    const { debugged, domain } = this.#instance;
    const kvm = debugged.vm.xenView?.();
    return kvm && { kvm, domain: domainView(domain, parts) };
  }

  /**
   * Sets an attribute of KVM's Xen support as KVM_XEN_HVM_SET_ATTR does, behind the back of the user half.
   * @throws KvmError as the kernel refuses that attribute.
   */
  setXenAttr(attr: KvmXenHvmAttr): void {
    this.#instance.debugged.vm.xen.setAttr(attr);
  }

  /**
   * Sets one of a vCPU, by the order of creation, as KVM_XEN_VCPU_SET_ATTR does.
   * @throws KvmError as the kernel refuses that attribute; RangeError for a vCPU that is not there.
   */
  setVcpuXenAttr(vcpu: number, attr: KvmXenVcpuAttr): void {
    const found = this.#instance.debugged.vcpus[vcpu];
    if (found === undefined) throw new RangeError(`no vCPU ${vcpu}`);
    found.xen.setAttr(attr);
  }

  /**
   * Gives the vCPUs to a debugger outside of the guest: they stand still until it lets them go on, and again behind
   * each reboot. Of several debuggers the last one has them.
   */
  debug(listener: DebugListener): DebugTarget {
    this.#debugger = new DebugTarget(this.#instance.debugged, listener);
    this.#instance.debugger = this.#debugger;
    return this.#debugger;
  }

  /** How often the guest has rebooted, or was reset. */
  get reboots(): number {
    return this.#reboots;
  }

  /**
   * Runs the guest until it is powered off, crashes or is stopped. Rejects with an InvariantError when this
   * program has a defect, and with what {@link MachineConfig.bootAgain} throws.
   * @throws HostError RUNNING when it was called before.
   */
  async run(): Promise<MachineEnd> {
    if (this.#ran) throw refuse("RUNNING", "a machine runs once: create another one");
    this.#ran = true;
    try {
      return await this.#runInstances();
    } finally {
      this.#ended = true;
      this.#agent?.end();
      await this.#devices.close();
      await this.#saved?.close();
    }
  }

  async #runInstances(): Promise<MachineEnd> {
    for (;;) {
      const end = await this.#instance.run();
      if (end.kind !== "poweroff") this.#instance.tellLastWords();
      this.#lastView = this.#view({});
      this.#instance.close();
      if (end.kind === "stopped") return { kind: this.#stopped ?? "stopped" };
      if (end.kind !== "reboot") return end;
      this.#instructionsBefore = this.instructions;
      this.#countersBefore = this.#engineCounters;
      this.#reboots += 1;
      this.#ports.log.debug("the guest reboots");
      this.#agent?.rebooted();
      // What the guest wrote last has to be there before it reads it again.
      await this.#devices.suspend();
      await this.#devices.dropLeaving();
      // Whoever stops it meanwhile finds nothing that runs.
      const next = await this.#bootedInstance();
      if (next === undefined) return { kind: this.#stopped ?? "stopped" };
      this.#use(next);
      this.#devices.resume();
    }
  }

  /** What runs after a reboot; undefined when the machine was stopped meanwhile. */
  async #bootedInstance(): Promise<Instance | undefined> {
    const isStopped = (): boolean => this.#stopped !== undefined;
    const files = await this.#filesAgain();
    if (files !== undefined) this.#plan = await planOf(files, this.#hardware, this.#ports);
    if (isStopped()) return undefined;
    const next = this.#newInstance();
    await next.boot(this.#plan as BootPlan, isStopped);
    if (!isStopped()) return next;
    next.close();
    return undefined;
  }

  /** What is booted now, where it is not what was booted before. */
  async #filesAgain(): Promise<BootConfig | undefined> {
    if (this.#bootAgain !== undefined) return this.#bootAgain();
    if (this.#plan !== undefined) return undefined;
    if (this.#saved?.hasBoot) return this.#saved.readBoot();
    throw refuse("SNAPSHOT_IMPOSSIBLE", "the guest reboots, and its snapshot has no kernel");
  }

  /**
   * Saves the machine: asks the guest to suspend itself unless it is suspended, and copies it. It stays suspended:
   * {@link resume} lets it go on, {@link stop} ends it. A guest that does not know how to suspend itself never answers.
   *
   * With `exact`, under the virtual clock, the guest is not asked, does not notice and goes on; a machine restored from
   * that goes on exactly as this one, to the last instruction.
   * @throws HostError SNAPSHOT_IMPOSSIBLE for a paused guest, or a device that could not be recognised later;
   * HOST_MEMORY; SUSPENDED and ENDED as {@link suspend}.
   */
  async save({ exact = false, atNs = 0, pauses = false }: SaveOptions = {}): Promise<Snapshot> {
    this.#checkNotEnded();
    if (exact) return this.#saveExact({ atNs, pauses });
    if (this.state === "paused") {
      throw refuse("SNAPSHOT_IMPOSSIBLE", "a paused guest cannot be saved: let it go on before");
    }
    if (this.state === "running") await this.suspend();
    const { kvm, domain, uart, pages } = await this.#instance.save();
    const { disks, ...about } = await this.#description();
    const machine = { kind: "suspended", ...about, uart, domain } as const;
    return new Snapshot({ machine, kvm, pages, disks, boot: await this.#bootFiles() });
  }

  async #saveExact(when: { atNs: number; pauses: boolean }): Promise<Snapshot> {
    if (this.#ports.clock.virtual === undefined) {
      const message =
        "a machine is saved exactly under the virtual clock only: use it, or leave 'exact' out";
      throw refuse("SNAPSHOT_IMPOSSIBLE", message);
    }
    if (!(when.atNs >= 0)) {
      throw refuse("SNAPSHOT_IMPOSSIBLE", `${when.atNs} ns is no time of the clock`);
    }
    const saved = await this.#instance.exact.save(when, () => this.#description());
    const { about, kvm, exact, pages } = saved;
    const { disks, ...description } = about;
    const nothing = { uart: undefined, domain: undefined };
    const machine = { kind: "exact", ...description, ...nothing } as const;
    return new Snapshot({ machine, kvm, exact, pages, disks, boot: await this.#bootFiles() });
  }

  async #description() {
    const devices = await describeDevices(this.#devices.all);
    const disks = await copyChanges(this.#devices.all);
    const { memoryBytes, cpus, console } = this.#hardware;
    const [uuid, generation, reboots] = [this.#uuid, this.#generation, this.#reboots];
    return {
      ...{ uuid, generation, reboots, instructions: this.instructions },
      ...{ memoryBytes, cpus, console },
      devices,
      disks,
    };
  }

  async #bootFiles(): Promise<BootConfig | undefined> {
    return this.#boot ?? (this.#saved?.hasBoot ? await this.#saved.readBoot() : undefined);
  }

  /**
   * Runs a program in the guest by the agent that it has (docs/guest-agent.md), and resolves when it has ended, with
   * whatever status. `argv`: the program, found as a shell finds it, and its arguments; there is no shell. Sixteen run
   * at a time; further ones wait for their turn in order.
   * @throws HostError EXEC_OFF when the machine was made without `exec`; NOT_RUNNING before {@link run}; ENDED when the
   * machine has ended, or does before the command; EXEC_ARGUMENTS and EXEC_QUEUE for what cannot be asked for;
   * EXEC_NO_AGENT when no agent has answered for three minutes; EXEC_LOST when it is gone, as by a reboot; NO_PROGRAM,
   * PROGRAM_REFUSED and EXEC_FOLDER when the guest cannot start it; EXEC_TIMEOUT and EXEC_OUTPUT when it was killed.
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    this.#checkNotEnded();
    if (this.#agent === undefined) {
      throw refuse("EXEC_OFF", "this machine was made without a console for commands: set 'exec'");
    }
    if (!this.#ran) throw refuse("NOT_RUNNING", "the machine does not run: call run() first");
    return this.#agent.exec(argv, options);
  }

  /**
   * Asks the guest to power itself off or to reboot; it may take its time, or not listen.
   * @throws HostError ENDED when the machine has ended.
   */
  requestShutdown(how: "poweroff" | "reboot"): void {
    this.#checkNotEnded();
    this.#instance.domain.requestShutdown(how);
  }

  /**
   * Asks the guest to suspend itself, and resolves when it has: nothing in it runs until
   * {@link resume}. A guest that does not know how never answers.
   * @throws HostError SUSPENDED when it is suspended or was asked to already; ENDED when it has ended, or ends or
   * reboots instead.
   */
  async suspend(): Promise<void> {
    this.#checkNotEnded();
    await this.#instance.suspend();
    await this.#devices.suspend();
  }

  /**
   * Lets a paused or suspended guest go on. A paused one is as it was, whatever `as` says. Of a suspended one, "cancelled": all is as it was. "restored": as in a domain that
   * was made anew from a saved one; the guest sets up event channels, timers and rings again.
   * @throws HostError NOT_SUSPENDED when it is neither.
   */
  resume(as: "cancelled" | "restored" = "cancelled"): void {
    if (this.#instance.unpause()) return;
    this.#instance.resume(as);
    this.#devices.resume();
  }

  /**
   * Stops all CPUs until {@link resume}; the guest is not asked and does not see it, but for the time that has gone by.
   * What it has asked of its devices is carried out meanwhile. Doing so again does nothing.
   * @throws HostError ENDED when the machine has ended.
   */
  pause(): void {
    this.#checkNotEnded();
    this.#instance.pause();
  }

  /**
   * As the reset button: the guest is not asked, and starts again as after a reboot.
   * @throws HostError ENDED when the machine has ended.
   */
  reset(): void {
    this.#checkNotEnded();
    this.#instance.reset();
  }

  /** Whether the guest runs, or what keeps it from running. */
  get state(): "running" | "paused" | "suspended" | "ended" {
    return this.#ended ? "ended" : (this.#instance.standstill ?? "running");
  }

  /** All devices, in the order in which they came. */
  get devices(): readonly DeviceStatus[] {
    return this.#devices.status;
  }

  /**
   * Gives the running guest one more device, which is the machine's from now on, through reboots, and closed when it
   * has ended.
   * @throws HostError DEVICE_NAME when there is one of that name; ENDED when the machine has ended.
   */
  addDevice(device: Backend): void {
    this.#checkNotEnded();
    this.#devices.add(device, this.#instance.domain);
  }

  /**
   * Asks the guest to let go of a device; resolves when it has, and the device is closed. A guest that does not answer
   * keeps it until its next reboot.
   * @throws HostError DEVICE_NAME when there is none of that name; ENDED when the machine has ended.
   */
  async removeDevice(name: string): Promise<void> {
    this.#checkNotEnded();
    await this.#devices.remove(name, this.#instance.domain);
  }

  /**
   * Makes a disk larger, in bytes, and tells the guest; without a number it has the size that its image has by now.
   * @throws HostError DEVICE_NAME when there is no device of that name; DISK_SIZE when it cannot have that size; ENDED
   * when the machine has ended.
   */
  async resizeDevice(name: string, bytes?: number): Promise<void> {
    this.#checkNotEnded();
    await this.#devices.resize(name, bytes);
  }

  /**
   * Asks the guest's balloon to leave the guest this much memory, at most what it started with. The
   * guest follows when it can; {@link memoryBytes} tells how far it is.
   * @throws HostError MEMORY_TARGET when the number is not from 0 to that; ENDED when the machine has ended.
   */
  setMemoryTarget(bytes: number): void {
    this.#checkNotEnded();
    const most = this.#hardware.memoryBytes;
    if (!(bytes >= 0 && bytes <= most)) {
      throw refuse("MEMORY_TARGET", `${bytes} bytes are no memory target: give 0 to ${most}`);
    }
    this.#instance.domain.setMemoryTarget(bytes);
  }

  /**
   * Tells the guest the size of the terminal that its console is shown on, in characters: the node `console/winsize`
   * of its directory in xenstore has "ROWS COLUMNS" from now on. Guests that watch it follow.
   * @throws HostError CONSOLE_SIZE unless both are whole numbers from 1 to 65535.
   */
  setConsoleSize(rows: number, columns: number): void {
    for (const size of [rows, columns]) {
      if (!Number.isInteger(size) || size < 1 || size > 0xffff) {
        throw refuse("CONSOLE_SIZE", `a console of ${rows} rows and ${columns} columns`);
      }
    }
    this.#consoleSize = { rows, columns };
    if (!this.#ended) this.#instance.domain.setConsoleSize(rows, columns);
  }

  /**
   * Gives a node of the guest's directory in xenstore (`data/name`) a value, so that guests that watch it follow; in the
   * guest that runs now, not after its next reboot.
   * @throws HostError ENDED when the machine has ended.
   */
  setNode(name: string, value: string): void {
    this.#checkNotEnded();
    this.#instance.domain.writeNode(name, value);
  }

  /** Calls back, through all reboots, when a node of the guest's directory changes. One listener a node. */
  onNode(name: string, listener: () => void): void {
    const isNew = !this.#nodeListeners.has(name);
    this.#nodeListeners.set(name, listener);
    if (isNew) this.#watchNode(this.#instance, name);
  }

  #watchNode(instance: Instance, name: string): void {
    instance.domain.watchNode(name, () => this.#nodeListeners.get(name)?.());
  }

  /**
   * Memory that the guest has, in bytes, with that of the ACPI tables: less than at its start when
   * its balloon gave some back.
   */
  get memoryBytes(): number {
    return this.#instance.domain.physmap.reservation.pages * PAGE_SIZE;
  }

  /** Ends the run from outside; run() then resolves with this kind. */
  stop(kind: "timeout" | "stopped" = "stopped"): void {
    this.#stopped ??= kind;
    this.#instance.stop();
  }

  #checkNotEnded(): void {
    if (this.#ended) throw refuse("ENDED", "the machine has ended");
  }

  #newInstance(devices = this.#devices.all): Instance {
    const guest = { uuid: this.#uuid, generation: this.#generation, devices };
    return new Instance(this.#kvm, this.#hardware, this.#ports, guest);
  }

  /** Runs an instance from now on. */
  #use(instance: Instance): void {
    this.#instance = instance;
    this.#lastView = undefined;
    instance.trace = this.#trace;
    instance.debugger = this.#debugger;
    this.#debugger?.moveTo(instance.debugged);
    for (const name of this.#nodeListeners.keys()) this.#watchNode(instance, name);
    const size = this.#consoleSize;
    if (size !== undefined) instance.domain.setConsoleSize(size.rows, size.columns);
  }
}

/** What a machine starts with. */
interface Start {
  readonly hardware: Hardware;
  readonly devices: readonly Backend[] | undefined;
  readonly bootAgain: (() => Promise<BootConfig>) | undefined;
  /** There is a console for its agent; of one that is saved, the snapshot says so. */
  readonly exec?: boolean | undefined;
  /** Undefined when the guest is in `saved`. */
  readonly plan: BootPlan | undefined;
  /** What it is saved with, for reboots. */
  readonly boot: BootConfig | undefined;
  readonly saved?: SavedMachine;
}

/** Reads what is booted, and places it into the memory of a machine. */
async function planOf(
  files: BootConfig,
  { memoryBytes }: Hardware,
  { decompressors }: MachinePorts,
): Promise<BootPlan> {
  return planBoot({
    kernel: await readKernel(files.kernel, decompressors, memoryBytes),
    commandLine: files.commandLine,
    memmap: memoryMap(memoryBytes),
    rsdpPaddr: ACPI_AREA.addr,
    modules: [
      ...(files.initrd === undefined ? [] : [{ bytes: files.initrd }]),
      ...(files.modules ?? []),
    ],
  });
}

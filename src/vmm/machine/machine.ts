import { PAGE_SIZE } from "../../base/index.js";
import { Kvm } from "../../kvm/index.js";
import { type BootPlan, planBoot } from "../loader/boot.js";
import { readKernel } from "../loader/kernel.js";
import { checkConfig, type MachineConfig, type MachineEnd, type MachinePorts } from "./config.js";
import { Instance } from "./instance.js";
import { ACPI_AREA, memoryMap } from "./layout.js";

/**
 * A PVH guest of Xen with everything around it. Create, run once, perhaps stop. A guest that
 * reboots starts again inside run(), in a new VM from the same files.
 */
export class Machine {
  readonly #kvm: Kvm;
  readonly #config: MachineConfig;
  readonly #ports: MachinePorts;
  readonly #plan: BootPlan;
  readonly #uuid: Uint8Array;
  #instance: Instance;
  #stopped: "timeout" | "stopped" | undefined;
  #reboots = 0;
  #instructionsBefore = 0;

  private constructor(kvm: Kvm, config: MachineConfig, ports: MachinePorts, plan: BootPlan) {
    this.#kvm = kvm;
    this.#config = config;
    this.#ports = ports;
    this.#plan = plan;
    this.#uuid = makeUuid(ports);
    this.#instance = this.#boot();
    ports.console.onData((bytes) => this.#instance.input(bytes));
  }

  /**
   * Reads the files and builds the machine.
   * @throws HostError with a code of LoadErrorCode when they cannot be used.
   */
  static async create(config: MachineConfig, ports: MachinePorts): Promise<Machine> {
    checkConfig(config);
    const plan = planBoot({
      kernel: await readKernel(config.kernel, ports.decompressors, config.memoryBytes),
      commandLine: config.commandLine,
      memmap: memoryMap(config.memoryBytes),
      rsdpPaddr: ACPI_AREA.addr,
      ...(config.initrd === undefined ? {} : { initrd: config.initrd }),
    });
    const { engine, clock, timers } = ports;
    return new Machine(await Kvm.open({ engine, clock, timers }), config, ports, plan);
  }

  /** Instructions retired so far by all vCPUs, since the first start. */
  get instructions(): number {
    return this.#instructionsBefore + this.#instance.instructions;
  }

  /** How often the guest has rebooted. */
  get reboots(): number {
    return this.#reboots;
  }

  /**
   * Runs the guest until it is powered off, crashes or is stopped. Call once. Rejects with an
   * InvariantError when this program has a defect.
   */
  async run(): Promise<MachineEnd> {
    for (;;) {
      const end = await this.#instance.run();
      this.#instance.close();
      if (end.kind === "stopped") return { kind: this.#stopped ?? "stopped" };
      if (end.kind !== "reboot") return end;
      this.#instructionsBefore = this.instructions;
      this.#reboots += 1;
      this.#ports.log.debug("the guest reboots");
      this.#instance = this.#boot();
    }
  }

  /** Asks the guest to power itself off or to reboot; it may take its time, or not listen. */
  requestShutdown(how: "poweroff" | "reboot"): void {
    this.#instance.domain.requestShutdown(how);
  }

  /**
   * Asks the guest to suspend itself, and resolves when it has: nothing in it runs until
   * {@link resume}. A guest that does not know how never answers.
   */
  suspend(): Promise<void> {
    return this.#instance.suspend();
  }

  /**
   * Lets a suspended guest go on. "cancelled": all is as it was. "restored": as in a domain that
   * was made anew from a saved one; the guest sets up event channels, timers and rings again.
   */
  resume(as: "cancelled" | "restored" = "cancelled"): void {
    this.#instance.resume(as);
  }

  /**
   * Asks the guest's balloon to leave the guest this much memory, at most what it started with. The
   * guest follows when it can; {@link memoryBytes} tells how far it is.
   */
  setMemoryTarget(bytes: number): void {
    this.#instance.domain.setMemoryTarget(bytes);
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

  #boot(): Instance {
    const guest = { plan: this.#plan, uuid: this.#uuid };
    return new Instance(this.#kvm, this.#config, this.#ports, guest);
  }
}

/** A random UUID (RFC 9562, version 4). */
function makeUuid(ports: MachinePorts): Uint8Array {
  const uuid = new Uint8Array(16);
  ports.entropy.fill(uuid);
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x40;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  return uuid;
}

import { readFileSync } from "node:fs";
import { Engine } from "../../../src/engine/bridge/index.js";
import { nodeDecompressors } from "../../../src/hosts/node/decompress.js";
import { HeapTimers, VirtualClock } from "../../../src/hosts/sim/index.js";
import { Machine, type MachinePorts } from "../../../src/vmm/machine/index.js";

const core = new URL("../../../dist/engine/core.wasm", import.meta.url);

/** A machine in this process, under the virtual clock, whose console is text. */
export class TestMachine {
  readonly machine: Machine;
  readonly ended: ReturnType<Machine["run"]>;
  #output = "";
  #watchers: (() => void)[] = [];

  private constructor(machine: Machine) {
    this.machine = machine;
    this.ended = machine.run();
  }

  /** Starts it, with 256 MiB, hvc0 as console and no self-tests. */
  static async start(files: {
    kernel: string;
    initrd: string;
    cpus: number;
    /** Gives another command line after a reboot. */
    appendAgain?: () => Promise<string>;
    /** Another KVM than the library's own objects. */
    kvm?: MachinePorts["kvm"];
    /** What is typed behind all that the guest has written so far; it is asked in that very moment. */
    reply?: (output: string) => string | undefined;
  }) {
    const clock = new VirtualClock();
    const log = { warn: () => undefined, debug: () => undefined };
    let take: (bytes: Uint8Array) => void = () => undefined;
    let type: (bytes: Uint8Array) => void = () => undefined;
    const config = {
      kernel: readFileSync(files.kernel),
      initrd: readFileSync(files.initrd),
      commandLine: "console=hvc0 panic=-1 cryptomgr.notests",
      memoryBytes: 256 << 20,
      cpus: files.cpus,
      console: "hvc0",
    } as const;
    const { appendAgain, kvm, reply } = files;
    const bootAgain =
      appendAgain && (async () => ({ ...config, commandLine: await appendAgain() }));
    const machine = await Machine.create(
      { ...config, ...(bootAgain ? { bootAgain } : {}) },
      {
        engine: await Engine.compile(readFileSync(core)),
        decompressors: nodeDecompressors,
        clock,
        timers: new HeapTimers(clock),
        log,
        console: {
          write(bytes) {
            take(bytes);
            const typed = reply?.(self.#output);
            if (typed !== undefined) type(Buffer.from(typed));
          },
          onData(listener) {
            type = listener;
          },
        },
        entropy: { fill: (bytes) => bytes.fill(7) },
        ...(kvm ? { kvm } : {}),
      },
    );
    const self = new TestMachine(machine);
    take = (bytes) => self.#take(bytes);
    return self;
  }

  /** All that the guest wrote so far. */
  get output(): string {
    return this.#output;
  }

  /** Waits for a line that matches, written from now on. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const from = this.#output.length;
    for (;;) {
      const match = pattern.exec(this.#output.slice(from));
      if (match !== null) return match;
      await new Promise<void>((resolve) => {
        this.#watchers.push(resolve);
      });
    }
  }

  #take(bytes: Uint8Array): void {
    this.#output += Buffer.from(bytes).toString("latin1");
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}

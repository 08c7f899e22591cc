import {
  createMachine,
  type MachineDescription,
  TextConsole,
  writeSnapshotFile,
} from "../../src/hosts/node/index.js";

/** A machine that runs, whose guest has a shell. */
export class ShellMachine {
  readonly #machine: Awaited<ReturnType<typeof createMachine>>;
  readonly #console: TextConsole;
  readonly #ended: Promise<unknown>;
  #commands = 0;

  private constructor(machine: Awaited<ReturnType<typeof createMachine>>, console: TextConsole) {
    this.#machine = machine;
    this.#console = console;
    this.#ended = machine.run();
  }

  /** @param create that of `dist/`, for what has threads of its own: those are of JavaScript */
  static async start(
    description: MachineDescription,
    create: typeof createMachine = createMachine,
  ): Promise<ShellMachine> {
    const console = new TextConsole();
    return new ShellMachine(await create({ ...description, console }), console);
  }

  waitFor(pattern: RegExp): Promise<unknown> {
    return this.#console.waitFor(pattern);
  }

  /** What a command writes. */
  async run(line: string): Promise<string> {
    this.#commands += 1;
    const n = this.#commands;
    // The quotes keep the terminal's echo from being taken for the answer.
    this.#console.type(`echo '<'${n}; ${line}; echo ${n}'>'\n`);
    const answer = new RegExp(`\\n<${n}\\r\\n([^]*?)\\r\\n${n}>\\r\\n`);
    await this.#console.waitFor(answer);
    return answer.exec(this.#console.text)?.[1] ?? "";
  }

  async saveAs(path: string): Promise<void> {
    await writeSnapshotFile(path, await this.#machine.save());
  }

  async stop(): Promise<void> {
    this.#machine.stop();
    await this.#ended;
  }
}

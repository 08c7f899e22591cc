import type { BrowserLoop } from "../hosts/browser/index.js";
import type { Machine } from "../vmm/machine/index.js";

/** Turns after which a step ends although the guest executed nothing: it waits for something. */
const IDLE_TURNS = 50;

/** Lets a paused machine go on for about one slice of work. */
export class Stepper {
  readonly #machine: Pick<Machine, "state" | "instructions" | "pause" | "resume">;
  readonly #loop: Pick<BrowserLoop, "onTurn">;

  constructor(
    machine: Pick<Machine, "state" | "instructions" | "pause" | "resume">,
    loop: Pick<BrowserLoop, "onTurn">,
  ) {
    this.#machine = machine;
    this.#loop = loop;
  }

  /** One slice: until the machine gives the host its turn after it has executed something. */
  step(): void {
    const machine = this.#machine;
    if (machine.state !== "paused") return;
    const before = machine.instructions;
    let turns = 0;
    this.#loop.onTurn = () => {
      turns++;
      if (machine.state === "running" && machine.instructions === before && turns < IDLE_TURNS) {
        return;
      }
      this.#loop.onTurn = undefined;
      if (machine.state === "running") machine.pause();
    };
    machine.resume();
  }
}

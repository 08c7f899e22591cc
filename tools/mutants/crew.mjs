// @ts-check
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Milliseconds that a worker may say nothing: it neither runs nor waits as the two below see it. */
const PATIENCE_MS = 120_000;
/** Milliseconds of processor time that any case may take with a mutant, and how many times its own cost. */
const SPINS_MS = 2000;
const SPINS_TIMES = 20;
/** Milliseconds between two looks at a worker. */
const LOOK_MS = 250;
const here = new URL(".", import.meta.url).pathname;

/**
 * Milliseconds of processor time that a process took, as /proc says it in hundredths; 0 on another system.
 * @param {number | undefined} pid
 */
function cpuMs(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [user, system] = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13);
    return (Number(user) + Number(system)) * 10;
  } catch {
    return 0;
  }
}

/**
 * One worker process at a time, replaced when it hangs or dies.
 */
export class Worker {
  #args;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #child;
  #last = "";
  /** The mutants that code comes by while it is loaded. @type {string[]} */
  atLoad = [];
  /** Cases and the digests of their texts. @type {[string, string][]} */
  cases = [];

  /**
   * @param {string} folder
   * @param {import("./instrument.mjs").Build} build
   */
  constructor(folder, { bundle, mutants, ignored, tests }) {
    this.#args = [folder, bundle, String(mutants.length + ignored), JSON.stringify(tests)];
  }

  async start() {
    const child = fork(join(here, "worker.mjs"), this.#args, {
      execArgv: ["--max-old-space-size=3000"],
      serialization: "advanced",
      // Random tests draw the same in every run.
      env: { ...process.env, SEED: "1" },
    });
    this.#child = child;
    const ready = await this.#until((message) => message.ready !== undefined, {
      patience: 300_000,
    });
    if (ready === undefined) throw new Error("mutants: the worker did not start");
    this.atLoad = ready.atLoad;
    this.cases = ready.ready;
  }

  /**
   * Reads messages until one is the last; undefined when the worker hung or died, and was put away.
   * @param {(message: any) => boolean} isLast
   * @param {{ patience?: number, mayTake?: (id: string) => number }} [limits] `mayTake` says how many milliseconds
   * of processor time a case may take
   * @returns {Promise<any>}
   */
  #until(isLast, { patience = PATIENCE_MS, mayTake } = {}) {
    const child = this.#child;
    if (child === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      /** @type {NodeJS.Timeout | undefined} */
      let timer;
      /** @type {NodeJS.Timeout | undefined} */
      let looks;
      const over = (/** @type {any} */ answer) => {
        clearTimeout(timer);
        clearInterval(looks);
        child.removeAllListeners();
        if (answer === undefined) {
          child.kill("SIGKILL");
          this.#child = undefined;
        }
        resolve(answer);
      };
      if (mayTake !== undefined) {
        let at = "";
        let began = 0;
        looks = setInterval(() => {
          const now = cpuMs(child.pid);
          if (at !== this.#last) {
            at = this.#last;
            began = now;
          } else if (now - began > mayTake(at)) over(undefined);
        }, LOOK_MS);
      }
      const wind = () => {
        clearTimeout(timer);
        timer = setTimeout(() => over(undefined), patience);
      };
      child.on("exit", () => over(undefined));
      child.on("message", (/** @type {any} */ message) => {
        wind();
        if (message.at !== undefined) this.#last = message.at;
        if (isLast(message)) over(message);
      });
      wind();
    });
  }

  /**
   * Measures cases; `each` gets what is known of every one. One that does not end, which may be for other
   * programs' load, fails; those behind it are not measured then.
   * @param {string[]} ids
   * @param {(measured: any) => void} each
   */
  async measure(ids, each) {
    if (this.#child === undefined) await this.start();
    this.#child?.send({ baseline: ids });
    const end = await this.#until((message) => {
      if (message.measured !== undefined) each(message);
      return message.baseline === true;
    });
    if (end !== undefined) return;
    const [measured, digest] = this.cases.find(([id]) => id === this.#last) ?? [];
    if (measured === undefined) throw new Error(`mutants: ${this.#last} hangs without any mutant`);
    each({ measured, digest, cost: 0, hits: {}, failed: "it does not end" });
  }

  /**
   * Shows a mutant to cases.
   * @param {{ mutant: string, ask: { id: string, hits: number, total: number, cost: number }[], reload: boolean }} request
   * @returns {Promise<{ status: "killed" | "timeout" | "survived", by?: string, why?: string, asked: number }>}
   */
  async tryMutant(request) {
    if (this.#child === undefined) await this.start();
    this.#last = "loading";
    this.#child?.send(request);
    const costs = new Map(request.ask.map(({ id, cost }) => [id, cost]));
    const answer = await this.#until((message) => message.tried !== undefined, {
      // Loading is no case: it takes as long as it takes.
      mayTake: (id) => {
        const cost = costs.get(id);
        return cost === undefined ? Infinity : SPINS_MS + SPINS_TIMES * cost;
      },
    });
    if (answer === undefined) return { status: "timeout", by: this.#last, asked: 1 };
    const { status, by, why, asked } = answer;
    return { status, by, why, asked };
  }

  stop() {
    this.#child?.removeAllListeners();
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }
}

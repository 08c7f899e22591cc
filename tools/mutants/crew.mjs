// @ts-check
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What a worker says.
 * @typedef {object} Answer
 * @property {[id: string, digest: string][]} [ready] it is loaded: the cases and the digests of their texts
 * @property {string[]} [atLoad] with `ready`: the mutants that code comes by while it is loaded
 * @property {string} [at] the case that begins
 * @property {Measured} [measured] a case that ran without mutants
 * @property {true} [baseline] all of them did
 * @property {Verdict} [tried]
 *
 * @typedef {object} Measured
 * @property {string} id
 * @property {string} digest
 * @property {number} cost
 * @property {Record<string, number>} hits
 * @property {string} [failed]
 *
 * @typedef {object} Verdict
 * @property {"killed" | "timeout" | "survived" | "unsure"} status of `unsure`, a case fails that fails without the
 * mutant, too: for other programs' load, or for what a mutant left behind in the worker
 * @property {string} [by] the case that noticed
 * @property {string} [why] what it said
 * @property {number} asked how many cases were asked
 */

/** Milliseconds that a worker may say nothing: it neither runs nor waits as the two below see it. */
const PATIENCE_MS = 120_000;
/** What is said to have noticed a mutant that keeps the code from being loaded. */
export const LOADING = "loading";
/** Cases that a mutant may make spin: no more are asked then. */
const SPINS = 3;
/** Milliseconds of processor time that any case may take with a mutant, and how many times its own cost. */
const SPINS_MS = 2000;
const SPINS_TIMES = 20;
/** Milliseconds that a worker may sleep: nothing will wake it, as no test waits that long. */
const IDLE_MS = 3000;
/** Milliseconds between two looks at a worker. */
const LOOK_MS = 250;
const here = new URL(".", import.meta.url).pathname;

/**
 * What a process does, as /proc says it: milliseconds of processor time that it took, in hundredths of a second, and
 * whether it sleeps. On another system nothing is known.
 * @param {number | undefined} pid
 */
function look(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { cpu: (Number(fields[11]) + Number(fields[12])) * 10, sleeps: fields[0] === "S" };
  } catch {
    return { cpu: 0, sleeps: false };
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
    if (ready?.ready === undefined) throw new Error("mutants: the worker did not start");
    this.atLoad = ready.atLoad ?? [];
    this.cases = ready.ready;
  }

  /**
   * Reads messages until one is the last; undefined when the worker hung or died, and was put away.
   * @param {(message: Answer) => boolean} isLast
   * @param {{ patience?: number, mayTake?: (id: string) => number }} [limits] `mayTake` says how many milliseconds
   * of processor time a case may take
   * @returns {Promise<Answer | undefined>}
   */
  #until(isLast, { patience = PATIENCE_MS, mayTake } = {}) {
    const child = this.#child;
    if (child === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      /** @type {NodeJS.Timeout | undefined} */
      let timer;
      /** @type {NodeJS.Timeout | undefined} */
      let looks;
      const over = (/** @type {Answer | undefined} */ answer) => {
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
        let before = 0;
        let idle = 0;
        looks = setInterval(() => {
          const { cpu, sleeps } = look(child.pid);
          if (at !== this.#last) {
            at = this.#last;
            began = cpu;
            idle = 0;
          } else {
            idle = sleeps && cpu === before ? idle + LOOK_MS : 0;
            if (cpu - began > mayTake(at) || idle > IDLE_MS) over(undefined);
          }
          before = cpu;
        }, LOOK_MS);
      }
      const wind = () => {
        clearTimeout(timer);
        timer = setTimeout(() => over(undefined), patience);
      };
      child.on("exit", () => over(undefined));
      child.on("message", (/** @type {Answer} */ message) => {
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
   * @param {(measured: Measured) => void} each
   */
  async measure(ids, each) {
    if (this.#child === undefined) await this.start();
    this.#child?.send({ baseline: ids });
    const end = await this.#until((message) => {
      if (message.measured !== undefined) each(message.measured);
      return message.baseline === true;
    });
    if (end !== undefined) return;
    const known = this.cases.find(([name]) => name === this.#last);
    if (known === undefined) throw new Error(`mutants: ${this.#last} hangs without any mutant`);
    const [id, digest] = known;
    each({ id, digest, cost: 0, hits: {}, failed: "it does not end" });
  }

  /**
   * Shows a mutant to cases. One that fails without it, too, has not noticed it, and one that it makes spin says little:
   * the others are asked anew.
   * @param {{ mutant: string, ask: { id: string, hits: number, total: number, cost: number }[], reload: boolean }} request
   * @returns {Promise<Verdict & { status: "killed" | "timeout" | "survived" }>}
   */
  async tryMutant(request) {
    let { ask } = request;
    let asked = 0;
    /** @type {string[]} */
    const spins = [];
    for (;;) {
      const { status, ...verdict } = await this.#show({ ...request, ask });
      const { by = "" } = verdict;
      asked += verdict.asked;
      if (status === "killed") return { ...verdict, status, asked };
      if (status === "timeout") spins.push(by);
      else if (status === "unsure") this.stop();
      ask = status === "survived" ? [] : ask.slice(1 + ask.findIndex(({ id }) => id === by));
      const [spun] = spins;
      const isOver = ask.length === 0 || by === LOADING || spins.length >= SPINS;
      if (isOver && spun !== undefined) return { status: "timeout", by: spun, asked };
      if (isOver) return { status: "survived", asked };
    }
  }

  /**
   * @param {Parameters<Worker["tryMutant"]>[0]} request
   * @returns {Promise<Verdict>}
   */
  async #show(request) {
    if (this.#child === undefined) await this.start();
    this.#last = LOADING;
    this.#child?.send(request);
    const costs = new Map(request.ask.map(({ id, cost }) => [id, cost]));
    const answer = await this.#until((message) => message.tried !== undefined, {
      // Loading is no case: it takes as long as it takes.
      mayTake: (id) => {
        const cost = costs.get(id);
        return cost === undefined ? Infinity : SPINS_MS + SPINS_TIMES * cost;
      },
    });
    return answer?.tried ?? { status: "timeout", by: this.#last, asked: 1 };
  }

  stop() {
    this.#child?.removeAllListeners();
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }
}

/** The machine's end of the conversation with the agent in its guest: commands, and what becomes of them. */
import type { HostError } from "../../../base/index.js";
import type { ByteStream, Clock, TimerHandle, Timers } from "../../../ports/index.js";
import { type LoadErrorCodeName, refuse } from "../../loader/errors.js";
import {
  AGENT_VERSION,
  type AgentFrame,
  encodeFrame,
  FrameReader,
  FromAgent,
  READY_MAGIC,
  startPayload,
  ToAgent,
  wordAt,
  words,
} from "./frames.js";
import { type ExecOptions, type ExecResult, RunningCommand } from "./running-command.js";

/** What the agent finds its console by. */
export const AGENT_CHANNEL = "org.kvm-xen.agent";

/**
 * Commands that wait until others have ended.
 * @limit user | commands of exec that wait | commands | EXEC_QUEUE
 */
const MAX_WAITING = 1024;
/**
 * Bytes of a command's words, variables and folder.
 * @limit user | words, variables and folder of a command of exec | bytes | EXEC_ARGUMENTS
 */
const MAX_START = 32768;
/**
 * Words of a command, and variables.
 * @limit user | words, or variables, of a command of exec | words | EXEC_ARGUMENTS
 */
const MAX_WORDS = 1024;
/** How long a guest may take until its agent speaks. */
const AGENT_SECONDS = 180;

const SIGKILL = 9;
const ENOENT = 2;
/** In a FAILED frame, added to the error when it is the folder's. */
const IN_FOLDER = 0x10000;

/** What an agent has said that it takes. */
interface Agent {
  readonly atOnce: number;
  readonly window: number;
}

export class AgentChannel implements ByteStream {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #frames = new FrameReader();
  #send: (bytes: Uint8Array) => void = () => undefined;
  #agent: Agent | undefined;
  /** There was an agent, and the kernel is the same. */
  #known = false;
  /** It is to be asked before it is told anything. */
  #unasked = false;
  /** How often it was asked without an answer yet; a question into a console that is connected anew may be lost. */
  #unanswered = 0;
  #nextId = 1;
  readonly #waiting: RunningCommand[] = [];
  /** What the agent has been told to start and has not said the end of. */
  readonly #running = new Map<number, RunningCommand>();
  #ended = false;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /**
   * Runs a command.
   * @throws HostError as Machine.exec.
   */
  exec(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
    if (this.#ended) throw refuse("ENDED", "the machine has ended");
    const start = checkedStart(argv, options);
    if (this.#waiting.length >= MAX_WAITING) {
      throw refuse("EXEC_QUEUE", `${MAX_WAITING} commands wait already: wait for some of them`);
    }
    const command = new RunningCommand(this.#nextId, start, options);
    this.#nextId = this.#nextId === 0xffffffff ? 1 : this.#nextId + 1;
    this.#waiting.push(command);
    if (this.#unasked) this.#ask();
    const timers = this.#startTimers(command, options.timeout);
    this.#pump();
    return command.result.finally(() => {
      for (const timer of timers) timer.cancel();
    });
  }

  /** Commands run, or wait. */
  get isBusy(): boolean {
    return this.#running.size + this.#waiting.length > 0;
  }

  /** The console has a driver in the guest, which perhaps had one before. */
  connected(): void {
    this.#lose("the guest has connected its console anew");
    if (this.#known) this.#ask();
  }

  /** The machine was saved with a guest in it, and this is another process: its agent is asked when it is needed. */
  restored(): void {
    this.#lose("the machine was restored");
    this.#known = true;
    this.#unasked = true;
  }

  /** The guest starts anew: what ran in it is no more. */
  rebooted(): void {
    this.#known = false;
    this.#unasked = false;
    this.#unanswered = 0;
    this.#lose("the guest has rebooted");
  }

  /** The machine has ended. */
  end(): void {
    this.#ended = true;
    for (const command of this.#all()) {
      command.fail(refuse("ENDED", "the machine has ended before the command had"));
    }
    this.#waiting.length = 0;
    this.#running.clear();
  }

  /** For the console: who gets what is sent to the guest. */
  onData(receiver: (bytes: Uint8Array) => void): void {
    this.#send = receiver;
  }

  /** For the console: what the guest has written. */
  write(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#frames.push(bytes);
    for (;;) {
      const frame = this.#frames.next();
      if (frame === undefined) return;
      if (frame === "senseless") {
        this.#lose("the guest's agent does not keep to the protocol");
        return;
      }
      this.#take(frame);
    }
  }

  /** The agent forgets all commands, and says that it is there. */
  #ask(): void {
    this.#unasked = false;
    this.#unanswered += 1;
    this.#send(encodeFrame(ToAgent.RESET, 0));
  }

  #all(): RunningCommand[] {
    return [...this.#running.values(), ...this.#waiting];
  }

  #take(frame: AgentFrame): void {
    if (frame.type === FromAgent.READY) {
      this.#ready(frame);
      return;
    }
    const command = this.#running.get(frame.id);
    // An end that is told twice, or of a conversation that is over.
    if (command === undefined) return;
    // It had read all questions before it was told of this command.
    this.#unanswered = 0;
    switch (frame.type) {
      case FromAgent.STDOUT:
        this.#failAndKill(command, command.output("stdout", frame.payload));
        return;
      case FromAgent.STDERR:
        this.#failAndKill(command, command.output("stderr", frame.payload));
        return;
      case FromAgent.TAKEN:
        command.credit += Math.min(wordAt(frame, 0), (this.#agent?.window ?? 0) - command.credit);
        this.#feed(command);
        return;
      case FromAgent.EXIT:
        command.end(wordAt(frame, 0), wordAt(frame, 1));
        break;
      case FromAgent.FAILED:
        command.fail(whyNotStarted(wordAt(frame, 0)));
        break;
      default:
        return;
    }
    this.#running.delete(command.id);
    this.#pump();
  }

  #ready(frame: AgentFrame): void {
    const [version, atOnce, window, start] = [0, 1, 2, 3].map((index) => wordAt(frame, index)) as [
      number,
      number,
      number,
      number,
    ];
    const isSane = atOnce >= 1 && window >= 1 && start >= MAX_START;
    if (frame.id !== READY_MAGIC || version !== AGENT_VERSION || !isSane) {
      this.#lose(`the guest's agent speaks version ${version}, not ${AGENT_VERSION}`);
      return;
    }
    const isAnswered = this.#agent !== undefined && this.#unanswered > 0;
    if (this.#unanswered > 0) this.#unanswered -= 1;
    // To a question from before that command, which the one before this has let begin.
    if (isAnswered) return;
    // What an agent that starts anew does not know of has ended.
    this.#failRunning("the guest's agent has started anew");
    this.#agent = { atOnce: Math.min(atOnce, 16), window: Math.min(window, 16384) };
    this.#known = true;
    this.#pump();
  }

  #pump(): void {
    while (this.#agent !== undefined && this.#running.size < this.#agent.atOnce) {
      const command = this.#waiting.shift();
      if (command === undefined) return;
      if (command.settled) continue;
      this.#running.set(command.id, command);
      command.credit = this.#agent.window;
      this.#send(encodeFrame(ToAgent.START, command.id, command.start));
      this.#feed(command);
    }
  }

  #feed(command: RunningCommand): void {
    command.feed((bytes) => {
      // It may have ended while its input was waited for.
      if (this.#running.get(command.id) !== command) return;
      this.#send(encodeFrame(ToAgent.STDIN, command.id, bytes));
    });
  }

  #failAndKill(command: RunningCommand, error: HostError | undefined): void {
    if (error === undefined) return;
    command.fail(error);
    if (this.#running.has(command.id)) {
      this.#send(encodeFrame(ToAgent.KILL, command.id, words(SIGKILL)));
    } else {
      this.#waiting.splice(this.#waiting.indexOf(command), 1);
    }
  }

  /** There is no agent until one speaks again. */
  #lose(why: string): void {
    this.#agent = undefined;
    this.#frames.restart();
    this.#failRunning(why);
  }

  #failRunning(why: string): void {
    for (const command of this.#running.values()) {
      command.fail(refuse("EXEC_LOST", `the command is lost: ${why}`));
    }
    this.#running.clear();
  }

  #startTimers(command: RunningCommand, timeout: number | undefined): TimerHandle[] {
    const after = (milliseconds: number, act: () => void): TimerHandle =>
      this.#timers.arm(this.#clock.monotonicNs() + milliseconds * 1e6, act);
    const timers = [
      after(AGENT_SECONDS * 1000, () => {
        if (this.#agent !== undefined || !this.#waiting.includes(command)) return;
        const message = `no agent has answered in the guest for ${AGENT_SECONDS} s: docs/guest-agent.md says which guests have one`;
        this.#failAndKill(command, refuse("EXEC_NO_AGENT", message));
      }),
    ];
    if (timeout !== undefined) {
      timers.push(
        after(timeout, () => {
          const error = refuse("EXEC_TIMEOUT", `the command has not ended within ${timeout} ms`);
          if (!command.settled) this.#failAndKill(command, error);
        }),
      );
    }
    return timers;
  }
}

function whyNotStarted(number: number): HostError {
  const error = number % IN_FOLDER;
  if (number >= IN_FOLDER) {
    return refuse("EXEC_FOLDER", `the guest cannot go to the command's folder (errno ${error})`);
  }
  const code: LoadErrorCodeName = error === ENOENT ? "NO_PROGRAM" : "PROGRAM_REFUSED";
  const what =
    error === ENOENT ? "has no such program" : `cannot start the program (errno ${error})`;
  return refuse(code, `the guest ${what}`);
}

/** @throws HostError EXEC_ARGUMENTS. */
function checkedStart(argv: readonly string[], options: ExecOptions): Uint8Array {
  const { env = {}, cwd = "", timeout } = options;
  const wrong = (what: string): HostError => refuse("EXEC_ARGUMENTS", what);
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === "") {
    throw wrong("give the program and its arguments as an array: ['ls', '-l']");
  }
  if (timeout !== undefined && !(Number.isFinite(timeout) && timeout > 0)) {
    throw wrong(`${timeout} is no number of milliseconds`);
  }
  const variables = Object.entries(env).map(([name, value]) => {
    if (name === "" || name.includes("=")) throw wrong(`'${name}' is no name of a variable`);
    return `${name}=${value}`;
  });
  const isText = (one: unknown): boolean => typeof one === "string" && !one.includes("\0");
  if (![cwd, ...argv, ...variables].every(isText)) {
    throw wrong("words, variables and the folder are text without a NUL");
  }
  const start = startPayload(cwd, argv, variables);
  const most = Math.max(argv.length, variables.length);
  if (most > MAX_WORDS || start.length > MAX_START) {
    throw wrong(`a command has at most ${MAX_WORDS} words and ${MAX_START} bytes: use stdin`);
  }
  return start;
}

/** A network namespace of its own: what a test does there reaches nothing else, and asks for no address of this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** What a server in it answers: `/file` with so many bytes of one value, a POST with the checksum of what was sent. */
const SERVER = `
const { createServer } = require("node:http");
const { createHash } = require("node:crypto");
const [at, size] = [process.argv[1], Number(process.argv[2])];
createServer((request, response) => {
  const hash = createHash("sha256");
  request.on("data", (data) => hash.update(data));
  request.on("end", () => response.end(
    request.method === "POST" ? hash.digest("hex") + "\\n" : Buffer.alloc(size, "network")));
}).listen(80, at, () => console.log("listening"));
`;
/**
 * What a client in it is told by whoever listens at an address; tried until somebody does. It speaks first: the passt of
 * Debian 12 does not complete a connection into the guest before.
 */
const CLIENT = `
const { connect } = require("node:net");
const [at, port] = process.argv.slice(1);
const ask = () => {
  let text = "";
  const socket = connect(Number(port), at);
  socket.write("hello\\n");
  socket.on("data", (data) => { text += data; });
  socket.on("error", () => undefined);
  socket.on("close", () => (text === "" ? setTimeout(ask, 200) : process.stdout.write(text)));
};
ask();
`;

const withSystemPrograms = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };

/** A namespace, kept by a shell that waits. */
export class OwnNetwork {
  readonly #keeper: ChildProcess;
  readonly #started: ChildProcess[] = [];

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
  }

  /** Makes one with what these lines of a shell set up. */
  static async create(setUp: string): Promise<OwnNetwork> {
    const script = `set -e; ${setUp}\necho ready; exec cat`;
    const keeper = spawn("unshare", ["-n", "sh", "-c", script], {
      stdio: "pipe",
      env: withSystemPrograms,
    });
    const network = new OwnNetwork(keeper);
    await said(keeper, "ready");
    return network;
  }

  /** The words that run a command there. */
  wrap(command: readonly string[]): string[] {
    return ["nsenter", "-t", `${this.#keeper.pid}`, "-n", "--", ...command];
  }

  /** Starts the server at port 80 of an address. */
  async serve(address: string, bytes: number): Promise<void> {
    const server = this.#start(process.execPath, "-e", SERVER, "--", address, `${bytes}`);
    await said(server, "listening");
  }

  /** What is said to whoever connects. */
  ask(address: string, port: number): Promise<string> {
    return this.output(process.execPath, "-e", CLIENT, "--", address, `${port}`);
  }

  /** What a program there writes until its end. */
  async output(...command: string[]): Promise<string> {
    const child = this.#start(...command);
    let text = "";
    child.stdout?.on("data", (data) => {
      text += data;
    });
    await once(child, "close");
    return text;
  }

  #start(...command: string[]): ChildProcess {
    const [program = "", ...rest] = this.wrap(command);
    const child = spawn(program, rest, { stdio: "pipe", env: withSystemPrograms });
    this.#started.push(child);
    return child;
  }

  /** Ends what runs there. */
  remove(): void {
    for (const child of [...this.#started, this.#keeper]) child.kill("SIGKILL");
  }
}

/** Waits for a word of a program's output. */
async function said(child: ChildProcess, word: string): Promise<void> {
  let [output, errors] = ["", ""];
  child.stderr?.on("data", (data) => {
    errors += data;
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", (data) => {
      output += data;
      if (output.includes(word)) resolve();
    });
    child.on("error", reject);
    child.on("close", () => reject(new Error(`ended without '${word}': ${output}${errors}`)));
  });
}

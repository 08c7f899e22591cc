import { PassThrough } from "node:stream";
import { beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../base/index.js";
import type { ExecOptions, ExecResult } from "../hosts/node/index.js";
import { runCommand } from "./exec-run.js";
import type { GuestRequest, RunLimits } from "./guest-run.js";
import { FakeHost, type FakeMachine } from "./host.fixture.js";

const request: GuestRequest = {
  config: {
    kernel: new Uint8Array(0),
    commandLine: "",
    memoryBytes: 1 << 20,
    cpus: 1,
    console: "hvc0",
    exec: true,
  },
  clock: "real",
  stats: false,
};

let host: FakeHost;
let asked: string[];
beforeEach(() => {
  host = new FakeHost();
  asked = [];
});

type Play = (argv: readonly string[], options: ExecOptions, machine: FakeMachine) => unknown;

/** Runs a command; `play` is what becomes of it in the guest. */
function run(
  play: Play,
  limits: Partial<RunLimits> = {},
  how: Partial<GuestRequest> = {},
): Promise<number> {
  const createMachine = host.createMachine.bind(host);
  host.onMachine = () => undefined;
  host.createMachine = async (wanted, streams) => {
    const machine = (await createMachine(wanted, streams)) as FakeMachine;
    return Object.assign(machine, {
      exec: async (argv: readonly string[], options: ExecOptions) => play(argv, options, machine),
      requestShutdown: (how: string) => {
        asked.push(how);
        machine.end({ kind: "poweroff" });
      },
    });
  };
  return runCommand(
    Promise.resolve({ ...request, ...how }),
    "my command",
    { verbose: false, ...limits },
    host,
  );
}

const result = (status: number): ExecResult => {
  const none = new Uint8Array(0);
  return { status, stdout: none, stderr: none };
};

describe("--exec", () => {
  it("ends with the command's status, and lets the guest power off before", async () => {
    const words: (readonly string[])[] = [];
    const status = await run((argv) => {
      words.push(argv);
      return result(7);
    });
    expect([status, words, asked]).toEqual([7, [["sh", "-c", "my command"]], ["poweroff"]]);
  });

  it("has the command's streams, and not the guest's console", async () => {
    const input = Object.assign(new PassThrough(), { isTTY: false });
    input.end("typed");
    Object.assign(host, { input });
    const heard: string[] = [];
    await run(async (_, { stdin, onStdout, onStderr }, machine) => {
      machine.console.write(Buffer.from("Linux boots"));
      for await (const piece of stdin as AsyncIterable<Uint8Array>) heard.push(`${piece}`);
      onStdout?.(Buffer.from("out"));
      onStderr?.(Buffer.from("err"));
      return result(0);
    });
    expect([heard, host.printed, host.complaints]).toEqual([["typed"], "out", "err"]);
  });

  it("gives a command no keys of a terminal", async () => {
    let got: unknown;
    await run((_, { stdin }) => {
      got = stdin;
      return result(0);
    });
    expect(got).toBe("");
  });

  it("shows the end of the console and the reason when there is no result", async () => {
    const status = await run((_argv, _options, machine) => {
      machine.console.write(Buffer.from("x".repeat(3000)));
      machine.console.write(Buffer.from("no init found\r\n"));
      throw new HostError("EXEC_NO_AGENT", "no agent has answered");
    });
    expect(status).toBe(1);
    expect(host.complaints).toMatch(/^x{1985}no init found\nkvm-xen: no agent has answered\n$/);
    expect(asked).toEqual([]);
  });

  it("ends as the guest does that ends before", async () => {
    const status = await run((_argv, _options, machine) => {
      Object.assign(machine, { state: "ended" });
      machine.end({ kind: "crash", reason: "triple fault" });
      throw new HostError("ENDED", "the machine has ended before the command had");
    });
    expect(status).toBe(1);
    expect(host.complaints).toContain("kvm-xen: the guest crashed: triple fault\n");
  });

  it("is over when --timeout is", async () => {
    const never: Play = (_argv, _options, machine) =>
      new Promise((_, reject) => {
        const { stop } = machine;
        machine.stop = () => {
          stop.call(machine);
          reject(new HostError("ENDED", "the machine has ended"));
        };
      });
    expect(await run(never, { timeoutSeconds: 0.01 })).toBe(124);
    expect(host.complaints).toBe("kvm-xen: stopped: the 0.01 s of --timeout are over\n");
  });

  it("is watched like any other run: --stats, --control, --inspect, trace", async () => {
    const seen: string[] = [];
    const createMachine = host.createMachine.bind(host);
    host.createMachine = (wanted, streams) => {
      seen.push(...Object.keys(streams));
      return createMachine(wanted, streams);
    };
    const trace = {
      fd: 2,
      path: undefined,
      filter: undefined,
      format: "text",
      summary: false,
    } as const;
    await run(() => result(0), { trace }, { stats: true });
    expect(seen).toEqual(expect.arrayContaining(["watch", "onControl", "onInspect"]));
    expect(host.complaints).toMatch(/^kvm-xen: 3000000 instructions in /m);
  });
});

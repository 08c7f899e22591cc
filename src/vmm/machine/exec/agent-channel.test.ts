import { beforeEach, describe, expect, it } from "vitest";
import { FakeTime } from "../../xen/kvm.fixture.js";
import { AgentChannel } from "./agent-channel.js";
import { encodeFrame, FromAgent, READY_MAGIC, ToAgent, wordAt, words } from "./frames.js";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
const code = (name: string) => expect.objectContaining({ name: "HostError", code: name });

/** What a test's agent has been told. */
interface Told {
  readonly type: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

let time: FakeTime;
let channel: AgentChannel;
let told: Told[];

beforeEach(() => {
  time = new FakeTime();
  channel = new AgentChannel(time, time);
  told = [];
  channel.onData((frame) => {
    const view = new DataView(frame.buffer, frame.byteOffset);
    expect(view.getUint32(8, true)).toBe(frame.length - 12);
    const [type, id] = [view.getUint32(0, true), view.getUint32(4, true)];
    told.push({ type, id, payload: frame.slice(12) });
  });
});

const say = (type: number, id: number, payload?: Uint8Array): void =>
  channel.write(encodeFrame(type, id, payload));
const ready = (...facts: number[]): void =>
  say(FromAgent.READY, READY_MAGIC, words(...(facts.length > 0 ? facts : [1, 2, 4, 32768])));
const exit = (id: number, status: number, signal = 0): void =>
  say(FromAgent.EXIT, id, words(status, signal));
const kinds = (): string[] =>
  told.map(({ type, id }) => {
    const name = Object.entries(ToAgent).find(([, value]) => value === type)?.[0];
    return `${name} ${id}`;
  });
const pass = (seconds: number): void => {
  time.now += seconds * 1e9;
  time.runDue();
};

describe("commands of a machine", () => {
  it("are started with their words, variables and folder, and end with status and output", async () => {
    ready();
    const result = channel.exec(["ls", "-l"], { cwd: "/tmp", env: { A: "b=c" } });
    expect(kinds()).toEqual(["START 1", "STDIN 1"]);
    expect(text(told[0]?.payload.subarray(8) as Uint8Array)).toBe("/tmp\0ls\0-l\0A=b=c\0");
    expect([...new Uint32Array((told[0]?.payload as Uint8Array).slice(0, 8).buffer)]).toEqual([
      2, 1,
    ]);
    say(FromAgent.STDOUT, 1, bytes("one "));
    say(FromAgent.STDERR, 1, Uint8Array.of(0, 255));
    say(FromAgent.STDOUT, 1, bytes("two"));
    exit(1, 3);
    expect(await result).toEqual({
      status: 3,
      stdout: bytes("one two"),
      stderr: Uint8Array.of(0, 255),
    });
  });

  it("that a signal has ended have 128 and its number, as in shells", async () => {
    ready();
    const result = channel.exec(["a"], {});
    exit(1, 0, 9);
    expect(await result).toMatchObject({ status: 137, signal: 9 });
  });

  it("wait for an agent, and go to the first that speaks, whatever stood before", async () => {
    const result = channel.exec(["a"], {});
    expect(told).toEqual([]);
    channel.write(bytes("login: "));
    const frame = encodeFrame(FromAgent.READY, READY_MAGIC, words(1, 2, 4, 32768));
    for (const byte of frame) channel.write(Uint8Array.of(byte));
    exit(1, 0);
    expect((await result).status).toBe(0);
  });

  it("run as many at a time as the agent takes, the others in order", async () => {
    ready();
    const results = ["a", "b", "c", "d"].map((name) => channel.exec([name], {}));
    expect(kinds().filter((kind) => kind.startsWith("START"))).toEqual(["START 1", "START 2"]);
    exit(2, 0);
    expect(
      kinds()
        .filter((kind) => kind.startsWith("START"))
        .at(-1),
    ).toBe("START 3");
    for (const id of [1, 3, 4]) exit(id, id);
    expect((await Promise.all(results)).map(({ status }) => status)).toEqual([1, 0, 3, 4]);
  });

  it("get no more input than the agent has room for", async () => {
    ready();
    const result = channel.exec(["cat"], { stdin: "0123456789" });
    const input = () =>
      told.filter(({ type }) => type === ToAgent.STDIN).map(({ payload }) => text(payload));
    expect(input()).toEqual(["0123"]);
    say(FromAgent.TAKEN, 1, words(3));
    expect(input()).toEqual(["0123", "456"]);
    // An agent that claims more than it had gets no more than its window.
    say(FromAgent.TAKEN, 1, words(0xffffffff));
    expect(input()).toEqual(["0123", "456", "789", ""]);
    exit(1, 0);
    await result;
  });

  it("take input as it comes, and end its source when they end", async () => {
    ready();
    const pieces = [bytes("ab"), bytes("cd")];
    let returned = 0;
    const source: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          const value = pieces.shift();
          return value === undefined ? new Promise(() => undefined) : { done: false, value };
        },
        return: async () => {
          returned += 1;
          return { done: true, value: undefined };
        },
      }),
    };
    const result = channel.exec(["cat"], { stdin: source });
    await new Promise((resolve) => setTimeout(resolve));
    const input = told.filter(({ type }) => type === ToAgent.STDIN);
    expect(input.map(({ payload }) => text(payload))).toEqual(["ab", "cd"]);
    exit(1, 0);
    await result;
    expect(returned).toBe(1);
    const failing = channel.exec(["cat"], {
      stdin: {
        [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("no input")) }),
      },
    });
    await expect(failing).rejects.toThrow("no input");
  });

  it("give their output as it comes to whoever wants it", async () => {
    ready();
    const heard: string[] = [];
    const options = { onStdout: (piece: Uint8Array) => heard.push(text(piece)) };
    const result = channel.exec(["a"], options);
    say(FromAgent.STDOUT, 1, bytes("now"));
    expect(heard).toEqual(["now"]);
    exit(1, 0);
    expect((await result).stdout).toHaveLength(0);
  });
});

describe("commands that have no result", () => {
  it.each([
    [2, "NO_PROGRAM"],
    [13, "PROGRAM_REFUSED"],
    [0x10002, "EXEC_FOLDER"],
  ])("fail with error %i of the agent as %s", async (number, name) => {
    ready();
    const result = channel.exec(["a"], {});
    say(FromAgent.FAILED, 1, words(number));
    await expect(result).rejects.toThrow(code(name));
  });

  it("are killed when their time is over, and keep their place until they have ended", async () => {
    ready(1, 1, 4, 32768);
    const result = channel.exec(["a"], { timeout: 500 });
    const next = channel.exec(["b"], {});
    pass(0.4);
    expect(kinds()).not.toContain("KILL 1");
    pass(0.2);
    await expect(result).rejects.toThrow(code("EXEC_TIMEOUT"));
    expect(kinds().at(-1)).toBe("KILL 1");
    expect(wordAt({ ...(told.at(-1) as Told) }, 0)).toBe(9);
    exit(1, 0, 9);
    exit(2, 0);
    expect((await next).status).toBe(0);
    expect(time.armed.size).toBe(0);
  });

  it("that still wait when their time is over are never started", async () => {
    const result = channel.exec(["a"], { timeout: 500 });
    pass(1);
    await expect(result).rejects.toThrow(code("EXEC_TIMEOUT"));
    ready();
    expect(told).toEqual([]);
  });

  it("end within three minutes in a guest without an agent", async () => {
    const result = channel.exec(["a"], {});
    pass(179);
    pass(2);
    await expect(result).rejects.toThrow(code("EXEC_NO_AGENT"));
  });

  it.each<[string, () => void]>([
    ["the guest reboots", () => channel.rebooted()],
    ["its console is a new one", () => channel.connected()],
    ["the agent starts anew", () => ready()],
    ["the agent makes no sense", () => channel.write(new Uint8Array(64).fill(0xff))],
    ["the agent speaks another version", () => ready(2, 2, 4, 32768)],
  ])("are lost when %s", async (_, happens) => {
    ready();
    const result = channel.exec(["a"], {});
    happens();
    await expect(result).rejects.toThrow(code("EXEC_LOST"));
  });

  it("end with the machine, and none are taken afterwards", async () => {
    ready(1, 1, 4, 32768);
    const results = [channel.exec(["a"], {}), channel.exec(["b"], {})];
    channel.end();
    for (const result of results) await expect(result).rejects.toThrow(code("ENDED"));
    expect(() => channel.exec(["c"], {})).toThrow(code("ENDED"));
  });

  it("write more than is kept", async () => {
    ready();
    const result = channel.exec(["yes"], {});
    const piece = new Uint8Array(65536);
    for (let i = 0; i < 1025; i++) say(FromAgent.STDOUT, 1, piece);
    await expect(result).rejects.toThrow(code("EXEC_OUTPUT"));
    expect(kinds().at(-1)).toBe("KILL 1");
  });

  it("are refused when too many wait", async () => {
    const results = Array.from({ length: 1024 }, () => channel.exec(["a"], {}));
    expect(() => channel.exec(["a"], {})).toThrow(code("EXEC_QUEUE"));
    channel.end();
    await Promise.allSettled(results);
  });

  it.each<[string, unknown, object]>([
    ["no words", [], {}],
    ["text", "ls -l", {}],
    ["an empty program", [""], {}],
    ["a NUL", ["a\0b"], {}],
    ["a number", ["a", 5], {}],
    ["a variable without a name", ["a"], { env: { "": "b" } }],
    ["a variable with =", ["a"], { env: { "a=": "b" } }],
    ["NaN", ["a"], { timeout: Number.NaN }],
    ["a time-out of 0", ["a"], { timeout: 0 }],
    ["too many words", Array.from({ length: 1025 }, () => "a"), {}],
    ["too many bytes", ["a".repeat(32768)], {}],
  ])("are refused with %s", (_, argv, options) => {
    expect(() => channel.exec(argv as string[], options)).toThrow(code("EXEC_ARGUMENTS"));
  });
});

describe("a conversation that goes on", () => {
  it("asks an agent that was there when its console is a new one", async () => {
    channel.connected();
    expect(told).toEqual([]);
    ready();
    channel.connected();
    expect(kinds()).toEqual(["RESET 0"]);
    channel.rebooted();
    channel.connected();
    expect(kinds()).toEqual(["RESET 0"]);
  });

  it("takes the answer to a question of before for no new beginning", async () => {
    channel.restored();
    const result = channel.exec(["a"], {});
    // The guest connects its console, where the first question may be, or be lost.
    channel.connected();
    expect(kinds()).toEqual(["RESET 0", "RESET 0"]);
    ready();
    ready();
    exit(1, 0);
    expect((await result).status).toBe(0);
    const lost = channel.exec(["b"], {});
    ready();
    await expect(lost).rejects.toThrow(code("EXEC_LOST"));
  });

  it("takes an agent for a new one although a question was lost", async () => {
    channel.restored();
    const first = channel.exec(["a"], {});
    channel.connected();
    ready();
    exit(1, 0);
    await first;
    const lost = channel.exec(["b"], {});
    ready();
    await expect(lost).rejects.toThrow(code("EXEC_LOST"));
  });

  it("asks the agent of a restored machine when it is needed, not before", async () => {
    channel.restored();
    expect(told).toEqual([]);
    const result = channel.exec(["a"], {});
    expect(kinds()).toEqual(["RESET 0"]);
    ready();
    exit(1, 0);
    expect((await result).status).toBe(0);
  });
});

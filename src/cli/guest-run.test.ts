import { beforeEach, describe, expect, it } from "vitest";
import { type GuestRequest, type RunLimits, runGuest } from "./guest-run.js";
import { FakeHost, type FakeMachine } from "./host.fixture.js";

const request: GuestRequest = {
  config: {
    kernel: new Uint8Array(0),
    commandLine: "",
    memoryBytes: 1 << 20,
    cpus: 1,
    console: "hvc0",
  },
  clock: "real",
  stats: false,
};

let host: FakeHost;
beforeEach(() => {
  host = new FakeHost();
});

/** Runs the guest; `script` plays it once it runs. Returns the exit status. */
function run(
  script: (machine: FakeMachine) => void,
  more: Partial<GuestRequest> = {},
  limits: Partial<RunLimits> = {},
) {
  host.onMachine = script;
  return runGuest(Promise.resolve({ ...request, ...more }), { verbose: false, ...limits }, host);
}

describe("runGuest", () => {
  it("connects the guest with the terminal, raw while it runs", async () => {
    const status = await run((machine) => {
      expect(host.input.raw).toBe(true);
      machine.console.write(Buffer.from("login: "));
      host.input.type("root\r\x03");
      expect(machine.typed).toEqual(["root\r\x03"]);
      machine.end({ kind: "poweroff" });
    });
    expect(status).toBe(0);
    expect(host.printed).toBe("login: ");
    expect(host.input.raw).toBe(false);
    expect(host.complaints).toBe("kvm-xen: Ctrl-] then q leaves, ? helps\n");
  });

  it("tells the guest the size of the terminal, also when it changes", async () => {
    Object.assign(host.output, { rows: 24, columns: 80 });
    await run((machine) => {
      Object.assign(host.output, { rows: 50, columns: 132 });
      host.output.emit("resize");
      machine.end({ kind: "poweroff" });
    });
    expect(host.machine?.sizes).toEqual([
      [24, 80],
      [50, 132],
    ]);
  });

  it("says nothing about keys when no terminal is there", async () => {
    host.input.isTTY = false;
    expect(await run((machine) => machine.end({ kind: "poweroff" }))).toBe(0);
    expect(host.complaints).toBe("");
  });

  it("exits 1 and gives the reason when the guest crashes", async () => {
    const status = await run((machine) => machine.end({ kind: "crash", reason: "triple fault" }));
    expect(status).toBe(1);
    expect(host.complaints).toContain("kvm-xen: the guest crashed: triple fault\n");
  });

  it("exits 0 when the person leaves", async () => {
    expect(await run(() => host.input.type("\x1dq"))).toBe(0);
    expect(host.input.raw).toBe(false);
  });

  it("pauses, goes on and resets, as the person wants, and helps", async () => {
    const did: string[] = [];
    await run((machine) => {
      Object.assign(machine, {
        state: "running",
        pause: () => did.push("pause"),
        resume: () => did.push("resume"),
        reset: () => did.push("reset"),
      });
      host.input.type("\x1dp");
      Object.assign(machine, { state: "paused" });
      host.input.type("\x1dp\x1dr\x1d?");
      machine.end({ kind: "poweroff" });
    });
    expect(did).toEqual(["pause", "resume", "reset"]);
    expect(host.complaints).toMatch(/is paused: [\s\S]*goes on\n[\s\S]*is reset\n[\s\S]*r resets/);
  });

  it("exits 0 when somebody stops the machine from outside", async () => {
    expect(await run((machine) => machine.end({ kind: "stopped" }))).toBe(0);
  });

  it("exits 124 after the timeout", async () => {
    expect(await run(() => undefined, {}, { timeoutSeconds: 0.02 })).toBe(124);
    expect(host.complaints).toContain("0.02 s of --timeout");
  });

  it("counts the timeout from the start of the process", async () => {
    host.sinceStartMs = () => 3_599_980;
    expect(await run(() => undefined, {}, { timeoutSeconds: 3600 })).toBe(124);
  });

  const never = new Promise<never>(() => undefined);
  it.each([
    ["the timeout", 124, (): void => undefined, 0.02],
    ["a signal", 143, (): void => host.signals?.onTerminate("SIGTERM", 143), 3600],
  ] as const)("gives up by %s while files are read or the machine is built", async (_, status, end, timeoutSeconds) => {
    setImmediate(end);
    expect(await runGuest(never, { verbose: false, timeoutSeconds }, host)).toBe(status);
    expect(host.signals).toBeUndefined();
    const building = new FakeHost();
    host = building;
    building.createMachine = () => never;
    setImmediate(end);
    const limits = { verbose: false, timeoutSeconds };
    expect(await runGuest(Promise.resolve(request), limits, building)).toBe(status);
    expect(building.input.raw).toBe(false);
  });

  it("does not run a machine that is ready together with the end", async () => {
    let runs = 0;
    host.createMachine = async () => {
      host.signals?.onTerminate("SIGTERM", 143);
      const count = () => {
        runs += 1;
        return never;
      };
      return { instructions: 0, engineCounters: {}, stop: () => undefined, run: count };
    };
    expect(await run(() => undefined)).toBe(143);
    expect(runs).toBe(0);
  });

  it("a guest that ends by itself wins over a stop that comes with it", async () => {
    const status = await run((machine) => {
      machine.end({ kind: "poweroff" });
      host.input.type("\x1dq");
    });
    expect(status).toBe(0);
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ])("ends the guest cleanly at %s", async (signal, status) => {
    expect(await run(() => host.signals?.onTerminate(signal, status))).toBe(status);
    expect(host.input.raw).toBe(false);
    expect(host.signals).toBeUndefined();
  });

  it("leaves at once at a second signal", async () => {
    await run((machine) => {
      host.signals?.onImpatient(143);
      machine.end({ kind: "poweroff" });
    });
    expect(host.exits).toEqual([143]);
  });

  it("is raw again after job control let it go on", async () => {
    await run((machine) => {
      host.input.raw = false;
      host.signals?.onContinue();
      expect(host.input.raw).toBe(true);
      machine.end({ kind: "poweroff" });
    });
  });

  it("restores the terminal when the machine fails", async () => {
    const failing = new FakeHost();
    failing.createMachine = async () => ({
      instructions: 0,
      engineCounters: {},
      stop: () => undefined,
      run: () => Promise.reject(new Error("defect")),
    });
    const failed = runGuest(Promise.resolve(request), { verbose: false }, failing);
    await expect(failed).rejects.toThrow("defect");
    expect(failing.input.raw).toBe(false);
  });

  it("restores the terminal when the process exits on another way", async () => {
    await run((machine) => {
      for (const callback of host.exitCallbacks) callback();
      expect(host.input.raw).toBe(false);
      machine.end({ kind: "poweroff" });
    });
  });

  it("stops when nobody reads the output any more", async () => {
    const status = await run(() => host.output.emit("error", new Error("EPIPE")));
    expect(status).toBe(1);
    expect(host.complaints).toContain("nobody reads the output");
  });

  it("says that the disk is full when the output cannot be written", async () => {
    const full = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    const status = await run(() => host.output.emit("error", full));
    expect(status).toBe(1);
    expect(host.complaints).toContain("the output cannot be written: the disk is full");
  });

  it("prints statistics when asked", async () => {
    await run((machine) => machine.end({ kind: "poweroff" }), { stats: true });
    expect(host.complaints).toMatch(/kvm-xen: 3000000 instructions in [\d.]+ s, \d+ MIPS\n/);
    expect(host.complaints).toMatch(/kvm-xen: generic +6000 +2\.000\n.*: fill read +1 +0\.000\n/);
  });

  describe("whose output nobody reads", () => {
    /**
     * More than the stream takes by itself, 16 KiB or from Node 22 on 64 KiB on either side: the last of
     * it waits for a reader.
     */
    const flood = (machine: FakeMachine) => {
      for (let i = 0; i < 256; i++) machine.console.write(new Uint8Array(1024));
    };

    it("has no room for more, and some again when it was read", async () => {
      let told = 0;
      await run((machine) => {
        machine.console.onRoom?.(() => {
          told++;
        });
        flood(machine);
        expect(machine.console.room).toBe(0);
        host.output.resume();
        setTimeout(() => {
          expect(machine.console.room).toBe(65_536);
          machine.end({ kind: "poweroff" });
        }, 10);
      });
      expect(told).toBe(1);
      expect(host.exits).toEqual([]);
    });

    it("ends after its timeout all the same", async () => {
      expect(await run(flood, {}, { timeoutSeconds: 0.02 })).toBe(124);
      expect(host.exits).toEqual([124]);
    });

    it("is waited for after the guest's own end, until it is told to stop", async () => {
      const status = await run((machine) => {
        flood(machine);
        machine.end({ kind: "poweroff" });
        setTimeout(() => host.signals?.onTerminate("SIGTERM", 143), 50);
      });
      expect(status).toBe(0);
      expect(host.exits).toEqual([0]);
    });
  });
});

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createMachine } from "../../src/hosts/node/index.js";
import { timePorts } from "../../src/hosts/node/machine/time-ports.js";
import { eventsOf, TraceReader, TraceRing } from "../../src/trace/index.js";
import { runCli } from "./support/cli.js";

const image = new URL("../../guest/embedded/image.elf", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "kvm-xen-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

const guest = ["run", "--kernel", image, "--clock", "virtual", "--timeout", "60"];

/** The guest of `guest/embedded` makes these. */
const calls = [
  ...["hvm_op.get_param", "event_channel_op.send", "sched_op.yield", "xen_version.version"],
  ...["memory_op.add_to_physmap", "vcpu_op.register_vcpu_info", "hvm_op.set_param"],
  ...["event_channel_op.bind_ipi", "vcpu_op.register_runstate_memory_area"],
  ...["event_channel_op.bind_virq", "vcpu_op.set_singleshot_timer", "sched_op.shutdown"],
];

describe("kvm-xen trace", () => {
  it("writes the same lines of JSON in every run under the virtual clock", async () => {
    const traced = async (name: string) => {
      const path = join(folder, name);
      const ended = await runCli(["trace", "-o", path, "--filter", "*", ...guest]);
      expect(ended.status).toBe(0);
      expect(ended.stdout).not.toContain("FAIL");
      return readFileSync(path, "utf8");
    };
    const text = await traced("a.jsonl");
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const made = lines.filter(({ kind }) => kind === "hypercall");
    expect(made.map(({ name, op }) => `${name}.${op}`)).toEqual(expect.arrayContaining(calls));
    // All but the last are answered: the machine ends in that.
    expect(made.slice(0, -1).every(({ by }) => by !== undefined)).toBe(true);
    expect(made.at(-1)).toMatchObject({ name: "sched_op", op: "shutdown" });
    // The one-shot timer of 50 ms: armed, fired, delivered, taken.
    const armed = lines.findIndex(({ kind }) => kind === "arm");
    const after = lines.slice(armed);
    const fired = after.find(({ kind }) => kind === "fire");
    expect(fired).toMatchObject({ by: "kvm", port: lines[armed].port, result: 1 });
    expect(fired.time - lines[armed].time).toBeGreaterThan(49_000_000);
    expect(
      after.some(
        ({ kind, port, time }) => kind === "deliver" && port === fired.port && time === fired.time,
      ),
    ).toBe(true);
    expect(after.some(({ kind, vector }) => kind === "upcall" && vector === 0x40)).toBe(true);
    const kinds = new Set(lines.map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual([
      "arm",
      "deliver",
      "exit",
      "fire",
      "hypercall",
      "runstate",
      "send",
      "upcall",
      "wake",
    ]);
    expect(lines.map(({ time }) => time)).toEqual(
      lines.map(({ time }) => time).sort((a, b) => a - b),
    );
    expect(await traced("b.jsonl")).toBe(text);
  });

  it("writes what Perfetto opens, and says when the disk is full", async () => {
    const path = join(folder, "boot.json");
    await runCli(["trace", "-o", path, ...guest, "--cpus", "2"]);
    const rows = JSON.parse(readFileSync(path, "utf8"));
    const threads = rows.filter(({ name }: { name: string }) => name === "thread_name");
    expect(threads.map(({ args }: { args: { name: string } }) => args.name)).toEqual([
      "vCPU 0",
      "vCPU 0 runstate",
      "vCPU 1",
      "vCPU 1 runstate",
    ]);
    const full = await runCli(["trace", "-o", "/dev/full", ...guest]);
    expect(full.status).toBe(0);
    expect(full.stderr).toBe(
      "kvm-xen: /dev/full: the disk is full: the trace ends here, the rest goes on\n",
    );
  });

  it("sums up", async () => {
    const { stderr } = await runCli(["trace", "--summary", ...guest]);
    expect(stderr).toMatch(/^kvm-xen: sched_op yield +11 +\d+ +11$/m);
    expect(stderr).toMatch(/^kvm-xen: vcpu_op register_vcpu_info +1 +\d+ +1$/m);
  });

  it.each([
    [["--filter", "nothing"], "'nothing' is neither a kind of event"],
    [
      ["-o", join(folder, "none", "t")],
      "the trace cannot be written there: there is no such folder",
    ],
  ])("refuses %j", async (options, why) => {
    const { status, stderr } = await runCli(["trace", ...options, ...guest]);
    expect(stderr).toContain(why);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(status).toBe(2);
  });
});

describe("what nobody watches", () => {
  /** How often each function of src/trace was called while `work` was done. */
  async function callsInTrace(work: () => Promise<void>): Promise<number> {
    const session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
    await work();
    const { result } = await session.post("Profiler.takePreciseCoverage");
    session.disconnect();
    const scripts = result.filter(({ url }) => url.includes("/src/trace/"));
    const functions = scripts.flatMap((script) => script.functions);
    return functions.reduce((sum, { ranges }) => sum + (ranges[0]?.count ?? 0), 0);
  }

  it("costs no call, and with a watcher there are many", async () => {
    const { clock } = timePorts("virtual");
    const ring = new TraceRing(clock);
    const reader = new TraceReader(ring);
    const run = async (watched: boolean) => {
      const machine = await createMachine({ clock: "virtual" });
      if (watched) machine.trace = ring.source();
      expect((await machine.run()).kind).toBe("poweroff");
    };
    expect(await callsInTrace(() => run(false))).toBe(0);
    expect(await callsInTrace(() => run(true))).toBeGreaterThan(100);
    expect(eventsOf(reader.take(true)).length).toBeGreaterThan(100);
  });
});

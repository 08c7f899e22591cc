import { describe, expect, it } from "vitest";
import type { Disk, DiskDone } from "../../ports/index.js";
import { HeapTimers, PacedDisk, VirtualClock } from "./index.js";

/** A host whose operations end when the test says so. */
function setUp() {
  const asked: { text: string; end: DiskDone }[] = [];
  const note = (text: string, end: DiskDone): void => void asked.push({ text, end });
  const disk: Disk = {
    ...{ size: 1 << 20, readonly: false, blockSize: 4096, canDiscard: true },
    read: (offset, into, done) => note(`read ${offset} ${into.length}`, done),
    write: (offset, bytes, done) => note(`write ${offset} ${bytes.length}`, done),
    flush: (done) => note("flush", done),
    discard: (offset, length, done) => note(`discard ${offset} ${length}`, done),
    resize: () => Promise.resolve(),
    idle: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const clock = new VirtualClock();
  const timers = new HeapTimers(clock);
  const ended: string[] = [];
  const paced = new PacedDisk(disk, clock, timers);
  const done = (name: string) => (failure?: { code: string }) => {
    ended.push(`${clock.monotonicNs()} ${name} ${failure?.code ?? "ok"}`);
  };
  /** Time goes to the next deadline, as the scheduler does it. */
  const goOn = async (): Promise<void> => {
    clock.virtual.jump(Math.max(clock.monotonicNs(), timers.nextDeadlineNs() ?? 0));
    for (let held = timers.blocked(); held !== undefined; held = timers.blocked()) await held;
    timers.runDue();
  };
  return { asked, ended, paced, done, goOn, timers, clock };
}

const pause = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("PacedDisk", () => {
  it("ends operations at declared times, in the order of asking, one at a time on the host", async () => {
    const { asked, ended, paced, done, goOn } = setUp();
    paced.write(0, new Uint8Array(4096), done("a"));
    paced.read(0, new Uint8Array(4096), done("b"));
    paced.flush(done("c"));
    paced.discard(0, 4096, done("d"));
    await pause();
    expect(asked.map(({ text }) => text)).toEqual(["write 0 4096"]);
    asked[0]?.end();
    await pause();
    await goOn();
    expect(ended).toEqual(["22048 a ok"]);
    expect(asked.map(({ text }) => text)).toEqual(["write 0 4096", "read 0 4096"]);
    asked[1]?.end({ code: "EIO", message: "bad" });
    await goOn();
    await pause();
    asked[2]?.end();
    await goOn();
    await pause();
    asked[3]?.end();
    await goOn();
    expect(ended.slice(1)).toEqual(["44096 b EIO", "244096 c ok", "264096 d ok"]);
    await paced.idle();
  });

  it("stops time until the host has done it", async () => {
    const { asked, ended, paced, done, goOn, timers } = setUp();
    paced.write(0, new Uint8Array(512), done("slow"));
    timers.arm(1_000_000, () => ended.push("later"));
    const gone = goOn();
    await pause();
    await pause();
    expect(ended).toEqual([]);
    asked[0]?.end();
    await gone;
    expect(ended).toEqual(["20256 slow ok"]);
    expect(timers.blocked()).toBeUndefined();
    await goOn();
    expect(ended.at(-1)).toBe("later");
  });

  it("lets its owner wait for each operation once, also for one that the host has done before", async () => {
    const { asked, paced, done, clock, timers } = setUp();
    paced.write(0, new Uint8Array(512), done("early"));
    await pause();
    asked[0]?.end();
    await paced.idle();
    expect(timers.blocked()).toBeUndefined();
    clock.virtual.jump(20_256);
    expect(timers.blocked()).toBeDefined();
    expect(timers.blocked()).toBeUndefined();
  });

  it("goes on elsewhere with what is under way, when the host has done that", async () => {
    const { asked, ended, paced, done } = setUp();
    const [a, b] = [done("a"), done("b")];
    paced.write(0, new Uint8Array(512), a);
    paced.read(0, new Uint8Array(512), b);
    const keeping = paced.kept();
    await pause();
    asked[0]?.end();
    await pause();
    asked[1]?.end({ code: "EIO", message: "bad" });
    const { freeNs, operations } = await keeping;
    expect(freeNs).toBe(40_512);
    expect([operations.get(a), operations.get(b)]).toEqual([
      { atNs: 20_256, order: 0, failure: undefined },
      { atNs: 40_512, order: 1, failure: { code: "EIO", message: "bad" } },
    ]);
    expect(ended).toEqual([]);

    const next = setUp();
    const [c, d] = [next.done("c"), next.done("d")];
    const arms: (() => void)[] = [];
    const kept = [...operations.values()];
    const moved = new Map(kept.map((operation, i) => [[c, d][i] ?? c, operation]));
    next.paced.keep({ freeNs, operations: moved }, (order, arm) => (arms[order] = arm));
    for (const arm of arms) arm();
    // What is asked now comes behind it.
    next.paced.flush(next.done("e"));
    await pause();
    next.asked[0]?.end();
    await next.goOn();
    await next.goOn();
    await next.goOn();
    expect(next.ended).toEqual(["20256 c ok", "40512 d EIO", "240512 e ok"]);
    expect((await next.paced.kept()).operations.size).toBe(0);
  });
});

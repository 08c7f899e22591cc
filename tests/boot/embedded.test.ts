import { describe, expect, it } from "vitest";
import { Counter } from "../../src/engine/bridge/state.gen.js";
import { type Ended, runCli } from "./support/cli.js";

const image = new URL("../../guest/embedded/image.elf", import.meta.url).pathname;

/** The whole tour; a line more or less, or one that says FAIL, is an error. */
const tour = [
  /^kvm-xen embedded guest: a tour of the machine$/,
  /^xen {7}at CPUID leaf 0x40000[0-9a-f]00, version \d+\.\d+$/,
  /^hypercall page at 0x[0-9a-f]+000, XENVER_version says version \d+\.\d+$/,
  /^memory {4}\d+ KiB of RAM in the memory map$/,
  /^shared {4}shared_info in frame 0x[0-9a-f]+$/,
  /^vcpu {6}vcpu_info at 0x[0-9a-f]+$/,
  /^time {6}booted \d+ s after 1970, running for \d+ us$/,
  /^upcall {4}event on port \d+ came through vector 0x40$/,
  /^timer {5}on port \d+, set for 50000 us, woke HLT after \d+ us$/,
  /^runstate {2}running \d+ us, runnable \d+ us, blocked \d+ us, offline \d+ us$/,
  /^done {6}powering off$/,
];

/** With two CPUs there is one more, before the last. */
const second = /^second {4}vCPU 1 ran twice, and went down twice$/;

function expectTour(ended: Ended, lines: readonly RegExp[] = tour) {
  expect(ended.stdout).not.toContain("FAIL");
  expect(ended.lines.map((line) => line.text)).toEqual(
    lines.map((pattern) => expect.stringMatching(pattern)),
  );
  expect(ended.status).toBe(0);
}

/** The number in front of a unit on a line of the tour. */
const numberIn = (ended: Ended, pattern: RegExp) => Number(pattern.exec(ended.stdout)?.[1]);

describe("the embedded guest", () => {
  it("tours the machine and powers off", async () => {
    const before = Date.now() / 1000;
    const ended = await runCli(["run", "--kernel", image, "--memory", "64M", "--timeout", "60"]);
    expectTour(ended);
    expect(numberIn(ended, /memory +(\d+) KiB/)).toBeGreaterThan(64 * 1024 - 1024);
    expect(Math.abs(numberIn(ended, /booted (\d+) s/) - before)).toBeLessThan(5);
    const woke = numberIn(ended, /woke HLT after (\d+) us/);
    expect(woke).toBeGreaterThanOrEqual(50_000);
    expect(woke).toBeLessThan(1_000_000);
  });

  it("starts a second vCPU by hypercalls", async () => {
    const args = ["run", "--kernel", image, "--memory", "64M", "--timeout", "60", "--cpus", "2"];
    expectTour(await runCli(args), [...tour.slice(0, -1), second, ...tour.slice(-1)]);
  });

  it("says the same in every run under the virtual clock", async () => {
    const args = ["run", "--kernel", image, "--clock", "virtual", "--stats", "--timeout", "60"];
    const [first, second] = [await runCli(args), await runCli(args)];
    expectTour(first);
    expect(second.stdout).toBe(first.stdout);
    const instructions = (ended: Ended) => /(\d+) instructions/.exec(ended.stderr)?.[1];
    expect(instructions(second)).toBe(instructions(first));
    const counters = (ended: Ended) => ended.stderr.match(/^kvm-xen: [a-z ]+\d+ +[\d.]+$/gm);
    expect(counters(second)).toEqual(counters(first));
    expect(counters(first)?.length).toBe(Object.keys(Counter).length);
    expect(numberIn(first, /woke HLT after (\d+) us/)).toBeLessThan(51_000);
  });

  it("is what `start` boots when asked", async () => {
    expectTour(await runCli(["start", "--embedded"]));
  });
});

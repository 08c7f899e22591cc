import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { noteSecondTry } from "../../tools/check/report.mjs";
import { builtSelftests, RELEASES, type Version } from "./build.js";
import { pageIsCurrent, results } from "./results.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const versions = Object.keys(RELEASES) as Version[];
const folders = new Map<string, string>();

/** A test that takes longer fails. */
const LIMIT_MS = 100_000;
/** How often the tests of Xen's part run in a row. */
const TIMES = 10;
const XEN = new Set(["xen_shinfo_test", "xen_vmcall_test"]);
/** These compare clocks while others use the processors too: they may try again. */
const TIMED = new Set([
  "apic_bus_clock_test",
  "kvm_clock_test",
  "steal_time",
  "tsc_msrs_test",
  "xapic_ipi_test",
]);
const TRIES = 3;
/** What is not for this library: nested virtualization, SEV, PMU, AMX, and all of Hyper-V. */
const ELSEWHERE = /^(amx_|evmcs_|hyperv_|nested_|pmu_|sev_|svm_|vmx_)/;

interface Outcome {
  readonly verdict: string;
  readonly output: string;
}

/** Some tests ask the host's CPUID about the guest. */
const cpuinfo = readFileSync("/proc/cpuinfo", "utf8");
const isAmd = cpuinfo.includes("AuthenticAMD");
const hasAvic = existsSync("/sys/module/kvm_amd/parameters/avic");
const hasMwait = / monitor /.test(cpuinfo);

/** What has to come out, on this machine. */
function expected(listed: string): string {
  if (listed === "skip without MWAIT") return hasMwait ? "fail" : "skip";
  if (listed === "pass with avic") return isAmd && !hasAvic ? "skip" : "pass";
  if (listed !== "pass on AMD") return listed;
  return isAmd ? "pass" : "fail";
}

/** Exit status 4 is what a test ends with that cannot run (kselftest.h). */
function verdictOf(status: number | null): string {
  if (status === 0) return "pass";
  return status === 4 ? "skip" : "fail";
}

/** Runs a test without arguments. */
function play(program: string): Promise<Outcome> {
  const main = join(root, "dist/cli/main.js");
  const cwd = join(root, "build/selftests");
  mkdirSync(cwd, { recursive: true });
  const stdio = ["ignore", "pipe", "pipe"] as const;
  const child = spawn(process.execPath, [main, "exec", "--", program], { cwd, stdio: [...stdio] });
  let output = "";
  const collect = (bytes: Buffer) => {
    if (output.length < 100_000) output += bytes.toString();
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const soft = setTimeout(() => child.kill("SIGTERM"), LIMIT_MS);
  const hard = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS + 5000);
  return new Promise((resolve) => {
    child.once("close", (status) => {
      clearTimeout(soft);
      clearTimeout(hard);
      resolve({ verdict: verdictOf(status), output });
    });
  });
}

/** Runs a test until it ends as expected, a few times at most. */
async function playAgain(program: string, verdict: string, tries: number): Promise<Outcome> {
  const outcome = await play(program);
  if (outcome.verdict === verdict || tries === 1) return outcome;
  noteSecondTry(`${program}: ${outcome.verdict}, ${outcome.output.trim().split("\n").at(-1)}`);
  return playAgain(program, verdict, tries - 1);
}

beforeAll(() => {
  for (const version of versions) folders.set(version, builtSelftests(version));
});

const rows = results();

describe.each(versions)("tests of Linux %s", (version) => {
  const own = rows.filter((row) => row.version === version);
  const program = (test: string) => join(folders.get(version) ?? "", test);

  it("are all in the list of results", () => {
    const built = readdirSync(program("")).filter((name) => !ELSEWHERE.test(name));
    expect(built.sort()).toEqual(own.map((row) => row.test).sort());
  });

  for (const { test, ours } of own.filter((row) => row.ours !== "-")) {
    it.concurrent(`${test}: ${ours}`, async () => {
      for (let i = 0; i < (XEN.has(test) ? TIMES : 1); i++) {
        const tries = TIMED.has(test) ? TRIES : 1;
        const { verdict, output } = await playAgain(program(test), expected(ours), tries);
        expect(verdict, output.slice(-3000)).toBe(expected(ours));
      }
    });
  }
});

it("the page in docs/reference shows the list", () => {
  expect(pageIsCurrent()).toBe(true);
});

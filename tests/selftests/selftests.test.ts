import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { noteSecondTry } from "../../tools/check/report.mjs";
import { builtHost, builtSelftests, RELEASES, type Version } from "./build.js";
import { pageIsCurrent, REASONS, type Row, results } from "./results.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const versions = Object.keys(RELEASES) as Version[];
const folders = new Map<string, string>();
let host = "";

/** Whether slow tests are to run, too. */
const isFull = process.env["KVM_XEN_SELFTESTS"] === "all";
/** A test that takes longer fails. */
const LIMIT_MS = 200_000;
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
/**
 * What a test says when it fails for a reason of the machine only, and so may try again: xen_shinfo_test wants a
 * vCPU that never waited for a processor (Linux's KVM takes `run_delay`, too), and each event within a second of
 * real time (`alarm(1)`), while all tests of the stage run at once; set_memory_region_test takes memory away that its
 * vCPU's thread reads unless that is in the guest again within 100 ms (`usleep(100000)`).
 */
const CROWDED: Readonly<Record<string, RegExp>> = {
  xen_shinfo_test: /^ +(rs->time\[RUNSTATE_runnable\] == 0|IRQ delivery timed out)$/m,
  set_memory_region_test: /^Testing DELETE of in-use region[\s\S]*Unexpected SIGSEGV \(11\)$/m,
};
const TRIES = 5;
/** What is not for this library: nested virtualization, SEV, PMU, AMX, and all of Hyper-V. */
const ELSEWHERE = /^(amx_|evmcs_|hyperv_|nested_|pmu_|sev_|svm_|vmx_)/;

interface Outcome {
  readonly verdict: string;
  readonly output: string;
}

/** The release of Linux that tests of a version ask. */
const LINUX: Record<Version, string> = { "7.2": "7.2", "6.12": "6.12", "6.1": "6.12" };

/** The addresses of the CPUID instructions in a program, as host.c wants them. */
function cpuidIn(program: string): string {
  const options = { encoding: "utf8", maxBuffer: 1 << 28 } as const;
  const code = execFileSync("objdump", ["-d", "--no-show-raw-insn", program], options);
  return [...code.matchAll(/^ *([0-9a-f]+):\s+cpuid\b/gm)].map(([, at]) => at).join(" ");
}

/** Exit status 4 is what a test ends with that cannot run (kselftest.h). */
function verdictOf(status: number | null): string {
  if (status === 0) return "pass";
  return status === 4 ? "skip" : "fail";
}

/** Runs a program with its arguments, on a host whose processor is the library's (host.c). */
function play(program: string, args: readonly string[], linux: string): Promise<Outcome> {
  const main = join(root, "dist/cli/main.js");
  const cwd = join(root, "build/selftests");
  mkdirSync(cwd, { recursive: true });
  const preload = ["sh", "-c", 'LD_PRELOAD="$0:$LD_PRELOAD" exec "$@"', host];
  const words = ["exec", "--linux", linux, "--", ...preload, program, ...args];
  const child = spawn(process.execPath, [main, ...words], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, SELFTEST_CPUID: cpuidIn(program) },
  });
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
async function playAgain(row: Row, tries: number): Promise<Outcome> {
  const program = join(folders.get(row.version) ?? "", row.test);
  const outcome = await play(program, row.args, LINUX[row.version as Version]);
  if (outcome.verdict === row.ours || tries === 1) return outcome;
  if (!TIMED.has(row.test) && !CROWDED[row.test]?.test(outcome.output)) return outcome;
  noteSecondTry(`${program}: ${outcome.verdict}, ${outcome.output.trim().split("\n").at(-1)}`);
  return playAgain(row, tries - 1);
}

beforeAll(() => {
  host = builtHost();
  for (const version of versions) folders.set(version, builtSelftests(version));
});

const rows = results();

describe.each(versions)("tests of Linux %s", (version) => {
  const own = rows.filter((row) => row.version === version);

  it("are all in the list of results", () => {
    const built = readdirSync(folders.get(version) ?? "").filter((name) => !ELSEWHERE.test(name));
    expect(built.sort()).toEqual(own.map((row) => row.test).sort());
  });

  it("pass if they pass with Linux's KVM, but for a few reasons", () => {
    const others = own.filter((row) => row.linux !== "fail" && row.linux !== "skip");
    const failing = others.filter((row) => row.ours !== "pass" && row.ours !== "-");
    expect(failing.filter((row) => !REASONS.some((reason) => row.why.startsWith(reason)))).toEqual(
      [],
    );
  });

  for (const row of own.filter(({ ours, slow }) => ours !== "-" && (isFull || !slow))) {
    it.concurrent(`${[row.test, ...row.args].join(" ")}: ${row.ours}`, async () => {
      for (let i = 0; i < (XEN.has(row.test) ? TIMES : 1); i++) {
        const { verdict, output } = await playAgain(row, TRIES);
        expect(verdict, output.slice(-3000)).toBe(row.ours);
      }
    });
  }
});

it("the page in docs/reference shows the list", () => {
  expect(pageIsCurrent()).toBe(true);
});

import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cli, type Ended, runCli, type TimedLine } from "./support/cli.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";

/** Leaves out the self-tests of the kernel's cryptography: two thirds of a boot. */
const SHORT = "panic=-1 cryptomgr.notests";
const LIMIT = ["--timeout", "300"];
const folder = workFolder();
afterAll(() => folder.remove());

/** What stands behind `E name` on a line of its own. */
function evidence(ended: Ended, name: string): string | undefined {
  return lineOf(ended, name)?.text.slice(`E ${name} `.length);
}

function lineOf(ended: Ended, name: string): TimedLine | undefined {
  return ended.lines.find((line) => line.text.startsWith(`E ${name} `));
}

function yesDigest(): string {
  const block = Buffer.from("kvm-xen\n".repeat(8192));
  const hash = createHash("md5");
  for (let bytes = 0; bytes < 64 << 20; bytes += block.length) hash.update(block);
  return hash.digest("hex");
}

describe.each(kernels)("Debian's kernel %s", (name) => {
  let kernel: string[];
  const initramfs: Record<string, string> = {};
  beforeAll(async () => {
    kernel = ["run", "--kernel", await kernelPath(name), ...LIMIT];
    for (const script of ["evidence", "shell", "quick"]) {
      initramfs[script] = await writeInitramfs(folder.path, script);
    }
  });
  const boot = (script: string, append: string) => [
    ...kernel,
    "--initrd",
    initramfs[script] ?? "",
    "--append",
    append,
  ];

  describe("with everything the kernel tests at boot, on two CPUs", () => {
    let ended: Ended;
    beforeAll(async () => {
      ended = await runCli([...boot("evidence", "panic=-1"), "--cpus", "2"]);
    });

    it("powers off with exit status 0", () => {
      expect(ended.stdout).toMatch(/^E done/m);
      expect(ended.status).toBe(0);
    });

    it("is a Xen guest of the right kernel", () => {
      expect(evidence(ended, "type")).toBe("xen");
      expect(evidence(ended, "release")).toMatch(new RegExp(`^${name.replace(".", "\\.")}\\.`));
      expect(evidence(ended, "hypervisor")).toMatch(/^Xen (HVM|PVH)/);
    });

    it("takes its time from Xen's clock or the TSC", () => {
      expect(evidence(ended, "clocksource")).toMatch(/^(xen|tsc)$/);
    });

    it("has both CPUs online", () => {
      expect(evidence(ended, "cpus")).toBe("2");
      expect(evidence(ended, "online")).toBe("0-1");
    });

    it("knows the date within 2 s", () => {
      const line = lineOf(ended, "date");
      const difference = Number(evidence(ended, "date")) - (line?.at ?? Number.NaN) / 1000;
      expect(Math.abs(difference)).toBeLessThanOrEqual(2);
    });

    it("sleeps 2 s in 2 s of real time", () => {
      const [begin, end] = ended.lines.filter((line) => line.text.startsWith("E sleep "));
      const seconds = ((end?.at ?? Number.NaN) - (begin?.at ?? 0)) / 1000;
      expect(seconds).toBeGreaterThan(1.9);
      expect(seconds).toBeLessThan(3);
    });

    it("counts interrupts of Xen's timer and IPIs", () => {
      const interrupts = ended.lines.filter((line) => line.text.startsWith("I "));
      const counted = (kind: RegExp) =>
        interrupts
          .filter((line) => /xen-percpu/.test(line.text) && kind.test(line.text))
          .flatMap((line) => [...line.text.matchAll(/(?<=\s)\d+(?=\s)/g)].map(Number))
          .reduce((sum, count) => sum + count, 0);
      expect(counted(/-virq\s+timer/)).toBeGreaterThan(100);
      expect(counted(/-ipi\s+(resched|callfunc)/)).toBeGreaterThan(0);
      const before = Number(evidence(ended, "timer-before"));
      expect(Number(evidence(ended, "timer-after"))).toBeGreaterThan(before);
    });

    it("computes the MD5 sum of 64 MiB", () => {
      expect(evidence(ended, "md5")).toBe(`${yesDigest()}  -`);
    });

    it("forks and ends 200 processes", () => {
      expect(evidence(ended, "forks")).toBe("200");
    });
  });

  it("has four CPUs with --cpus 4", async () => {
    const ended = await runCli([...boot("quick", SHORT), "--cpus", "4"]);
    expect(evidence(ended, "cpus")).toBe("4");
    expect(evidence(ended, "online")).toBe("0-3");
    expect(ended.status).toBe(0);
  });

  it("has one CPU when nothing is said", async () => {
    const ended = await runCli(boot("quick", SHORT));
    expect(evidence(ended, "cpus")).toBe("1");
    expect(ended.status).toBe(0);
  });

  it("hears Ctrl-C in the guest's shell", async () => {
    const cli = new Cli(boot("shell", `${SHORT} quiet`));
    let at = await cli.waitFor(/guest# /);
    cli.type("sleep 1000\r");
    at = await cli.waitFor(/sleep 1000/, at);
    // The shell has to have started the program before the key can reach it.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    cli.type("\x03");
    at = await cli.waitFor(/guest# /, at);
    cli.type("echo status=$?\r");
    at = await cli.waitFor(/status=130/, at);
    cli.type("exit\r");
    expect((await cli.ended()).status).toBe(0);
  });

  it("boots again after reboot, and then powers off", async () => {
    const cli = new Cli(boot("shell", `${SHORT} quiet`));
    let at = await cli.waitFor(/guest# /);
    cli.type("reboot -f\r");
    at = await cli.waitFor(/reboot -f/, at);
    at = await cli.waitFor(/guest# /, at);
    cli.type("poweroff -f\r");
    expect((await cli.ended()).status).toBe(0);
  });

  it("exits 1 with the reason when the kernel crashes", async () => {
    const cli = new Cli(boot("shell", SHORT));
    await cli.waitFor(/guest# /);
    cli.type("echo c > /proc/sysrq-trigger\r");
    const ended = await cli.ended();
    expect(ended.stdout).toContain("Kernel panic");
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(/^kvm-xen: the guest crashed: [^\n]+$/m);
  });
});

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../base/index.js";
import { FakeHost } from "./host.fixture.js";
import { runProgram } from "./program.js";

let folder: string;
let kernel: string;
let host: FakeHost;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-cli-"));
  kernel = join(folder, "kernel");
  writeFileSync(kernel, "kernel bytes");
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  host = new FakeHost();
});

describe("kvm-xen run", () => {
  it("has the documented defaults", async () => {
    expect(await runProgram(["run", "--kernel", kernel], host)).toBe(0);
    expect(host.request).toMatchObject({
      clock: "real",
      decode: "compiled",
      stats: false,
      config: {
        commandLine: "console=hvc0",
        memoryBytes: 256 << 20,
        cpus: 1,
        console: "hvc0",
        kernel: Buffer.from("kernel bytes"),
      },
    });
    expect(host.request?.config).not.toHaveProperty("initrd");
  });

  it("passes every option on", async () => {
    const initrd = join(folder, "initrd");
    writeFileSync(initrd, "initrd bytes");
    const files = ["--kernel", kernel, "--initrd", initrd, "--append", "quiet console=ttyS0"];
    const numbers = ["--memory", "1.5G", "--cpus", "4", "--timeout", "2.5"];
    const choices = ["--console", "ttyS0", "--clock", "virtual", "--stats"];
    expect(await runProgram(["run", ...files, ...numbers, ...choices], host)).toBe(0);
    expect(host.request).toMatchObject({
      clock: "virtual",
      decode: "compiled",
      stats: true,
      config: {
        commandLine: "quiet console=ttyS0",
        memoryBytes: 1536 << 20,
        cpus: 4,
        console: "ttyS0",
        initrd: Buffer.from("initrd bytes"),
      },
    });
  });

  it("passes several modules on, each with the command line behind its name", async () => {
    const [one, two] = [join(folder, "one"), join(folder, "two words")];
    writeFileSync(one, "1");
    writeFileSync(two, "2");
    const modules = ["--initrd", `${one} a=b  c`, "--initrd", two, "--initrd", one];
    expect(await runProgram(["run", "--kernel", kernel, ...modules], host)).toBe(0);
    expect(host.request?.config).not.toHaveProperty("initrd");
    expect(host.request?.config.modules).toEqual([
      { bytes: Buffer.from("1"), commandLine: "a=b  c" },
      { bytes: Buffer.from("2") },
      { bytes: Buffer.from("1") },
    ]);
    expect(await runProgram(["run", "--kernel", kernel, ...modules.slice(2)], host)).toBe(0);
    expect(host.request?.config.initrd).toEqual(Buffer.from("2"));
    expect(host.request?.config.modules).toEqual([{ bytes: Buffer.from("1") }]);
  });

  it("restores a machine as it was saved, and says so of what it does not take", async () => {
    const restore = ["run", "--restore", join(folder, "none")];
    const refusals = [
      ["--memory", "1G", "--cpus", "2"],
      ["--console", "ttyS0"],
      ["--kernel", kernel],
    ];
    for (const more of refusals) {
      expect(await runProgram([...restore, ...more], host)).toBe(1);
    }
    expect(await runProgram(restore, host)).toBe(2);
    expect(host.complaints).toBe(
      [
        "kvm-xen: --restore takes --memory and --cpus from the file: give no others\n",
        "kvm-xen: --restore takes --console from the file: give no others\n",
        "kvm-xen: --restore takes kernel and initrd from the file: give no others\n",
        `kvm-xen: cannot read the snapshot ${join(folder, "none")}: no such file or folder; check the path\n`,
      ].join(""),
    );
  });

  it("gives the timeout of the command line", async () => {
    host.onMachine = () => undefined;
    const seconds = ["--timeout", "0.05"];
    expect(await runProgram(["run", "--kernel", kernel, ...seconds], host)).toBe(124);
  });

  it("adds no console when there is none", async () => {
    await runProgram(["run", "--kernel", kernel, "--append", "quiet", "--console", "none"], host);
    expect(host.request?.config.commandLine).toBe("quiet");
  });

  const usage: [string, string[]][] = [
    ["--kernel FILE", []],
    ["--memory", ["--kernel", "k", "--memory", "256"]],
    ["--memory", ["--kernel", "k", "--memory", "0M"]],
    ["--memory", ["--kernel", "k", "--memory", "lots"]],
    ["--cpus", ["--kernel", "k", "--cpus", "0"]],
    ["--cpus", ["--kernel", "k", "--cpus", "1.5"]],
    ["--timeout", ["--kernel", "k", "--timeout", "-1"]],
    ["--timeout", ["--kernel", "k", "--timeout", "1e9"]],
    ["hvc0, ttyS0, none", ["--kernel", "k", "--console", "vga"]],
    ["real, virtual", ["--kernel", "k", "--clock", "fake"]],
    ["--bogus", ["--kernel", "k", "--bogus"]],
    ["--kernel <file>", ["--kernel"]],
    ["arguments", ["--kernel", "k", "extra"]],
  ];
  it.each(usage)("refuses a bad command line in one line that names %s: %j", async (word, args) => {
    expect(await runProgram(["run", ...args], host)).toBe(1);
    expect(host.complaints).toMatch(/^kvm-xen: [^\n]+\n$/);
    expect(host.complaints).toContain(word);
    expect(host.request).toBeUndefined();
  });

  it("points to the help of the command", async () => {
    await runProgram(["run", "--kernel", "k", "--cpus", "0"], host);
    await runProgram(["play"], host);
    await runProgram(["--bogus"], host);
    expect(host.errors.map((line) => line.replace(/^.*; /, ""))).toEqual([
      "see kvm-xen run --help\n",
      "see kvm-xen play --help\n",
      "see kvm-xen --help\n",
    ]);
  });

  it.each([
    ["1T", /at most 3584 MiB/],
    ["1K", /at least 2 MiB/],
    ["2049K", /multiple of 4096/],
  ])("says what memory there can be instead of %s, before it reads files", async (memory, words) => {
    expect(await runProgram(["run", "--kernel", "/no/such", "--memory", memory], host)).not.toBe(0);
    expect(host.complaints).toMatch(words);
    expect(host.complaints).toContain("--memory");
  });

  it.each([
    ["kernel", ["--kernel", "/no/such/kernel"]],
    ["kernel", ["--kernel", "/"]],
    ["initrd", ["--initrd", "/no/such/initrd"]],
  ])("exits 2 when the %s cannot be read: %j", async (role, args) => {
    expect(await runProgram(["run", "--kernel", kernel, ...args], host)).toBe(2);
    expect(host.complaints).toMatch(new RegExp(`^kvm-xen: ${role} /[^\n]+\n$`));
  });

  it("exits 2 with one line for a file that the machine refuses", async () => {
    host.refusal = new HostError("NOT_A_KERNEL", "not a kernel\nat all");
    expect(await runProgram(["run", "--kernel", kernel], host)).toBe(2);
    expect(host.complaints).toBe("kvm-xen: not a kernel at all\n");
    expect(host.input.raw).toBe(false);
  });

  it("exits 1 for a size that the machine refuses", async () => {
    host.refusal = new HostError("MEMORY_TOO_LARGE", "too much");
    expect(await runProgram(["run", "--kernel", kernel], host)).toBe(1);
  });

  it("calls a defect a defect", async () => {
    host.refusal = new TypeError("x is undefined");
    expect(await runProgram(["run", "--kernel", kernel], host)).toBe(1);
    expect(host.complaints).toContain("defect of kvm-xen");
    expect(host.complaints).toContain("x is undefined");
  });
});

describe("kvm-xen", () => {
  it("prints its version", async () => {
    expect(await runProgram(["--version"], host)).toBe(0);
    expect(host.printed).toBe("1.2.3\n");
  });

  it("prints help, on standard output when asked and with status 1 when not", async () => {
    expect(await runProgram(["--help"], host)).toBe(0);
    expect(host.printed).toContain("kvm-xen run --help");
    expect(await runProgram([], host)).toBe(1);
    expect(host.complaints).toContain("Usage: kvm-xen");
  });

  it.each(["run", "start"])("explains %s with an example", async (command) => {
    expect(await runProgram([command, "--help"], host)).toBe(0);
    expect(host.printed).toContain(`$ kvm-xen ${command} --`);
  });

  it("refuses an unknown command in one line", async () => {
    expect(await runProgram(["boot"], host)).toBe(1);
    expect(host.complaints).toMatch(/^kvm-xen: unknown command 'boot'[^\n]*\n$/);
  });
});

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { Cli, runCli } from "./support/cli.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";

const run = promisify(execFile);
const folder = workFolder();
afterAll(() => folder.remove());

let boot: readonly string[];
beforeAll(async () => {
  const words = ["console=hvc0 nokaslr quiet panic=-1 cryptomgr.notests"];
  boot = [
    ...[
      "run",
      "--kernel",
      await kernelPath("6.1"),
      "--initrd",
      await writeInitramfs(folder.path, "gdb"),
    ],
    ...["--append", ...words, "--memory", "256M", "--timeout", "300"],
  ];
});

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** A machine that waits for gdb, and where. */
async function waiting(args: readonly string[]): Promise<{ cli: Cli; address: string }> {
  const cli = new Cli([...args, "--gdb=0"]);
  const address = await cli.waitForError(/target remote (\S+)/);
  return { cli, address };
}

/** Runs gdb with commands; lines "G NAME VALUE" are for the test. */
async function gdb(address: string, commands: readonly string[]) {
  const file = join(folder.path, "commands.gdb");
  const head = ["set pagination off", "set confirm off", "set architecture i386:x86-64"];
  writeFileSync(file, [...head, `target remote ${address}`, ...commands, ""].join("\n"));
  const { stdout, stderr } = await run("gdb", ["-nx", "-batch", "-x", file]);
  const told = (name: string) =>
    [...stdout.matchAll(new RegExp(`^G ${name} (.*)$`, "gm"))].map((match) => match[1]);
  return { told, context: `${stdout}\n${stderr}`, stdout };
}

/** Of a system call's entry, which gets struct pt_regs: its first argument, a text. */
const ARGUMENT = "*(char **)($rdi + 0x70)";
/** Steps through start_kernel. */
const STEPS = 40;

describe.skipIf(!machineHas("the program gdb"))("gdb", () => {
  it("steps through start_kernel, and stops at breakpoints and watchpoints, on two vCPUs", async () => {
    const first = await runCli(boot);
    const at = (name: string): bigint =>
      BigInt(`0x${new RegExp(`^E ${name} ([0-9a-f]+)`, "m").exec(first.stdout)?.[1]}`);
    const start = at("start_kernel");
    const call = at("__x64_sys_sethostname");
    const nodename = hex(at("init_uts_ns") + 65n);
    const { cli, address } = await waiting([...boot, "--cpus", "2"]);
    const { told, context, stdout } = await gdb(address, [
      'printf "G reset %#lx %#lx\\n", $rip, $cr0',
      `hbreak *${hex(start)}`,
      "continue",
      'printf "G start %#lx\\n", $rip',
      "delete",
      ...Array.from({ length: STEPS }, () => ["x/2i $pc", "stepi"]).flat(),
      'printf "G threads %d\\n", $_thread',
      "info threads",
      `hbreak *${hex(call)}`,
      "continue",
      "delete",
      // Now that ftrace has written its last there: it would write over a breakpoint in memory.
      `break *${hex(call)}`,
      `printf "G call %#lx %s\\n", $rip, ${ARGUMENT}`,
      `watch *(char *)${nodename}`,
      "set $wp = $bpnum",
      "continue",
      `printf "G watched %c\\n", *(char *)${nodename}`,
      "delete $wp",
      ...Array.from({ length: 4 }, () => [
        "continue",
        `printf "G call %#lx %s\\n", $rip, ${ARGUMENT}`,
      ]).flat(),
      // What the program is told is changed on its way.
      `set var *(char *)*(char **)($rdi + 0x70) = 'N'`,
      "p $xmm0",
      "set $rax = 0x1234",
      'printf "G set %#lx\\n", $rax',
      "delete",
      "detach",
    ]);
    expect(told("reset"), context).toEqual([expect.stringMatching(/^0x[0-9a-f]+ 0x11$/)]);
    expect(told("start"), context).toEqual([hex(start)]);
    // Each step but jumps and calls comes to the instruction that gdb itself finds behind the one before.
    const shown = [...stdout.matchAll(/^=> (0x[0-9a-f]+):\t(\w+)[^\n]*\n +(0x[0-9a-f]+)/gm)];
    expect(shown.length, context).toBe(STEPS);
    for (const [i, [, , name = "", next]] of shown.slice(0, -1).entries()) {
      if (!/^(j|call|ret|rep)/.test(name)) expect(shown[i + 1]?.[1], context).toBe(next);
    }
    expect(new Set(shown.map(([, rip]) => rip)).size).toBeGreaterThan(STEPS / 2);
    expect(stdout, context).toMatch(/^ +2 +Thread 2 \(CPU 1\)/m);
    const calls = [1, 2, 3, 4, 5].map((i) => `${hex(call)} name${i}`);
    expect(told("call"), context).toEqual(calls);
    expect(stdout, context).toMatch(/^Old value = 40 '\('$\n^New value = 110 'n'$/m);
    expect(told("watched"), context).toEqual(["n"]);
    expect(told("set"), context).toEqual(["0x1234"]);
    const ended = await cli.ended();
    expect(ended.stdout).toMatch(/^E name Name5\r?$/m);
    expect(ended.status).toBe(0);
  });

  it("interrupts a guest that runs, and ends it", async () => {
    const { cli, address } = await waiting(boot);
    const { told, context } = await gdb(address, [
      "python import threading, os, signal",
      "python threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()",
      "continue",
      'printf "G interrupted %d\\n", $rip != 0',
      "kill",
    ]);
    expect(told("interrupted"), context).toEqual(["1"]);
    expect(context).toContain("SIGINT");
    expect((await cli.ended()).status).toBe(0);
  });
});

describe("whoever else connects to gdb's port", () => {
  /** Sends bytes; resolves with the answer when the other end hangs up. */
  const send = (address: string, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const [host, port] = address.split(":");
      const socket = connect(Number(port), host, () => socket.write(text, "latin1"));
      let answer = "";
      socket.setEncoding("latin1").on("data", (more: string) => (answer += more));
      socket.on("close", () => resolve(answer)).on("error", reject);
    });

  it("is hung up on, and the guest goes on", async () => {
    const image = new URL("../../guest/embedded/image.elf", import.meta.url).pathname;
    const { cli, address } = await waiting(["run", "--kernel", image, "--timeout", "60"]);
    const posted = "POST / HTTP/1.1\r\nHost: a\r\n\r\n$k#6b";
    expect(await send(address, posted)).toBe("");
    expect((await cli.ended()).status).toBe(0);
  });
});

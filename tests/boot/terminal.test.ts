import { spawnSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { Cli } from "./support/cli.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());
let args: string[];
beforeAll(async () => {
  const initramfs = await writeInitramfs(folder.path, "shell");
  const files = ["--kernel", await kernelPath("6.1"), "--initrd", initramfs];
  args = ["run", ...files, "--append", "'cryptomgr.notests quiet'", "--timeout", "120"];
});

/** Runs a command on a terminal of its own, and shows that terminal's settings afterwards. */
const onTerminal = (command: string[]) => {
  const shell = `${command.join(" ")}; echo left with $?; stty -a`;
  return ["script", "-qec", shell, "/dev/null"];
};

describe.skipIf(!machineHas("the program script"))("on a terminal", () => {
  it("says how to leave, gives the guest every key, and restores the terminal", async () => {
    const cli = new Cli(args, onTerminal);
    let at = await cli.waitFor(/Ctrl-\] then q leaves/);
    at = await cli.waitFor(/guest# /, at);
    cli.type("echo $((6 * 7)) answers\r");
    at = await cli.waitFor(/42 answers/, at);
    cli.type("\x03");
    at = await cli.waitFor(/guest# /, at);
    cli.type("\x1dq");
    at = await cli.waitFor(/left with 0/, at);
    const ended = await cli.ended();
    const settings = ended.stdout.slice(at);
    for (const setting of ["icanon", "isig", "echo", "opost"]) {
      expect(settings).toMatch(new RegExp(`\\s${setting}\\b`));
    }
  });

  it("helps, pauses, goes on and resets by its own keys, which the guest does not see", async () => {
    const cli = new Cli(args, onTerminal);
    let at = await cli.waitFor(/guest# /);
    cli.type("\x1d?");
    at = await cli.waitFor(/r resets/, at);
    cli.type("\x1dp");
    at = await cli.waitFor(/the guest is paused: /, at);
    // What is typed meanwhile waits for the guest.
    cli.type("echo $((6 * 7)) answers\r");
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(cli.output.slice(at)).not.toContain("42 answers");
    cli.type("\x1dp");
    at = await cli.waitFor(/the guest goes on/, at);
    at = await cli.waitFor(/42 answers/, at);
    cli.type("\x1dr");
    at = await cli.waitFor(/is reset[\s\S]*guest# /, at);
    cli.type("\x1dq");
    await cli.waitFor(/left with 0/, at);
    await cli.ended();
  });

  it("shows the guest's bytes as they are", async () => {
    const cli = new Cli(args, onTerminal);
    const at = await cli.waitFor(/guest# /);
    cli.type("stty -opost; printf 'A\\nB\\n'; stty opost; poweroff -f\r");
    await cli.waitFor(/left with 0/, at);
    const ended = await cli.ended();
    expect(ended.stdout.slice(at)).toContain("A\nB\n");
    expect(ended.stdout).toMatch(/\sopost\b[\s\S]*\sonlcr\b/);
  });

  it("tells the guest of npm start its size, while a program runs there", async () => {
    // A snapshot of an earlier start would know the size of that one.
    const start = ["start", "--cold", "--timeout", "300"];
    const cli = new Cli(start, (command) => onTerminal(["tty; stty rows 30 cols 90;", ...command]));
    let at = await cli.waitFor(/\/dev\/pts\/\d+/);
    at = await cli.waitFor(/root # /, at);
    cli.type("stty size\r");
    at = await cli.waitFor(/30 90/, at);
    cli.type("sh -c 'trap \"echo heard; stty size\" WINCH; while :; do sleep 0.2; done'\r");
    // What was typed is shown before the program runs.
    at = await cli.waitFor(/done'\r?\n/, at);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    spawnSync("stty", [
      "-F",
      cli.output.match(/\/dev\/pts\/\d+/)?.[0] ?? "",
      "rows",
      "41",
      "cols",
      "132",
    ]);
    at = await cli.waitFor(/heard\s+41 132/, at);
    cli.type("\x03");
    await cli.waitFor(/root # /, at);
    // As people type it, without -f: the guest has no init that could be told.
    cli.type("poweroff\r");
    expect((await cli.ended()).stdout).toMatch(/reboot: Power down[\s\S]*left with 0/);
  });

  it("restores the terminal when it is told to end", async () => {
    const cli = new Cli(args, (command) =>
      onTerminal(["timeout", "--foreground", "-s", "TERM", "8", ...command]),
    );
    await cli.waitFor(/left with (124|143)/);
    expect((await cli.ended()).stdout).toMatch(/\sicanon\b/);
  });
});

describe("on a pipe", () => {
  it("goes on after the input has ended, and ends cleanly at SIGTERM", async () => {
    const plain = args.map((arg) => arg.replaceAll("'", ""));
    const cli = new Cli(plain);
    const at = await cli.waitFor(/guest# /);
    cli.type("while true; do echo tick; sleep 1; done\r");
    cli.endInput();
    await cli.waitFor(/tick[\s\S]*tick[\s\S]*tick/, at);
    cli.kill("SIGTERM");
    const ended = await cli.ended();
    expect(ended.status).toBe(143);
    expect(ended.stderr).toBe("kvm-xen: stopped by SIGTERM\n");
  });

  it("stops after the timeout with status 124", async () => {
    const plain = args.map((arg) => arg.replaceAll("'", ""));
    const cli = new Cli([...plain, "--timeout", "3"]);
    const ended = await cli.ended();
    expect(ended.status).toBe(124);
    expect(ended.stderr).toMatch(/^kvm-xen: [^\n]*--timeout[^\n]*\n$/);
  });

  it("stops on time while an initrd of 3 GiB is read and written", async () => {
    const image = new URL("../../guest/embedded/image.elf", import.meta.url).pathname;
    const initrd = join(folder.path, "large.img");
    writeFileSync(initrd, "");
    truncateSync(initrd, 3 * 2 ** 30);
    const boot = ["run", "--kernel", image, "--initrd", initrd, "--memory", "3500M"];
    const started = performance.now();
    const { status, stderr } = await new Cli([...boot, "--timeout", "2"]).ended();
    expect({ status, stderr }).toMatchObject({
      status: 124,
      stderr: expect.stringMatching(/^kvm-xen: [^\n]*--timeout[^\n]*\n$/),
    });
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

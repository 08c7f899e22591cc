/** Machine.exec with the real agent in Debian's guest, and without one. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMachine, debianGuest, type Machine } from "../../src/hosts/node/index.js";
import { kernelPath, workFolder, writeInitramfs } from "./support/guests.js";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const code = (name: string) => expect.objectContaining({ name: "HostError", code: name });

describe("commands in the guest of npm start", () => {
  let machine: Machine;
  let ended: ReturnType<Machine["run"]>;
  beforeAll(async () => {
    machine = await createMachine({ ...(await debianGuest()), clock: "virtual" });
    await expect(machine.exec(["true"])).rejects.toThrow(code("NOT_RUNNING"));
    ended = machine.run();
    await machine.exec(["true"]);
  });
  afterAll(async () => {
    machine.stop();
    await ended;
    await expect(machine.exec(["true"])).rejects.toThrow(code("ENDED"));
  });

  it("give status, stdout and stderr", async () => {
    const { status, stdout, stderr } = await machine.exec([
      "sh",
      "-c",
      "echo out; echo err >&2; exit 3",
    ]);
    expect([status, text(stdout), text(stderr)]).toEqual([3, "out\n", "err\n"]);
  });

  it("pass every byte both ways", async () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919 + (i >> 8)) & 255);
    const { status, stdout } = await machine.exec(["cat"], { stdin: bytes });
    expect(status).toBe(0);
    expect(Buffer.compare(stdout, bytes)).toBe(0);
  });

  it("have the folder and the variables that were asked for, and the agent's", async () => {
    const { stdout } = await machine.exec(["sh", "-c", 'pwd; echo "$A $HOME"'], {
      cwd: "/proc",
      env: { A: "b c" },
    });
    expect(text(stdout)).toBe("/proc\nb c /root\n");
  });

  it("do not read more than they want, and leave nobody waiting for their children", async () => {
    const head = await machine.exec(["head", "-c", "3"], { stdin: "x".repeat(50_000) });
    expect(text(head.stdout)).toBe("xxx");
    const background = await machine.exec(["sh", "-c", "sleep 1000 & echo here"]);
    expect(text(background.stdout)).toBe("here\n");
  });

  it("run at the same time, and more than sixteen one after the other", async () => {
    const all = Array.from({ length: 20 }, (_, i) =>
      machine.exec(["sh", "-c", `cat; sleep 0.1; exit ${i}`], { stdin: `${i}` }),
    );
    const results = await Promise.all(all);
    expect(results.map(({ status, stdout }) => `${status} ${text(stdout)}`)).toEqual(
      all.map((_, i) => `${i} ${i}`),
    );
  });

  it("are killed with all that they have started when their time is over", async () => {
    const slow = machine.exec(["sh", "-c", "sleep 1234 | cat"], { timeout: 300 });
    await expect(slow).rejects.toThrow(code("EXEC_TIMEOUT"));
    const { stdout } = await machine.exec(["sh", "-c", "sleep 0.2; ps"]);
    expect(text(stdout)).not.toContain("sleep 1234");
  });

  it("that cannot be started say why", async () => {
    await expect(machine.exec(["nonsense"])).rejects.toThrow(code("NO_PROGRAM"));
    await expect(machine.exec(["/etc"])).rejects.toThrow(code("PROGRAM_REFUSED"));
    await expect(machine.exec(["pwd"], { cwd: "/nowhere" })).rejects.toThrow(code("EXEC_FOLDER"));
  });

  it("tell which signal has ended them", async () => {
    expect(await machine.exec(["sh", "-c", "kill -15 $$"])).toMatchObject({
      status: 143,
      signal: 15,
    });
  });

  it("are lost when the guest reboots, and work again in the next", async () => {
    const lost = machine.exec(["sleep", "1000"]);
    machine.reset();
    await expect(lost).rejects.toThrow(code("EXEC_LOST"));
    expect((await machine.exec(["true"])).status).toBe(0);
  });
});

describe("a guest without an agent", () => {
  const folder = workFolder();
  afterAll(() => folder.remove());

  it("answers nothing, and exec says so after three minutes of its time", async () => {
    const initrd = readFileSync(await writeInitramfs(folder.path, "shell"));
    const machine = await createMachine({
      kernel: await kernelPath("6.1"),
      initrd,
      commandLine: "cryptomgr.notests quiet",
      clock: "virtual",
    });
    const ended = machine.run();
    await expect(machine.exec(["true"])).rejects.toThrow(code("EXEC_NO_AGENT"));
    machine.stop();
    await ended;
  });
});

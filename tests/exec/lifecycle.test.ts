import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { compile, exec, processes, sockets, start, until } from "./support.js";

const program = compile("lifecycle");

const leftovers = () => readdirSync(tmpdir()).filter((name) => name.includes("kvm-xen-exec"));

describe("a program under exec", () => {
  it("gives its exit status", async () => {
    expect(await exec("--", program, "exit", "42")).toMatchObject({ status: 42 });
  });

  it("gives 128 and the number of the signal that ended it", async () => {
    expect(await exec("--", program, "kill-self")).toMatchObject({ status: 137 });
  });

  it("leaves nothing when it is killed in the middle of a run", async () => {
    const running = start("--", program, "spin", "mark-killed");
    await running.said("spinning");
    const [pid] = processes(`${program}\0spin\0mark-killed`).filter(
      (one) => one !== running.child.pid,
    );
    process.kill(pid as number, "SIGKILL");
    expect(await running.ended).toMatchObject({ status: 137 });
    expect(processes("mark-killed")).toEqual([]);
    const name = `-${running.child.pid}-`;
    expect(sockets().filter((socket) => socket.includes(name))).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it("ends with an error when exec itself is killed", async () => {
    const running = start("--", program, "spin", "mark-orphan");
    await running.said("spinning");
    running.child.kill("SIGKILL");
    expect(await until(() => processes("mark-orphan").length === 0)).toBe(true);
  });

  it("passes SIGTERM on", async () => {
    const running = start("--", program, "spin", "mark-term");
    await running.said("spinning");
    running.child.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ status: 143 });
  });

  it("may go to the background", async () => {
    const ended = await exec("--", program, "daemon");
    expect(ended).toMatchObject({ status: 4, stdout: "run: 0, exit 5\napi: 12\n", stderr: "" });
  });

  it.each([
    { words: ["/no/such/program"], status: 127, why: "/no/such/program: no such program" },
    { words: ["no-such-program"], status: 127, why: "no-such-program: no such program" },
    { words: [""], status: 127, why: "'': no such program" },
    { words: ["/tmp"], status: 126, why: "/tmp: is a folder, not a program" },
  ])("is refused in one line: $why", async ({ words, status, why }) => {
    const ended = await exec("--", ...words);
    expect(ended).toEqual({ status, signal: null, stdout: "", stderr: `kvm-xen: ${why}\n` });
  });

  it("is not disturbed by another one that sends garbage or dies", async () => {
    const good = start("--", program, "count", "40");
    await good.said("count");
    const bad = await exec("--", program, "garbage", "300");
    expect(bad.status).toBe(0);
    expect(await exec("--", program, "kill-self")).toMatchObject({ status: 137 });
    expect(await good.ended).toMatchObject({ status: 0, stderr: "" });
  });

  it("goes on after it sent garbage", async () => {
    const ended = await exec("--", program, "garbage", "300");
    expect(ended.stdout).toBe("still served: 12\nmore descriptors in the server: no\n");
  });

  it("refuses ranges and descriptors that make no sense", async () => {
    const ended = await exec("--", program, "absurd");
    expect(ended).toMatchObject({ status: 0, stdout: "absurd ranges accepted: 0\n" });
  });

  it("is served while answers pile up that nobody reads", async () => {
    const ended = await exec("--", program, "flood");
    expect(ended).toMatchObject({ status: 0, stdout: "api: 12\n" });
  });

  it("does not wait for a client that is silent in the middle of a request", async () => {
    const ended = await exec("--", program, "silent");
    expect(ended).toMatchObject({ status: 0, stdout: "api: 12\nin less than 4 s: 1\n" });
  });

  it("survives that the file behind a slot becomes shorter", async () => {
    const ended = await exec("--", program, "truncated");
    expect(ended).toMatchObject({ status: 0, stdout: "run: -1 EFAULT\napi: 12\n" });
    const unseen = await exec("--", program, "truncated", "unseen");
    expect(unseen).toMatchObject({ status: 0, stdout: "run: 0 \napi: 12\n" });
  });

  it("may be outlived by a child with copies of its descriptors", async () => {
    const ended = await exec("--", program, "orphan");
    // What Linux prints.
    expect(ended.stdout).toBe(
      "parent ended by signal 14\nvCPU of the dead: EIO\napi: 12\nown: 0, exit 5\n",
    );
  });

  it("may kill children of its own in the middle of anything", async () => {
    const ended = await exec("--", program, "killed", "60");
    expect(ended.stdout).toBe("more descriptors in the server: no\napi: 12\n");
  });

  it("goes on when its trace cannot be written", async () => {
    const ended = await exec("--trace=/dev/full", "--", program, "exit", "3");
    expect(ended).toMatchObject({ status: 3, stderr: "" });
  });
});

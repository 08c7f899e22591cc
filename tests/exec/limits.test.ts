import { spawnSync } from "node:child_process";
import { release } from "node:os";
import { describe, expect, it } from "vitest";
import { compile, exec, main } from "./support.js";

const program = compile("limits");
const [major = 0, minor = 0] = release().split(".").map(Number);
const asksForMappings = major > 6 || (major === 6 && minor >= 11);

describe("the server of exec", () => {
  it("gives back the descriptors of eventfds that no VM uses", async () => {
    const ended = await exec("--", program, "eventfds", "4000");
    expect(ended.stdout).toBe("more descriptors in the server: few\napi: 12\n");
  });

  it("gives back what machines took", async () => {
    const ended = await exec("--", program, "machines", "80");
    expect(ended.stdout).toBe("more descriptors in the server: few\n");
  });

  it("refuses a VM for which there is no memory, and goes on", async () => {
    const ended = await exec("--", program, "memory");
    expect(ended).toMatchObject({ stdout: "VM: -ENOMEM\napi: 12\n", stderr: "" });
  });

  it("refuses what it has no descriptors for, and goes on", async () => {
    const ended = await exec("--", program, "descriptors");
    expect(ended).toMatchObject({ stdout: "VM: -EMFILE\nvCPU: -EMFILE\napi: 12\n", stderr: "" });
  });

  // Linux says where one mapping is since 6.11; before, the list of all is read for each.
  it("takes no longer for the last of thousands of slots", async () => {
    const ended = await exec("--", program, "slots");
    expect(ended.stdout).toContain(
      asksForMappings ? "3000 slots: in proportion\n" : "3000 slots: ",
    );
  });

  it("hangs up when it has no descriptor for a connection", async () => {
    const ended = await exec("--", program, "unserved");
    expect(ended).toMatchObject({
      stdout: "open by another thread: -ENODEV\napi: 12\n",
      stderr: "",
    });
  });
});

it.each([
  ["--no-mailbox", "--"],
  ["--mailbox", "--"],
])("lets threads copy descriptors to the library's numbers while others begin and end (%s)", async (...words) => {
  const ended = await exec(...words, compile("places"));
  expect(ended.stdout).toBe("calls failed: 0, copies failed: 0, children failed: 0\n");
  expect(ended).toMatchObject({ status: 0, stderr: "" });
});

it("says in one line that too few files may be open", () => {
  const words = "kvm-xen: too few files may be open at once: 'ulimit -n 256' helps\n";
  // Node needs some 20 itself; then there is one place after another where they end.
  const ends = [23, 24, 25, 26, 27, 28, 29, 30, 31, 40].map((limit) => {
    const limited = `ulimit -n ${limit} && exec "$0" "$1" exec -- true`;
    const ended = spawnSync("sh", ["-c", limited, process.execPath, main], { encoding: "utf8" });
    return `${ended.status} ${ended.stderr}`;
  });
  expect(ends[0]).toBe(`1 ${words}`);
  for (const end of ends) expect(["0 ", `1 ${words}`]).toContain(end);
});

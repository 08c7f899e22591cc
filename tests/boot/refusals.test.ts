import { randomFillSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./support/cli.js";
import { debianGuest, kernelPath, workFolder, writeInitramfs } from "./support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());
const file = (name: string) => join(folder.path, name);
const files: Record<string, string> = {};

beforeAll(async () => {
  const guest = await debianGuest();
  files["kernel"] = await kernelPath("6.1");
  files["busybox"] = guest.busyboxPath;
  files["initramfs"] = await writeInitramfs(folder.path, "quick");
  writeFileSync(file("text"), "just some text\n".repeat(1000));
  writeFileSync(file("empty"), "");
  const kernel = readFileSync(guest.kernelPath);
  writeFileSync(file("cut"), kernel.subarray(0, kernel.length >> 1));
  writeFileSync(file("huge"), randomFillSync(Buffer.alloc(300 << 20)));
});

/** Each refusal: what it is about, the arguments, the exit status and a word of the message. */
const refusals: [string, () => string[], number, RegExp][] = [
  ["no such kernel", () => ["--kernel", "/no/such/file"], 2, /\/no\/such\/file.*no such file/],
  ["no such initrd", () => kernel("--initrd", "/no/such/file"), 2, /initrd.*no such file/],
  ["a folder", () => ["--kernel", folder.path], 2, /folder/],
  ["a text file", () => ["--kernel", file("text")], 2, /not a kernel/],
  ["an empty file", () => ["--kernel", file("empty")], 2, /not a kernel/],
  ["a program", () => ["--kernel", files["busybox"] ?? ""], 2, /ordinary program/],
  ["half a kernel", () => ["--kernel", file("cut")], 2, /again|damaged|end/],
  ["an initrd that does not fit", () => kernel("--initrd", file("huge")), 2, /--memory/],
  ["too little memory", () => kernel("--memory", "16M"), 2, /--memory/],
  ["no kernel", () => [], 1, /--kernel/],
  ["an unknown option", () => kernel("--colour"), 1, /--colour/],
  ["memory without a unit", () => kernel("--memory", "256"), 1, /256M/],
  ["too much memory", () => kernel("--memory", "64G"), 1, /memory/i],
  ["no CPU", () => kernel("--cpus", "0"), 1, /--cpus/],
  ["too many CPUs", () => kernel("--cpus", "100000"), 1, /CPU/],
  ["an unknown console", () => kernel("--console", "vga"), 1, /hvc0/],
  ["an unknown clock", () => kernel("--clock", "sun"), 1, /virtual/],
  ["a bad timeout", () => kernel("--timeout", "soon"), 1, /--timeout/],
];

const kernel = (...more: string[]) => ["--kernel", files["kernel"] ?? "", ...more];

describe("kvm-xen run refuses", () => {
  it.each(refusals)("%s, in one line", async (_name, args, status, message) => {
    const ended = await runCli(["run", ...args()]);
    expect(ended.stderr).toMatch(/^kvm-xen: [^\n]+\n$/);
    expect(ended.stderr).toMatch(message);
    expect(ended.stdout).toBe("");
    expect(ended.status).toBe(status);
  });
});

describe("kvm-xen", () => {
  it("prints help and version", async () => {
    const help = await runCli(["run", "--help"]);
    expect(help.status).toBe(0);
    expect(help.stdout).toContain("Example:");
    const version = await runCli(["--version"]);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

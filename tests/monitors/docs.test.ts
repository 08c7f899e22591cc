import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { workFolder } from "../boot/support/guests.js";
import { main, Program } from "./support/monitor.js";
import { qemu10 } from "./support/packages.js";
import { WITH_CARD } from "./support/xen.js";

/** The commands of docs/exec.md, in a folder where `npx kvm-xen` is this one and `qemu-system-x86_64` QEMU 10. */
const folder = workFolder();
const page = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const section = /^## QEMU and Xen guests$(.*?)^## /ms.exec(page("docs/exec.md"))?.[1] ?? "";
const commands = [...section.matchAll(/^```sh\n(.*?)^```/gms)].map((match) => match[1] ?? "");
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  const tools = join(folder.path, "tools");
  const bin = join(folder.path, "node_modules/.bin");
  for (const path of [tools, bin]) mkdirSync(path, { recursive: true });
  const { words } = await qemu10();
  const qemu = join(tools, "qemu-system-x86_64");
  writeFileSync(qemu, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`);
  chmodSync(qemu, 0o755);
  symlinkSync(main, join(bin, "kvm-xen"));
  chmodSync(main, 0o755);
  env = { ...process.env, PATH: `${tools}:${process.env["PATH"]}` };
});
afterAll(() => folder.remove());

/** Runs a command and types lines at the guest's shell, each once the one before has been answered. */
async function session(command: string, lines: readonly string[]) {
  const program = new Program("sh", ["-e", "-c", command], { cwd: folder.path, env });
  for (const line of lines) {
    const from = program.console.length;
    await program.shows("/root # ", from);
    program.type(`${line}\n`);
  }
  const ended = await program.ended;
  // The shell asks the terminal where its cursor is.
  return { ...ended, console: ended.console.replaceAll("\x1b[6n", "") };
}

const poweroff = "poweroff -f";

it("one command of the page boots a Xen guest to a shell; the README has the same", async () => {
  const [command = ""] = commands;
  expect(page("README.md")).toContain(`\`\`\`sh\n${command}\`\`\``);
  const ended = await session(command, ["cat /sys/hypervisor/type", poweroff]);
  expect(ended.console).toMatch(/Hypervisor detected: Xen HVM/);
  expect(ended.console).toMatch(/, a guest of xen 4\.17 on 1 CPU\(s\), .* clock xen\.$/m);
  expect(ended.console).toMatch(/# cat \/sys\/hypervisor\/type\nxen\n/);
  expect(ended.status).toBe(0);
  expect(ended.stderr).not.toMatch(/warning|kvm-xen/i);
});

it("another gives it a PV disk and a PV card", async () => {
  const typed = [...section.matchAll(/^\/root # (.*)$/gm)].map((match) => match[1] ?? "");
  const ended = await session(commands[1] ?? "", [...typed, poweroff]);
  expect(ended.console).toMatch(/, a guest of xen 4\.17 on 2 CPU\(s\)/);
  // What the page says is printed, is.
  const shown = /^```text\n(\/root # .*?)^```/ms.exec(section)?.[1] ?? "";
  for (const line of shown.split("\n").filter((one) => !/^\/root #|^\.\.\.|^$/.test(one)))
    expect(ended.console).toContain(`${line}\n`);
  expect(WITH_CARD).toContain(ended.status);
});

it("a third boots the same without Xen", async () => {
  const ended = await session(commands[2] ?? "", ["ls /sys/hypervisor", poweroff]);
  expect(ended.console).toMatch(/Hypervisor detected: KVM/);
  expect(ended.console).toMatch(/, a guest of KVM on 1 CPU\(s\), .* clock kvm-clock\.$/m);
  // --stats: the table that says whether QEMU used KVM.
  expect(ended.runs).toBeGreaterThan(10);
  expect(ended.status).toBe(0);
  expect(commands).toHaveLength(3);
});

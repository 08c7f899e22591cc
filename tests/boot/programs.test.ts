/** Programs in a guest, static ones, that a processor with faults in its exceptions or breakpoints fails. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CpioEntry } from "../../src/hosts/node/cpio.js";
import { machineHas } from "../../tools/check/machine.mjs";
import { runCli } from "./support/cli.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());
const guests = new URL("guests/", import.meta.url).pathname;

/** A program of guests/, compiled, as a file of the guest. */
function program(name: string): CpioEntry {
  const target = join(folder.path, name);
  const flags = ["-O1", "-static", "-Wall", "-Wextra", "-Werror", "-o", target];
  const built = spawnSync("gcc", [...flags, join(guests, `${name}.c`)], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`gcc ${name}: ${built.stderr}`);
  return { kind: "file", path: `programs/${name}`, mode: 0o755, data: readFileSync(target) };
}

describe.skipIf(!machineHas("a C compiler")).each(kernels)("programs under Debian's %s", (name) => {
  let lines: string[];
  beforeAll(async () => {
    const files = ["breakpoints", "faults"].map(program);
    const more: CpioEntry[] = [{ kind: "folder", path: "programs" }, ...files];
    const initramfs = await writeInitramfs(folder.path, "programs", more);
    const kernel = ["run", "--kernel", await kernelPath(name), "--initrd", initramfs];
    const append = ["--append", "panic=-1 cryptomgr.notests quiet"];
    const ended = await runCli([...kernel, ...append, "--timeout", "300"]);
    expect(ended.status).toBe(0);
    const texts = ended.lines.map((line) => line.text);
    lines = texts.filter((text) => text.startsWith("P ")).map((text) => text.slice(2));
  });

  it("hit their breakpoints, and go on behind them", () => {
    expect(lines.slice(0, 2)).toEqual(["data: 5 of 5", "code: 5 of 5"]);
  });

  it("see faults and flags as on a processor of AMD", () => {
    const expected = readFileSync(join(guests, "faults.out"), "utf8").trimEnd().split("\n");
    expect(lines.slice(2)).toEqual(expected);
  });
});

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../../base/index.js";
import { obtainGrub } from "./grub.js";
import type { RunProgram } from "./subprocess.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-grub-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A machine whose lists name one version and whose mirror has another one; its own lists are fresh. */
function played(listed: string | undefined, mirror: string) {
  const commands: string[] = [];
  const run: RunProgram = async (_program, args, options) => {
    const command = args.find((arg) => /^(show|download|update|-x)$/.test(arg)) ?? "";
    commands.push(command);
    const isOwn = args.some((arg) => arg.startsWith("Dir::State::lists="));
    const version = isOwn ? mirror : listed;
    const subject = args.at(-1) ?? "";
    if (command === "show") {
      if (version === undefined) throw new HostError("PROGRAM_FAILED", "no such package");
      return `Package: ${subject}\nVersion: ${version}\nSize: 3\n`;
    }
    if (command === "download") {
      if (version !== mirror) throw new HostError("PROGRAM_FAILED", "apt-get: 404 Not Found");
      writeFileSync(join(options?.cwd ?? "", `${subject.replace("=", "_")}_amd64.deb`), "deb");
    }
    if (command === "-x") {
      mkdirSync(join(subject, "usr/lib/grub-xen"), { recursive: true });
      writeFileSync(join(subject, "usr/lib/grub-xen/grub-i386-xen_pvh.bin"), "grub");
    }
    return "";
  };
  const progress = { step: () => undefined, fraction: () => undefined, end: () => undefined };
  const cacheRoot = join(folder, "cache");
  const pause = async (): Promise<void> => undefined;
  return { commands, options: { run, progress, cacheRoot, pause }, cacheRoot };
}

const NONE = "/nowhere/grub.bin";

describe("GRUB", () => {
  it("is the installed one when there is one", async () => {
    const installed = join(folder, "installed");
    writeFileSync(installed, "grub");
    const { options, commands } = played(undefined, "1");
    expect(await obtainGrub(options, true, installed)).toBe(installed);
    expect(commands).toEqual([]);
  });

  it("is fetched once, and nothing else of its package is kept", async () => {
    const { options, commands, cacheRoot } = played("1", "1");
    const path = await obtainGrub(options, true, NONE);
    expect(readFileSync(path, "utf8")).toBe("grub");
    expect(commands).toEqual(["show", "download", "-x"]);
    expect(readdirSync(join(path, ".."))).toEqual(["grub-i386-xen_pvh.bin"]);
    expect(await obtainGrub(options, true, NONE)).toBe(path);
    expect(commands).toHaveLength(3);
    expect(readdirSync(cacheRoot)).toEqual(["grub-xen-host"]);
  });

  it.each([
    undefined,
    "0",
  ])("is fetched by lists of its own when the machine's name %s", async (listed) => {
    const { options, commands } = played(listed, "1");
    expect(existsSync(await obtainGrub(options, true, NONE))).toBe(true);
    expect(commands.slice(-4)).toEqual(["update", "show", "download", "-x"]);
  });

  it("that cannot be had is one line that says what else there is", async () => {
    const without = obtainGrub(played("1", "1").options, false, NONE);
    await expect(without).rejects.toMatchObject({
      code: "NO_PACKAGE",
      message:
        "cannot fetch GRUB (package grub-xen-host): this system has no apt-get; --direct boots the disk's kernel without it",
    });
    const { options, cacheRoot } = played("1", "1");
    const run: RunProgram = async () => {
      throw new HostError("PROGRAM_FAILED", "apt-get: E: no network");
    };
    const offline = obtainGrub({ ...options, run }, true, NONE);
    await expect(offline).rejects.toMatchObject({
      code: expect.stringMatching(/NO_PACKAGE|GRUB_UNAVAILABLE/),
    });
    await expect(offline).rejects.toThrow(/no network|knows no package/);
    expect(readdirSync(cacheRoot)).toEqual([]);
  });
});

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";

const own = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const isRoot = process.getuid?.() === 0;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-troubles-"));
  chmodSync(folder, 0o755);
  copyFileSync(own("guest/embedded/image.elf"), join(folder, "kernel"));
  writeFileSync(join(folder, "scenario"), "vm\nirqchip\n");
  writeFileSync(join(folder, "secret"), "");
  chmodSync(join(folder, "secret"), 0);
  writeFileSync(join(folder, "text"), "#!/bin/sh\n");
  mkdirSync(join(folder, "gone"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What is done to the command, which is `$K`, in the folder: a shell script. */
interface Trouble {
  readonly name: string;
  readonly script: string;
  readonly status: number;
  /** The one line that the command says. */
  readonly says: RegExp;
  readonly needsRoot?: true;
}

const troubles: readonly Trouble[] = [
  {
    name: "few addresses, for a guest",
    script: "ulimit -v 8000000; $K start --embedded --timeout 60 >/dev/null",
    status: 1,
    says: /addresses for a VM.*ulimit -v/,
  },
  {
    name: "few addresses, for a scenario",
    script: "ulimit -v 8000000; $K play scenario >/dev/null",
    status: 1,
    says: /addresses for a VM.*ulimit -v/,
  },
  {
    name: "few file descriptors",
    script: "ulimit -n 24; $K start --embedded --timeout 60 >/dev/null",
    status: 1,
    says: /ulimit -n 256/,
  },
  {
    name: "a full disk, for a guest's console",
    script: "$K start --embedded --timeout 60 >/dev/full",
    status: 1,
    says: /output cannot be written: the disk is full/,
  },
  {
    name: "a full disk, for answers",
    script: "$K play scenario >/dev/full",
    status: 1,
    says: /output cannot be written: the disk is full/,
  },
  {
    name: "a full disk, for help",
    script: "$K run --help >/dev/full",
    status: 1,
    says: /output cannot be written: the disk is full/,
  },
  {
    name: "a full disk, for a version",
    script: "$K --version >/dev/full",
    status: 1,
    says: /output cannot be written: the disk is full/,
  },
  {
    name: "a cache folder that cannot be written",
    script: "XDG_CACHE_HOME=/proc/1 $K start --timeout 60 >/dev/null",
    status: 2,
    says: /cannot write the cache folder.*XDG_CACHE_HOME.*--embedded/,
  },
  {
    name: "a cache folder that is a file",
    script: "XDG_CACHE_HOME=$PWD/text $K start --timeout 60 >/dev/null",
    status: 2,
    says: /cannot write the cache folder.*not a folder.*XDG_CACHE_HOME/,
  },
  {
    name: "a file that may not be read",
    script: "setpriv --reuid 12345 --clear-groups $K run --kernel secret",
    status: 2,
    says: /kernel secret: no permission to read it/,
    needsRoot: true,
  },
  {
    name: "a kernel on a device without end",
    script: "$K run --kernel /dev/zero",
    status: 2,
    says: /kernel \/dev\/zero: it is a device/,
  },
  {
    name: "an initrd in a pipe that nobody writes",
    script: "mkfifo pipe; $K run --kernel kernel --initrd pipe",
    status: 2,
    says: /initrd pipe: it is a pipe/,
  },
  {
    name: "a scenario that is a folder",
    script: "$K play .",
    status: 2,
    says: /scenario \.: it is a folder/,
  },
  {
    name: "a folder that is gone, for a program",
    script: "cd gone; rmdir ../gone; $K exec -- true",
    status: 1,
    says: /current folder no longer exists/,
  },
  {
    name: "a program that is a folder",
    script: "$K exec -- ./",
    status: 126,
    says: /is a folder, not a program/,
  },
  {
    name: "a program that is not executable",
    script: "$K exec -- ./text",
    status: 126,
    says: /not executable.*chmod \+x/,
  },
  {
    name: "a Node without WebAssembly",
    script: "NODE_OPTIONS=--jitless $K play scenario 2>&1 | grep -v ^Warning >&2; exit $PIPESTATUS",
    status: 1,
    says: /no WebAssembly/,
  },
];

const run = (script: string) =>
  spawnSync("bash", ["-c", script], {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, K: `${process.execPath} ${own("dist/cli/main.js")}` },
  });

describe("troubles of the host", () => {
  for (const { name, script, status, says, needsRoot } of troubles) {
    it.runIf(isRoot || !needsRoot)(`${name}: one line that helps`, () => {
      const ended = run(script);
      expect(ended.stderr).toMatch(/^kvm-xen: [^\n]+\n$/);
      expect(ended.stderr).toMatch(says);
      expect(ended.stderr).not.toMatch(/defect/);
      expect(ended.status).toBe(status);
    });
  }

  it.skipIf(!machineHas("mounts of its own"))("a guest runs without /proc", () => {
    const without = (rest: string) => run(`unshare -m sh -c 'mount -t tmpfs none /proc; ${rest}'`);
    expect(without("$K start --embedded --timeout 60")).toMatchObject({ status: 0, stderr: "" });
    expect(without("$K exec -- true")).toMatchObject({ status: 0, stderr: "" });
  });

  it("a guest runs with what the lines advise", () => {
    const ended = run("ulimit -n 256; $K start --embedded --timeout 60");
    expect(ended).toMatchObject({ status: 0, stderr: "" });
  });
});

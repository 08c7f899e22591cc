/** The second `npm start` goes on where the first one was at its prompt. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { cacheRoot } from "../../src/hosts/node/cache.js";
import { Cli } from "../boot/support/cli.js";
import { debianGuest } from "../boot/support/guests.js";

const home = mkdtempSync(join(tmpdir(), "kvm-xen-start-"));
const folder = join(home, "kvm-xen", "snapshots");
afterAll(() => rmSync(home, { recursive: true, force: true }));

const RANDOM = /^random ((?: [0-9a-f]{2}){16})\r?$/m;

/** Starts a guest with a cache of this test's own, and types at its prompt; what it wrote. */
async function start(...options: string[]): Promise<{ output: string; random: string }> {
  const env = (command: string[]) => ["env", `XDG_CACHE_HOME=${home}`, ...command];
  const cli = new Cli(["start", "--timeout", "300", ...options], env);
  await cli.waitFor(/ # /);
  cli.type('echo "random $(head -c 16 /dev/urandom | od -An -tx1)"\n');
  await cli.waitFor(RANDOM);
  // The file is being written while the guest runs.
  while (!readdirIfThere().some((name) => name.endsWith(".snapshot"))) await sleep(50);
  cli.type("poweroff\n");
  const { status, stdout } = await cli.ended();
  expect(status).toBe(0);
  return { output: stdout, random: RANDOM.exec(stdout)?.[1] ?? "" };
}

const readdirIfThere = (): string[] => (existsSync(folder) ? readdirSync(folder) : []);

it("starts from a snapshot, and boots when that is damaged", async () => {
  await debianGuest();
  mkdirSync(join(home, "kvm-xen"), { recursive: true });
  symlinkSync(join(cacheRoot(), "debian-amd64"), join(home, "kvm-xen", "debian-amd64"));
  const booted = await start();
  expect(booted.output).toContain("Run /init as init process");
  const kept = readdirIfThere().filter((name) => name.endsWith(".snapshot"));
  expect(kept).toHaveLength(1);
  const file = join(folder, kept[0] ?? "");
  expect(statSync(file).mode & 0o777).toBe(0o600);

  const banner =
    /^Linux .*, a guest of xen 4\.17 on 1 CPU\(s\), .*\r?\n"exit" or "poweroff" ends it/m;
  const restored = [await start(), await start()];
  for (const { output } of restored) {
    expect(output).toMatch(banner);
    expect(output.indexOf("Linux")).toBeLessThan(4);
    // Nothing of the boot, and nothing of going on.
    expect(output).not.toMatch(/Run \/init|Restarting tasks|Grant tables/);
  }
  const randoms = [booted, ...restored].map(({ random }) => random);
  expect(new Set(randoms).size).toBe(3);

  // One that is told to boot leaves what is kept alone.
  const bytes = readFileSync(file);
  expect((await start("--cold")).output).toContain("Run /init as init process");
  expect(readFileSync(file).equals(bytes)).toBe(true);

  bytes[bytes.length - 5000] = (bytes[bytes.length - 5000] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  expect((await start()).output).toContain("Run /init as init process");
});

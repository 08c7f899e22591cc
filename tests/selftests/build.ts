import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { downloadPackages } from "../../tools/debian/packages.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cache = join(root, "build/cache/selftests");

/** Versions of Linux whose tests are run, and the Debian release that has the source. */
export const RELEASES = { "7.2": "forky", "6.12": "trixie", "6.1": "bookworm" } as const;
/** One of {@link RELEASES}. */
export type Version = keyof typeof RELEASES;

/** What of the source `make headers_install` and the tests need. */
const PARTS = [
  "Kbuild",
  "Makefile",
  "arch/x86",
  "include",
  "scripts",
  "tools/arch",
  "tools/build",
  "tools/include",
  "tools/lib",
  "tools/scripts",
  "tools/testing/selftests",
  "usr",
];

const TOOLS = ["apt-get", "bison", "dpkg-deb", "flex", "gcc", "make", "rsync", "tar", "xz"];

/**
 * The folder with the KVM tests of a version, unmodified: from Debian's package of the source, built
 * once and kept. @throws Error with what is missing or what failed.
 */
export function builtSelftests(version: Version): string {
  const done = join(cache, version);
  if (existsSync(done)) return done;
  const missing = TOOLS.filter(
    (tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0,
  );
  if (missing.length > 0) throw new Error(`building the selftests needs ${missing.join(", ")}`);
  const work = join(cache, `${version}.${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "programs"), { recursive: true });
  try {
    unpack(version, work);
    run("make", ["-s", "headers_install"], work);
    // Not all of them can be built everywhere; those in the list of results must be there.
    spawnSync("make", ["-k", "-s", "-j2", "-C", "tools/testing/selftests", "TARGETS=kvm"], {
      cwd: work,
    });
    keepPrograms(work);
    renameSync(join(work, "programs"), done);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return done;
}

/** The library that answers for the host's processor in a test (host.c), built anew. @throws Error */
export function builtHost(): string {
  const folder = join(root, "build/selftests");
  mkdirSync(folder, { recursive: true });
  const built = join(folder, "host.so");
  const source = fileURLToPath(new URL("host.c", import.meta.url));
  run("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", built, source], root);
  return built;
}

function run(program: string, args: readonly string[], cwd: string): void {
  const result = spawnSync(program, args, { cwd, encoding: "utf8", maxBuffer: 1 << 28 });
  if (result.status === 0) return;
  throw new Error(`${program} ${args.join(" ")}: ${(result.stderr ?? "").slice(-2000)}`);
}

function unpack(version: Version, work: string): void {
  const name = `linux-source-${version}`;
  const given = packageOf(name);
  const [archive] =
    given === undefined ? downloadPackages(RELEASES[version], [name], cache) : [given];
  if (archive === undefined) throw new Error(`${name} was not downloaded`);
  const parts = PARTS.map((part) => `${name}/${part}`).join(" ");
  const inner = `tar -xO ./usr/src/${name}.tar.xz | xz -dc`;
  const pipe = `dpkg-deb --fsys-tarfile "$0" | ${inner} | tar -x --strip-components=1 ${parts}`;
  run("bash", ["-o", "pipefail", "-c", pipe, archive], work);
  if (given === undefined) rmSync(archive);
}

function packageOf(name: string): string | undefined {
  const found = readdirSync(cache).find((file) => file.startsWith(`${name}_`));
  return found === undefined ? undefined : join(cache, found);
}

function keepPrograms(work: string): void {
  const tests = join(work, "tools/testing/selftests/kvm");
  // Linux 7.x calls its folder of x86-64 programs x86.
  for (const folder of [tests, join(tests, "x86_64"), join(tests, "x86")].filter(existsSync)) {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const status = statSync(path);
      const isProgram = status.isFile() && (status.mode & 0o111) !== 0 && !name.includes(".");
      if (isProgram) copyFileSync(path, join(work, "programs", basename(name)));
    }
  }
}

import { existsSync, readFileSync } from "node:fs";
import { copyFile, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { cachedFolder, cacheRoot, fillFolder } from "../../../src/hosts/node/cache.js";
import type { CpioEntry } from "../../../src/hosts/node/cpio.js";
import { runProgram } from "../../../src/hosts/node/subprocess.js";
import { dependsOf, unpackPackages } from "../../../tools/debian/packages.mjs";

const SUITE = "trixie";
const FOLDER = "kexec-tools-amd64";
const LOADER = "ld-linux-x86-64.so.2";
/** Packages of libraries that kexec needs, by the beginning of their names. */
const LIBRARIES = /^(libc6|libxen|liblzma|libzstd|zlib)/;

/** Debian's kexec, with the libraries that it needs, as files of an initramfs. */
export async function kexecEntries(): Promise<CpioEntry[]> {
  const folder =
    cachedFolder(cacheRoot(), FOLDER) ?? (await fillFolder(cacheRoot(), FOLDER, fetch));
  const placeOf = (name: string): string => {
    if (name === "kexec") return "sbin/kexec";
    return name === LOADER ? `lib64/${name}` : `lib/x86_64-linux-gnu/${name}`;
  };
  const folders = ["sbin", "lib", "lib/x86_64-linux-gnu", "lib64"];
  return [
    ...folders.map((path): CpioEntry => ({ kind: "folder", path })),
    ...(await readdir(folder)).map((name): CpioEntry => {
      const data = readFileSync(join(folder, name));
      return { kind: "file", path: placeOf(name), mode: 0o755, data };
    }),
  ];
}

/** Leaves kexec, the dynamic loader and the libraries, and nothing else, in the folder. */
async function fetch(folder: string): Promise<void> {
  const tree = join(folder, "tree");
  const depends = (name: string): string[] =>
    dependsOf(SUITE, name).filter((line) => LIBRARIES.test(line));
  const direct = depends("kexec-tools");
  const names = new Set(["kexec-tools", "libxentoolcore1", ...direct]);
  for (const name of direct) for (const more of depends(name)) names.add(more);
  unpackPackages(SUITE, [...names], tree);
  const find = (...paths: string[]): string =>
    paths.map((path) => join(tree, path)).find((path) => existsSync(path)) ?? paths[0] ?? "";
  const libraries = find("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu");
  const kexec = find("usr/sbin/kexec", "sbin/kexec");
  const loader = join(libraries, LOADER);
  const needed = await runProgram(loader, ["--library-path", libraries, "--list", kexec]);
  const files = [...needed.matchAll(/=> (\S+)/g)].map((match) => match[1] as string);
  for (const file of [kexec, loader, ...files]) await copyFile(file, join(folder, basename(file)));
  await rm(tree, { recursive: true });
}

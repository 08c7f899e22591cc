/** Headers of Debian's next release, unpacked into build/cache without installing anything. */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unpackPackages } from "../../tools/debian/packages.mjs";
import type { HeaderSet } from "./gcc.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cache = join(root, "build/cache");
/** The release that has the kernel which recorded the reference answers. */
const SUITE = "trixie";

/** The folder of an unpacked package; fetched the first time. */
function unpacked(name: string): string {
  const folder = join(cache, `headers-${SUITE}`, name);
  if (existsSync(folder)) return folder;
  mkdirSync(join(folder, ".."), { recursive: true });
  const work = mkdtempSync(`${folder}-`);
  try {
    unpackPackages(SUITE, [name], join(work, "tree"));
    renameSync(join(work, "tree"), folder);
  } finally {
    rmSync(work, { recursive: true });
  }
  return folder;
}

/** The same headers from the newer package; or, as a text, why they cannot be had here. */
export function newerHeaders(set: HeaderSet): HeaderSet | string {
  try {
    const include = join(unpacked(set.name), "usr/include");
    const folders = [include, join(include, "x86_64-linux-gnu")];
    return { ...set, name: `${set.name} (${SUITE})`, folders };
  } catch (error) {
    return `${set.name} of ${SUITE} cannot be fetched: ${String(error).split("\n")[0]}`;
  }
}

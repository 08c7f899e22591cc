import { copyFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cachedFolder, cacheRoot, fillFolder } from "../../../src/hosts/node/cache.js";
import { runProgram } from "../../../src/hosts/node/subprocess.js";

const tool = new URL("../../../tools/debian/newer-deb", import.meta.url).pathname;
const PACKAGE = "xen-utils-4.17";
const FOLDER = `${PACKAGE}-amd64`;

/** Path of Debian's xen-shim: Xen as a PVH guest, for one PV guest of its own. */
export async function xenShimPath(): Promise<string> {
  const folder =
    cachedFolder(cacheRoot(), FOLDER) ?? (await fillFolder(cacheRoot(), FOLDER, fetch));
  return join(folder, "xen-shim");
}

/** Leaves `xen-shim` in the folder and nothing else. */
async function fetch(folder: string): Promise<void> {
  const env = { SUITE: "bookworm", NEWER_DEB_CACHE: join(folder, "apt") };
  await runProgram(tool, [PACKAGE], { cwd: folder, env });
  const deb = (await readdir(folder)).find((file) => file.endsWith(".deb")) ?? "";
  const tree = join(folder, "tree");
  await runProgram("dpkg-deb", ["-x", join(folder, deb), tree]);
  await copyFile(join(tree, "usr/lib/xen-4.17/boot/xen-shim"), join(folder, "xen-shim"));
  for (const leftover of ["apt", "tree", deb]) {
    await rm(join(folder, leftover), { recursive: true });
  }
}

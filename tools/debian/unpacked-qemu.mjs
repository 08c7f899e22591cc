// @ts-check
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The folder of the user's cache that tests/monitors unpacks QEMU 10 in. */
export const QEMU_10 = "monitors-qemu-10";

/**
 * How QEMU is started from a folder that its packages are unpacked in: by their own dynamic linker.
 * @param {string} root
 * @returns {string[]} the words before its options
 */
export function unpackedQemu(root) {
  const libraries = join(root, "usr/lib/x86_64-linux-gnu");
  const data = ["seabios", "qemu"].flatMap((name) => ["-L", join(root, "usr/share", name)]);
  const loader = join(root, "usr/lib64/ld-linux-x86-64.so.2");
  const program = join(root, "usr/bin/qemu-system-x86_64");
  if (!existsSync(program)) throw new Error(`no QEMU in ${root}`);
  const modules = `QEMU_MODULE_DIR=${join(libraries, "qemu")}`;
  const start = ["env", modules, loader, "--library-path", libraries, program];
  return [...start, "-no-user-config", ...data];
}

import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unpackPackages } from "../../../tools/debian/packages.mjs";
import type { Kernel } from "./guest.js";
import { unpacked } from "./packages.js";
import { virtiofsd } from "./virtiofsd.js";

/** What of Python virtme-ng needs beside the language itself. */
const MODULES = ["argcomplete", "certifi", "charset-normalizer", "idna", "requests", "urllib3"];

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");

/**
 * virtme-ng of the release after Debian 12, which starts a guest whose root is this machine's, through virtiofsd: words
 * before the command that the guest runs. It needs root, for mounts of its own.
 * @param folder for files of this run
 */
export async function virtmeNg(folder: string, kernel: Kernel): Promise<readonly string[]> {
  const tree = await unpacked("monitors-virtme-ng", (at) =>
    unpackPackages("trixie", ["virtme-ng", ...MODULES.map((name) => `python3-${name}`)], at),
  );
  // It finds virtiofsd in the PATH only.
  const path = join(folder, "virtme-path");
  mkdirSync(path, { recursive: true });
  const daemon = join(path, "virtiofsd");
  writeFileSync(daemon, `#!/bin/sh\nexec ${quoted(await virtiofsd())} "$@"\n`);
  chmodSync(daemon, 0o755);
  const script = fileURLToPath(new URL("../programs/virtme-ng.sh", import.meta.url));
  return ["unshare", "-m", script, tree, path, kernel.image, kernel.modules];
}

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { unpacked } from "./packages.js";

/** microsandbox for Linux: a monitor in Rust with devices of its own (libkrun's) and a kernel as a library. */
const NAME = "@superradcompany/microsandbox-linux-x64-gnu";
const VERSION = "0.7.2";
const SHA256 = "7aacbb9ab86a152813d005c6ba12551b104997be9234a010a3473e4b2e9703e0";

/** What the registry has under that name, unpacked: the folder with bin/msb and lib/. */
export async function microsandbox(): Promise<string> {
  const root = await unpacked(`monitors-microsandbox-${VERSION}`, (folder) => {
    mkdirSync(folder, { recursive: true });
    const pack = ["pack", "--silent", `${NAME}@${VERSION}`];
    const { status, stdout, stderr } = spawnSync("npm", pack, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`npm pack ${NAME}: ${stderr}`);
    const file = join(folder, stdout.trim());
    const sum = createHash("sha256").update(readFileSync(file)).digest("hex");
    if (sum !== SHA256) throw new Error(`${NAME} is not what it was: ${sum}`);
    if (spawnSync("tar", ["xzf", file, "-C", folder]).status !== 0) throw new Error(`tar: ${file}`);
    rmSync(file);
  });
  return join(root, "package");
}

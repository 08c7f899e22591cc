// @ts-check
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The root of the repository. */
export const root = new URL("../../", import.meta.url).pathname;

/**
 * Paths of all files that belong to the repository: tracked, or new and not ignored.
 * @param {string} [folder]
 * @returns {string[]} relative to the root, sorted
 */
export function repositoryFiles(folder = root) {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const output = execFileSync("git", args, { cwd: folder, maxBuffer: 2 ** 26 }).toString();
  const paths = output.split("\0").filter((path) => path !== "" && existsSync(join(folder, path)));
  return [...new Set(paths)].sort();
}

/**
 * Paths of all files below a folder, without the help of git.
 * @param {string} folder
 * @returns {string[]} relative to the folder
 */
export function allFiles(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { root } from "./files.mjs";
import { noteSecondTry } from "./report.mjs";

/**
 * Other versions of Node, from the npm package `node`, kept in build/cache. By hand,
 * `node tools/check/nodes.mjs VERSION... -- COMMAND [ARG...]` runs a command on each of them:
 * `node tools/check/nodes.mjs 20 22 24 latest -- npx vitest run src`.
 */

/** @type {Map<string, string | undefined>} */
const folders = new Map();

/**
 * The folder of a Node's program; fetched the first time.
 * @param {string} version such as `24` or `latest`; the newest of them is looked for, and when npm's registry
 *   cannot be asked, what is kept is taken
 * @returns {string | undefined} undefined, with a message, when there is none
 */
export function nodeFolder(version) {
  if (!folders.has(version)) folders.set(version, fetched(version));
  return folders.get(version);
}

/** @param {string} version */
function fetched(version) {
  const folder = join(root, "build/cache/nodes", version);
  const bin = join(folder, "node_modules/node/bin");
  mkdirSync(folder, { recursive: true });
  // A project of its own, so that npm leaves ours alone.
  writeFileSync(join(folder, "package.json"), "{}\n");
  const args = ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"];
  const npm = spawnSync("npm", [...args, "--loglevel=error", `node@${version}`], {
    cwd: folder,
    encoding: "utf8",
  });
  if (npm.status !== 0 && existsSync(join(bin, "node")))
    noteSecondTry(`node@${version}: npm could not fetch it; the one that was kept is taken`);
  if (existsSync(join(bin, "node"))) return bin;
  console.log(`node@${version} cannot be fetched: ${npm.error?.message ?? npm.stderr.trim()}`);
  return undefined;
}

/**
 * The environment in which `node` is the one of a folder.
 * @param {string} folder
 */
export const onNode = (folder) => ({ PATH: `${folder}${delimiter}${process.env["PATH"]}` });

if (process.argv[1] === import.meta.filename) {
  const at = process.argv.indexOf("--");
  const [program = "", ...args] = at < 0 ? [] : process.argv.slice(at + 1);
  for (const version of process.argv.slice(2, at < 0 ? undefined : at)) {
    const folder = nodeFolder(version);
    const env = { ...process.env, ...(folder && onNode(folder)) };
    const result = folder && spawnSync(program, args, { stdio: "inherit", env });
    console.log(`== Node ${version}: ${result ? `status ${result.status}` : "not tried"}`);
    if (!result || result.status !== 0) process.exitCode = 1;
  }
}

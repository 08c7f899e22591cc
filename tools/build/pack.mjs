// @ts-check
/**
 * Makes the package that is published: build/kvm-xen-VERSION.tgz, of what `npm run build` has built. It has no scripts
 * and no source maps, and its pages link only to what it has.
 *
 *   node tools/build/pack.mjs     prints the path of the file
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const stage = join(root, "build/package");

/**
 * Runs npm pack.
 * @param {string} cwd
 * @param {string[]} more
 * @returns {{ filename: string, files: { path: string, mode: number }[] }}
 */
function npmPack(cwd, ...more) {
  const args = ["pack", "--json", "--ignore-scripts", ...more];
  const found = JSON.parse(execFileSync("npm", args, { cwd, encoding: "utf8" }));
  return Array.isArray(found) ? found[0] : Object.values(found)[0];
}

/**
 * A page whose links to what is not in the package are words.
 * @param {string} path
 * @param {string} text
 * @param {(path: string) => boolean} has
 */
export function linksThatWork(path, text, has) {
  return text.replaceAll(/\[([^\]]*)\]\(([^)\s]+)\)/g, (link, words, target) => {
    if (/^[a-z]+:|^#/.test(target)) return link;
    const file = normalize(join(dirname(path), target.replace(/#.*$/, "")));
    return has(file.replace(/\/$/, "")) ? link : words;
  });
}

/** Makes the file. */
export function pack() {
  const { files } = npmPack(root, "--dry-run");
  const kept = files.filter(({ path }) => !path.endsWith(".map"));
  const folders = new Set(kept.flatMap(({ path }) => foldersOf(path)));
  const names = new Set(kept.map(({ path }) => path));
  rmSync(stage, { recursive: true, force: true });
  for (const { path, mode } of kept) {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    writeFileSync(join(stage, path), content(path, names, folders), { mode });
  }
  const { filename } = npmPack(stage, "--pack-destination", join(root, "build"));
  return join(root, "build", filename);
}

/**
 * @param {string} path
 * @param {Set<string>} names
 * @param {Set<string>} folders
 */
function content(path, names, folders) {
  const bytes = readFileSync(join(root, path));
  if (path === "package.json") return manifest(bytes.toString());
  if (path.endsWith(".md")) {
    return linksThatWork(path, bytes.toString(), (file) => names.has(file) || folders.has(file));
  }
  // TypeScript 5.6 does not know what their bytes lie in, and later ones do not need to be told.
  if (path.endsWith(".d.ts")) {
    return bytes.toString().replaceAll(/\b(\w+Array|DataView)<ArrayBuffer(Like)?>/g, "$1");
  }
  if (!path.endsWith(".js")) return bytes;
  return bytes.toString().replace(/\n\/\/# sourceMappingURL=\S+\s*$/, "\n");
}

/**
 * What whoever installs it needs of package.json.
 * @param {string} text
 */
function manifest(text) {
  const { devDependencies: _, scripts: __, allowScripts: ___, ...rest } = JSON.parse(text);
  return `${JSON.stringify(rest, null, 2)}\n`;
}

/** @param {string} path */
function foldersOf(path) {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!existsSync(join(root, "dist/engine/core.wasm")))
    throw new Error("run 'npm run build' first");
  console.log(pack());
}

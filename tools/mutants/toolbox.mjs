// @ts-check
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../check/files.mjs";

/** Everything that this tool writes. */
export const buildFolder = join(root, "build/mutants");

const here = new URL(".", import.meta.url).pathname;
const installed = join(buildFolder, "tool");

/**
 * Installs the instrumenter and the bundler, as the lock file beside this file says, unless they are there.
 */
export function install() {
  const lock = readFileSync(join(here, "package-lock.json"), "utf8");
  const stamp = join(installed, "node_modules/.package-lock.json");
  const kept = join(installed, "package-lock.json");
  if (existsSync(stamp) && existsSync(kept) && readFileSync(kept, "utf8") === lock) return;
  mkdirSync(installed, { recursive: true });
  for (const file of ["package.json", "package-lock.json"])
    copyFileSync(join(here, file), join(installed, file));
  console.log("mutants: installing the instrumenter into build/mutants/tool");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
  try {
    execFileSync("npm", args, { cwd: installed, stdio: ["ignore", "inherit", "inherit"] });
  } catch {
    throw new Error("mutants: npm could not install @stryker-mutator/instrumenter");
  }
}

/**
 * A file of an installed package, past its list of exports.
 * @param {string} path
 */
const inside = (path) => pathToFileURL(join(installed, "node_modules", path)).href;

/**
 * The packages, after {@link install}.
 * @returns {Promise<import("./packages.js").Packages>}
 */
export async function packages() {
  const require = createRequire(join(installed, "package.json"));
  const stryker = "@stryker-mutator/instrumenter/dist/src";
  const [instrumenter, parsers, printers, transformers, mutators] = await Promise.all(
    ["instrumenter", "parsers/index", "printers/index", "transformers/index", "mutators/index"].map(
      (name) => import(inside(`${stryker}/${name}.js`)),
    ),
  );
  return {
    Instrumenter: instrumenter.Instrumenter,
    createParser: parsers.createParser,
    print: printers.print,
    transform: transformers.transform,
    allMutators: mutators.allMutators,
    babel: require(join(installed, "node_modules/@babel/core")),
    esbuild: require("esbuild"),
  };
}

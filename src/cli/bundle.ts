import { statSync } from "node:fs";

/**
 * The command's modules in a few files (tools/build/bundle.mjs), which Node loads a tenth of a second faster. In a checkout they
 * count as long as nothing was compiled since.
 */

const BUNDLE = "dist/bundle/command.js";
const MANY = "dist/cli/command.js";
/** What the compiler writes whenever it has compiled something. */
const COMPILED = ["build/lib.tsbuildinfo", "build/node.tsbuildinfo"];

/** The address of the module that is the command, in the package whose folder is `root`. */
export function commandModule(root: URL = new URL("../../", import.meta.url)): string {
  const written = (path: string): number | undefined =>
    statSync(new URL(path, root), { throwIfNoEntry: false })?.mtimeMs;
  const made = written(BUNDLE);
  const isCurrent = made !== undefined && COMPILED.every((path) => (written(path) ?? 0) <= made);
  return new URL(isCurrent ? BUNDLE : MANY, root).href;
}
